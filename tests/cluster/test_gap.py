"""A server that was cut off from the bus says for how long, and whether something is missing: over real brokers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest
import redis
from flask import Flask

from flask_socketio_core import SocketIO
from flask_socketio_core.contracts.clients import Emission
from flask_socketio_core.errors import QueueUnavailable
from flask_socketio_core.testing.threads import ThreadMode
from support.nodes import Bus, Member, Node, wait_until
from support.proxy import Proxy
from support.servers import MODE_KINDS

from . import stage
from .buses import broker_of, make_bus
from .cutting import Gate, cut_subscriber, named

if TYPE_CHECKING:
    from pathlib import Path

    from support.brokers import Broker

pytestmark = pytest.mark.timeout(120)

RECOVERY_S = 40.0

#: Cuts off a server's connection, and keeps the broker away for the length of a ``with`` block if it must.
Cut = Callable[[], AbstractContextManager[object]]


class Scene:
    """A server that sends and one that is cut off, both with a client in one room."""

    def __init__(self, bus: Bus, cut: Cut, **options: Any) -> None:
        self.gate = Gate()
        self._cut = cut
        self.sender = Node(bus, **options).start()
        self.victim = Node(self.gate.before(bus), **options).start()
        self.member = self._enter(self.victim)
        wait_until(self.sender.has_peer, "peer")
        wait_until(self.victim.has_peer, "peer")
        self.sent = 0

    def _enter(self, node: Node) -> Member:
        member = node.connect()
        node.cluster.enter_room(member.sid, "room")
        return member

    def emit(self, count: int) -> None:
        for _ in range(count):
            self.sender.cluster.emit(Emission("n", (self.sent,), to=("room",)))
            self.sent += 1
        wait_until(lambda: self.sender.cluster.health().waiting == 0, "flushed buffer", RECOVERY_S)

    @contextmanager
    def gap(self) -> Iterator[None]:
        """Cut the victim off for the length of a ``with`` block."""
        with self.gate.shut():
            with self._cut():
                listener = self.victim.cluster._link.listener
                wait_until(lambda: not listener.subscribed, "noticed loss of the connection", RECOVERY_S)
            yield

    def settle(self) -> None:
        """Wait until the gap was told, what is sent now arrives, and the victim can send again, too."""
        wait_until(lambda: self.victim.gaps, "report of the gap", RECOVERY_S)
        self.emit(1)
        wait_until(lambda: self.heard()[-1:] == [self.sent - 1], "last message", RECOVERY_S)
        wait_until(lambda: all(up for up, _ in self.victim.states[-1:]), "victim that is up", RECOVERY_S)

    def heard(self) -> list[int]:
        return [event[1] for event in self.member.receive()]

    def close(self) -> None:
        self.sender.close()
        self.victim.close()


@contextmanager
def playing(request: pytest.FixtureRequest, kind: str, **options: Any) -> Iterator[Scene]:
    """Set the scene on a real broker."""
    bus = make_bus(request, kind)
    broker = broker_of(request, kind)
    assert broker is not None
    with _cutter(bus, broker) as (bus, cut):
        scene = Scene(bus, cut, **options)
        try:
            yield scene
        finally:
            scene.close()


@contextmanager
def _cutter(bus: Bus, broker: Broker) -> Iterator[tuple[Bus, Cut]]:
    """Return where to connect to, and what cuts connections."""
    if bus.kind in ("redis", "streams"):
        own, name = named(bus)
        yield own, lambda: nullcontext(cut_subscriber(broker.url, name))
    elif bus.kind in ("rabbitmq", "kombu"):
        port = int(bus.url.rpartition(":")[2].strip("/"))
        proxy = Proxy(port)
        try:
            yield (
                Bus(bus.queue_class, bus.url.replace(f":{port}", f":{proxy.port}"), bus.channel),
                lambda: nullcontext(proxy.cut()),
            )
        finally:
            proxy.close()
    else:  # Kafka's clients connect to the address that the broker tells them
        yield bus, broker.outage


@pytest.mark.parametrize("kind", ["streams", "rabbitmq", "kafka"])
def test_a_durable_queue_resumes_and_says_that_nothing_is_missing(
    request: pytest.FixtureRequest, kind: str
) -> None:
    with playing(request, kind) as scene:
        scene.emit(10)
        wait_until(lambda: len(scene.heard()) == 10, "messages before the gap")
        before = time.time()
        with scene.gap():
            scene.emit(200)
        scene.settle()
        wait_until(lambda: sorted(scene.heard()) == list(range(scene.sent)), "all messages", RECOVERY_S)
        (gap,) = scene.victim.gaps
        assert (gap.missed, gap.resumed) == (0, True)
        assert gap.since <= before + 1
        assert 0 < gap.duration_s <= time.time() - gap.since
        assert scene.victim.cluster.health().lost_received == 0


@pytest.mark.parametrize("kind", ["redis", "kombu"])
def test_a_queue_that_keeps_nothing_says_how_many_messages_are_missing(
    request: pytest.FixtureRequest, kind: str
) -> None:
    with playing(request, kind) as scene:
        scene.emit(10)
        wait_until(lambda: len(scene.heard()) == 10, "messages before the gap")
        with scene.gap():
            scene.emit(50)
        wait_until(lambda: scene.victim.gaps, "report of the gap")  # although nothing more is sent
        (gap,) = scene.victim.gaps
        assert (gap.missed, gap.resumed) == (50, False)
        health = scene.victim.cluster.health()
        assert (health.gaps, health.gaps_s) == (1, gap.duration_s)
        scene.settle()
        assert scene.heard() == [*range(10), 60]


def test_what_kombu_loses_when_its_broker_restarts_is_counted(request: pytest.FixtureRequest) -> None:
    broker = broker_of(request, "kombu")
    assert broker is not None
    with playing(request, "kombu") as scene, scene.gate.shut():
        with broker.outage():
            pass
        scene.emit(20)
        scene.gate.open()
        scene.settle()
        (gap,) = scene.victim.gaps
        missing = scene.sent - len(scene.heard())
        assert missing > 0
        assert (gap.missed, gap.resumed) == (missing, False)


def test_a_stream_that_was_trimmed_past_our_position_has_losses(request: pytest.FixtureRequest) -> None:
    with playing(request, "streams", stream_max_length=100) as scene:
        with scene.gap():
            scene.emit(1000)
        scene.settle()
        (gap,) = scene.victim.gaps
        missing = scene.sent - len(scene.heard())
        assert missing > 0
        assert (gap.missed, gap.resumed) == (missing, False)
        assert "stream_max_length=100" in scene.victim.states[-1][1]


def test_a_reader_that_a_stream_was_trimmed_past_while_it_was_connected_has_losses(
    request: pytest.FixtureRequest,
) -> None:
    with playing(request, "streams", stream_max_length=100) as scene:
        with scene.gate.holding():
            scene.emit(2000)
        scene.settle()
        (gap,) = scene.victim.gaps
        missing = scene.sent - len(scene.heard())
        assert missing > 0
        assert (gap.duration_s, gap.missed, gap.resumed) == (0.0, missing, False)
        assert scene.victim.cluster.health().lost_received == missing


def test_a_stream_that_redis_has_lost_has_losses(request: pytest.FixtureRequest, redis_url: str) -> None:
    with playing(request, "streams") as scene:
        with scene.gap(), redis.Redis.from_url(redis_url) as client:
            scene.emit(20)
            client.delete(f"{scene.victim.cluster._link.queue.channel}.stream")
        scene.settle()
        (gap,) = scene.victim.gaps
        assert (gap.missed, gap.resumed) == (20, False)


def test_a_queue_of_rabbitmq_that_has_expired_has_losses(request: pytest.FixtureRequest) -> None:
    with playing(request, "rabbitmq", queue_expires_s=1.0) as scene:
        with scene.gap():
            time.sleep(2.5)  # RabbitMQ's own clock decides
            scene.emit(20)
        scene.settle()
        (gap,) = scene.victim.gaps
        assert (gap.missed, gap.resumed) == (20, False)
        assert "queue_expires_s=1 s" in scene.victim.states[-1][1]


def test_a_kafka_topic_that_has_dropped_what_we_missed_has_losses(request: pytest.FixtureRequest) -> None:
    with playing(request, "kafka") as scene:
        with scene.gap():
            scene.emit(20)
            _drop_all(scene.sender.cluster._link.queue)
        scene.settle()
        (gap,) = scene.victim.gaps
        assert (gap.missed, gap.resumed) == (20, False)
        assert "Kafka has dropped" in scene.victim.states[-1][1]


def test_a_server_whose_kafka_is_frozen_says_so_and_hears_again(request: pytest.FixtureRequest) -> None:
    broker = broker_of(request, "kafka")
    assert broker is not None
    with playing(request, "kafka") as scene:

        def problems() -> str:
            return scene.victim.cluster.health().detail

        broker.pause()
        try:
            wait_until(lambda: "listening: " in problems() and "sending: " in problems(), "report of both")
            time.sleep(5)  # long enough for each side to wait for an answer on new connections
            assert not scene.victim.cluster.health().up
        finally:
            broker.resume()
        wait_until(lambda: not problems(), "recovery")
        scene.settle()
        (gap,) = scene.victim.gaps
        assert (gap.missed, gap.resumed) == (0, True)


def test_a_listener_that_kafka_has_moved_on_while_it_was_connected_says_so(
    request: pytest.FixtureRequest,
) -> None:
    bus = make_bus(request, "kafka")
    mode = ThreadMode()
    queue = bus.queue_class(bus.url, bus.channel, mode=mode, options={"partitions": 1})
    skipped: list[str] = []
    queue.on_skip = skipped.append
    try:
        listening = queue.listen()
        assert next(listening) == b""
        for _ in range(5):
            queue.publish(b"dropped", key="k")
        _drop_all(queue)
        queue.publish(b"kept", key="k")
        with pytest.raises(QueueUnavailable, match="Kafka has dropped 5 messages"):
            _first_message(listening)
        assert _first_message(queue.listen()) == b"kept"
        assert skipped == ["Kafka has dropped 5 messages by the topic's retention.ms or retention.bytes"]
    finally:
        queue.close()


def test_a_listener_that_kafka_has_moved_on_hears_nothing_old_from_other_partitions(
    request: pytest.FixtureRequest,
) -> None:
    bus = make_bus(request, "kafka")
    queue: Any = bus.queue_class(bus.url, bus.channel, mode=ThreadMode(), options={"partitions": 2})
    try:
        for number in range(20):
            queue.publish(b"before we joined", key=str(number))
        assert queue.flush(10.0) == 0
        listening = queue.listen()
        assert next(listening) == b""
        for _ in range(5):
            queue.publish(b"dropped", key="k")
        _drop_all(queue, queue._positions)
        queue.publish(b"kept", key="k")
        with pytest.raises(QueueUnavailable, match="Kafka has dropped 5 messages"):
            _first_message(listening)
        listening = queue.listen()
        assert next(listening) == b""
        heard = [message for message, _ in zip(listening, range(5), strict=False)]
        assert [message for message in heard if message] == [b"kept"]
    finally:
        queue.close()


def _first_message(listening: Iterator[bytes]) -> bytes:
    return next(message for message in listening if message)


def _drop_all(queue: Any, joined_at: Mapping[int, int] = MappingProxyType({})) -> None:
    """Do to a topic at once what its retention does in time, where something was sent since."""
    kafka = pytest.importorskip("kafka")
    wait_until(lambda: queue.flush(1.0) == 0, "moment in which no heartbeat is on its way")
    servers = queue.url.partition("://")[2]
    with kafka.KafkaConsumer(bootstrap_servers=servers) as consumer:
        parts = [kafka.TopicPartition(queue.channel, n) for n in consumer.partitions_for_topic(queue.channel)]
        ends = consumer.end_offsets(parts)
    ends = {part: end for part, end in ends.items() if end > joined_at.get(part.partition, 0)}
    with kafka.KafkaAdminClient(bootstrap_servers=servers) as admin:
        admin.delete_records(ends)


def test_a_server_that_could_not_join_at_once_has_a_gap_of_unknown_cost(
    request: pytest.FixtureRequest,
) -> None:
    bus = make_bus(request, "redis")
    broker = broker_of(request, "redis")
    assert broker is not None
    with broker.outage():
        node = Node(bus).start(wait=False)
        wait_until(lambda: node.states, "report of the outage")
    try:
        wait_until(lambda: node.gaps, "report of the gap", RECOVERY_S)
        (gap,) = node.gaps
        assert (gap.missed, gap.resumed) == (None, False)
        assert gap.duration_s > 0
    finally:
        node.close()


def test_an_application_is_told_of_a_gap_and_has_its_clients_load_anew(
    request: pytest.FixtureRequest, redis_url: str
) -> None:
    bus, name = named(make_bus(request, "redis"))
    app = Flask(__name__)
    socketio = SocketIO(
        app,
        async_mode="threading",
        message_queue=bus.url,
        channel=bus.channel,
        message_queue_options={"heartbeat_interval_s": 0.5},
    )

    @socketio.observe
    def socketio_bus_gap(duration_s: float, resumed: bool) -> None:
        if not resumed:
            socketio.emit("reload", duration_s)

    socketio.on("connect")(lambda: None)
    try:
        with socketio.test_client(app) as client:
            binding = socketio.binding_of(app)
            binding.join()
            wait_until(lambda: binding.cluster.await_subscription(0.1), "subscription")  # type: ignore[union-attr]
            assert cut_subscriber(redis_url, name) == 1
            received: list[dict[str, Any]] = []

            def told() -> bool:
                received.extend(client.get_received())
                return bool(received)

            wait_until(told, "event at the client")
            assert [event["name"] for event in received] == ["reload"]
            assert received[0]["args"][0] > 0
    finally:
        socketio.close()


def test_servers_of_every_mode_listen_again_and_count_the_gap(
    request: pytest.FixtureRequest, redis_url: str, tmp_path: Path
) -> None:
    bus, name = named(make_bus(request, "redis"))
    kinds = stage.available(*MODE_KINDS)
    with stage.playing(bus, kinds, tmp_path) as play:
        assert cut_subscriber(redis_url, name) == len(kinds)
        for kind in kinds:
            wait_until(lambda kind=kind: play.health(kind.name)["gaps"] == 1, f"gap of {kind.name}")  # type: ignore[misc]
        play.become_one()
        for kind in kinds:
            health = play.health(kind.name)
            assert (health["up"], health["gaps"], health["lost_received"]) == (True, 1, 0)
            assert len(health["peers"]) == len(kinds) - 1
