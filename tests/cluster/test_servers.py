"""Two real servers, a process that only sends and real clients, in every mode and over every broker."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest
import socketio as python_socketio

from flask_socketio_core import SocketIO
from support.nodes import wait_until
from support.servers import MODE_KINDS, AppSpec, Server, ServerKind, kind_params, serving

from .buses import make_bus

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.nodes import Bus

pytestmark = pytest.mark.timeout(120)


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


def _become_one(people: list[Person], outside: SocketIO) -> None:
    """Wait until both servers listen: a server joins at its first request, and some brokers take a second."""

    def heard_by_all() -> bool:
        outside.emit("announced", uuid.uuid4().hex)
        return all(person.heard for person in people)

    wait_until(heard_by_all, "first message at both clients")
    last = uuid.uuid4().hex
    outside.emit("announced", last)
    wait_until(lambda: all(("announced", last) in person.heard for person in people), "last greeting")
