"""health() tells how the bus is, and a probe tries it: over every queue."""

from __future__ import annotations

import dataclasses
import json
import time
from importlib import metadata
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask

from flask_socketio_core import SocketIO
from flask_socketio_core.contracts.clients import Emission
from support.nodes import Bus, Node, wait_until

from .buses import KINDS, broker_of, make_bus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.brokers import Broker

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(params=KINDS)
def bus(request: pytest.FixtureRequest) -> Bus:
    return make_bus(request, request.param)


@pytest.fixture
def redis_bus(request: pytest.FixtureRequest) -> Bus:
    return make_bus(request, "redis")


@pytest.fixture
def redis(request: pytest.FixtureRequest) -> Broker:
    broker = broker_of(request, "redis")
    assert broker is not None
    return broker


@pytest.fixture
def node(bus: Bus) -> Iterator[Node]:
    node = Node(bus).start()
    yield node
    node.close()


def test_it_tells_lag_peers_and_counts(bus: Bus, node: Node) -> None:
    other = Node(bus).start()
    try:
        wait_until(node.has_peer, "peer")
        wait_until(other.has_peer, "peer")
        other.cluster.emit(Emission("hello", ()))
        wait_until(lambda: node.cluster.health().received == 1, "message")
        health = node.cluster.health()
        assert (health.up, health.detail, health.waiting, health.waiting_bytes) == (True, "", 0, 0)
        assert (health.lost_sent, health.lost_received, health.gaps, health.gaps_s) == (0, 0, 0, 0.0)
        assert health.lag_s is not None
        assert 0 <= health.lag_s < 5
        (peer,) = health.peers
        assert peer.node == other.cluster.health().node
        assert (peer.async_mode, peer.version) == ("plain-threads", metadata.version("flask-socketio-core"))
        assert 0 <= peer.silent_s < 5
        assert json.loads(json.dumps(dataclasses.asdict(health)))["peers"][0]["node"] == peer.node
    finally:
        other.close()


def test_a_probe_hears_itself_and_the_servers_and_leaves_nothing(bus: Bus, node: Node) -> None:
    found = node.cluster.check_queue(20.0)
    assert found.up, found
    assert found.round_trip_s is not None
    assert [answer.node for answer in found.answers] == [node.cluster.health().node]
    health = node.cluster.health()
    assert (health.peers, health.received) == ((), 0)


def test_a_probe_leaves_no_queue_at_rabbitmq(request: pytest.FixtureRequest) -> None:
    kombu = pytest.importorskip("kombu")
    bus = make_bus(request, "rabbitmq")
    node = Node(bus).start()
    names: list[str] = []

    class Noting(bus.queue_class):  # type: ignore[misc,name-defined]  # a class that is known at run time only
        def __init__(self, *args: Any, **keywords: Any) -> None:
            super().__init__(*args, **keywords)
            names.append(self._queue_name)

    prober = Node(dataclasses.replace(bus, queue_class=Noting))
    try:
        assert prober.cluster.check_queue(20.0).up
        assert len(names) == 2  # the cluster's own, which was never used, and the probe's
        with kombu.Connection(bus.url) as connection:
            for name in names:
                with pytest.raises(connection.channel_errors, match="NOT_FOUND"):
                    connection.channel().queue_declare(name, passive=True)
    finally:
        node.close()
        prober.close()


def test_the_lag_grows_while_a_heartbeat_does_not_come_back(redis_bus: Bus, redis: Broker) -> None:
    node = Node(redis_bus).start()
    before = node.cluster.health().lag_s
    assert before is not None
    redis.pause()
    try:
        wait_until(
            lambda: (node.cluster.health().lag_s or 0) > before + 1.2, "lag of more than two heartbeats"
        )
    finally:
        redis.resume()
        node.close()


def test_an_application_sees_its_bus_go_and_come(redis_bus: Bus, redis: Broker) -> None:
    app = Flask(__name__)
    socketio = SocketIO(
        app,
        async_mode="threading",
        message_queue=redis_bus.url,
        channel=redis_bus.channel,
        message_queue_options={"heartbeat_interval_s": 0.5},
    )

    def health() -> Any:
        return socketio.health()

    try:
        socketio.binding_of(app).join()
        wait_until(lambda: health().up and health().lag_s is not None, "bus that is up")
        with redis.outage():
            wait_until(lambda: not health().up, "bus that is down")
            socketio.emit("waits")
            down = health()
            assert "listening: " in down.detail
            wait_until(lambda: health().waiting == 1, "message that waits")
        wait_until(lambda: health().up and health().waiting == 0, "bus that is up again", 40)
        assert health().gaps == 1
        assert health().gaps_s > 0
    finally:
        socketio.close()


def test_without_a_queue_there_is_no_health() -> None:
    assert SocketIO(Flask(__name__)).health() is None


def test_health_asks_nobody(redis_bus: Bus, redis: Broker) -> None:
    node = Node(redis_bus).start()
    redis.pause()
    try:
        started = time.monotonic()
        for _ in range(100):
            node.cluster.health()
        assert time.monotonic() - started < 1
    finally:
        redis.resume()
        node.close()
