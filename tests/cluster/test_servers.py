"""Two real servers, a process that only sends and real clients, in every mode and over every broker."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest
import socketio as python_socketio

from flask_socketio_core import SocketIO
from support.nodes import wait_until
from support.servers import MODE_KINDS, AppSpec, Server, ServerKind, kind_params, serving

from .buses import broker_of, make_bus

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.nodes import Bus

pytestmark = pytest.mark.timeout(180)

#: Seconds that an emit may take: the queue's time-out for a first attempt and one on a new connection, and slack.
EMIT_BOUND_S = 6.0


class Person:
    """A real client that notes what it hears and answers questions."""

    def __init__(self, server: Server) -> None:
        self.heard: list[tuple[str, Any]] = []
        self.client = python_socketio.Client(reconnection=False)
        self.client.on("question", lambda *args: ("answer", *args))
        for name in ("said", "announced"):
            self.client.on(name, lambda value, name=name: self.heard.append((name, value)))
        self.client.connect(server.url, transports=["websocket"], wait_timeout=10)
        self.client.call("join", "room", timeout=10)

    @property
    def sid(self) -> str:
        sid: str = self.client.get_sid()
        return sid

    def close(self) -> None:
        self.client.disconnect()


@pytest.fixture(params=["redis", "streams", "rabbitmq", "kafka"])
def bus(request: pytest.FixtureRequest) -> Bus:
    return make_bus(request, request.param)


@pytest.fixture(params=kind_params(*MODE_KINDS))
def kind(request: pytest.FixtureRequest) -> ServerKind:
    kind: ServerKind = request.param
    return kind


@pytest.fixture
def servers(kind: ServerKind, bus: Bus, tmp_path: Path) -> Iterator[tuple[Server, Server]]:
    options = {"message_queue": bus.url, "channel": bus.channel}
    spec = AppSpec(app="clients", options=options)
    with serving(kind, spec, tmp_path) as first, serving(kind, spec, tmp_path) as second:
        yield first, second


@pytest.fixture
def outside(bus: Bus) -> Iterator[SocketIO]:
    extension = SocketIO(message_queue=bus.url, channel=bus.channel, async_mode="threading")
    yield extension
    extension.close()


def test_two_servers_and_an_emitter_act_as_one(servers: tuple[Server, Server], outside: SocketIO) -> None:
    people = [Person(server) for server in servers]
    try:
        _become_one(people, outside)
        health = outside.health()
        assert health is not None
        assert health.up
        for person in people:
            person.heard.clear()
        people[0].client.emit("say", ("room", "hello"))
        servers[1].get("/announce/view")
        outside.emit("announced", {"binary": [b"\x00\xff"]})
        expected = [("announced", "view"), ("announced", {"binary": [b"\x00\xff"]}), ("said", "hello")]
        wait_until(lambda: all(len(person.heard) >= 3 for person in people), "three events at both clients")
        for person in people:
            assert sorted(person.heard, key=repr) == sorted(expected, key=repr)
        for person in people:
            assert outside.call("question", 7, to=person.sid, timeout=10) == ("answer", 7)
        outside.server.disconnect(people[0].sid)
        wait_until(lambda: not people[0].client.connected, "disconnection from outside")
        assert people[1].client.connected
    finally:
        for person in people:
            person.close()


def _become_one(people: list[Person], outside: SocketIO, timeout_s: float = 15) -> None:
    """Wait until both servers listen: a server joins at its first request, and some brokers take a second."""

    def heard_by_all() -> bool:
        greeting = uuid.uuid4().hex
        outside.emit("announced", greeting)
        time.sleep(0.1)
        return all(("announced", greeting) in person.heard for person in people)

    wait_until(heard_by_all, "greeting at both clients", timeout_s)
    last = uuid.uuid4().hex
    outside.emit("announced", last)
    wait_until(lambda: all(("announced", last) in person.heard for person in people), "last greeting")


def test_servers_live_through_an_outage_of_the_broker(
    servers: tuple[Server, Server], outside: SocketIO, bus: Bus, request: pytest.FixtureRequest
) -> None:
    broker = broker_of(request, bus.kind)
    assert broker is not None
    people = [Person(server) for server in servers]
    try:
        _become_one(people, outside)
        with broker.outage():
            started = time.monotonic()
            servers[0].get("/announce/during", timeout_s=10)
            assert time.monotonic() - started < EMIT_BOUND_S
            _answers_at_once(servers[0])
            # The clients of this process wait for no broker.
            wait_until(lambda: ("announced", "during") in people[0].heard, "event of the own server")
            people[0].client.emit("say", ("room", "also during"))
            wait_until(lambda: ("said", "also during") in people[0].heard, "event of the own server")
        _become_one(people, outside, timeout_s=60)
        # Buffered at the sender and sent when the broker was back. A pub/sub listener that came back after the
        # sender has missed it.
        if bus.queue_class.capabilities.replay:
            wait_until(lambda: ("announced", "during") in people[1].heard, "event of the other server", 30)
        servers[1].get("/announce/after")
        wait_until(lambda: ("announced", "after") in people[0].heard, "event after the outage")
        assert len([item for item in people[0].heard if item == ("announced", "during")]) == 1
    finally:
        for person in people:
            person.close()


def _answers_at_once(server: Server) -> None:
    """Ask a few times: a hub that is blocked by the broker's absence answers late."""
    for _ in range(10):
        started = time.monotonic()
        assert server.get("/ready", timeout_s=5).status == 200
        assert time.monotonic() - started < 1.5
        time.sleep(0.1)
