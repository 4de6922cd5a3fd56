"""A broker is killed under traffic, or stands still: durable queues lose nothing, and no emit waits for long."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from flask_socketio_core.contracts.clients import Emission
from support.nodes import Bus, Member, Node, emitter, wait_until

from .buses import broker_of, make_bus

if TYPE_CHECKING:
    from flask_socketio_core.cluster.cluster import Cluster
    from support.brokers import Broker

pytestmark = pytest.mark.timeout(180)

#: Seconds the broker is away at least.
AWAY_S = 1.0
#: Seconds that an emit may take: the queue's time-out for a first attempt and one on a new connection.
BOUND_S = 5.0
#: Seconds after the broker's return in which everything works again: longest pause between two attempts, and slack.
RECOVERY_S = 40.0
DURABLE = ("streams", "rabbitmq", "kafka")


class Traffic(threading.Thread):
    """Emit numbered messages until told to stop."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        super().__init__(daemon=True, name=name)
        self.count = 0
        self.slowest_s = 0.0
        self._cluster = cluster
        self._end = threading.Event()
        self.start()

    def run(self) -> None:
        while not self._end.wait(0.01):
            started = time.monotonic()
            self._cluster.emit(Emission(self.name, (self.count,), to=("room",)))
            self.slowest_s = max(self.slowest_s, time.monotonic() - started)
            self.count += 1

    def end(self) -> int:
        """Stop and return how many messages were emitted."""
        self._end.set()
        self.join(30)
        assert not self.is_alive()
        return self.count


class Scene:
    """Two servers with a client each in one room, and a process that only sends."""

    def __init__(self, bus: Bus) -> None:
        self.nodes = [Node(bus).start(), Node(bus).start()]
        self.members = [self._enter(node) for node in self.nodes]
        self.outside = emitter(bus)
        for number in (0, 1):
            wait_until(self.nodes[number].has_peer, "peer")

    def _enter(self, node: Node) -> Member:
        member = node.connect()
        node.cluster.enter_room(member.sid, "room")
        return member

    def close(self) -> None:
        self.outside.close()
        for node in self.nodes:
            node.close()

    def crash(self, broker: Broker) -> dict[str, Traffic]:
        """Emit from both, kill the broker and start it again, and return the ended traffic."""
        traffic = {
            "inside": Traffic(self.nodes[0].cluster, "inside"),
            "outside": Traffic(self.outside, "outside"),
        }
        time.sleep(0.5)
        with broker.outage(kill=True):
            time.sleep(AWAY_S)
        clusters = [*(node.cluster for node in self.nodes), self.outside]
        wait_until(lambda: all(cluster.health().up for cluster in clusters), "recovery", RECOVERY_S)
        time.sleep(0.5)
        for sender in traffic.values():
            sender.end()
        return traffic


def received(member: Member, name: str) -> list[int]:
    return [event[1] for event in member.receive() if event[0] == name]


@pytest.mark.parametrize("kind", DURABLE)
def test_a_killed_broker_with_a_durable_queue_loses_and_repeats_nothing(
    request: pytest.FixtureRequest, kind: str
) -> None:
    bus = make_bus(request, kind)
    broker = broker_of(request, kind)
    assert broker is not None
    scene = Scene(bus)
    try:
        traffic = scene.crash(broker)
        here, there = scene.members
        wait_until(
            lambda: all(len(received(there, name)) >= sender.count for name, sender in traffic.items()),
            "arrival of all messages",
            RECOVERY_S,
        )
        time.sleep(0.5)  # for what might come twice
        for member in (here, there):
            for name, sender in traffic.items():
                assert sorted(received(member, name)) == list(range(sender.count)), (member is here, name)
        assert max(sender.slowest_s for sender in traffic.values()) < BOUND_S
        wait_until(lambda: scene.nodes[1].cluster.health().lost_received == 0, "account without losses")
    finally:
        scene.close()


@pytest.mark.parametrize("kind", ["redis", "kombu", *DURABLE])
def test_a_server_rests_while_its_broker_is_away(request: pytest.FixtureRequest, kind: str) -> None:
    bus = make_bus(request, kind)
    broker = broker_of(request, kind)
    assert broker is not None
    node = Node(bus).start()
    traffic = Traffic(node.cluster, "n")
    time.sleep(0.5)
    try:
        with broker.outage():
            wait_until(lambda: not node.cluster.health().up, "bus that is down")
            started, used_s = time.monotonic(), time.process_time()
            time.sleep(3)
            assert (time.process_time() - used_s) / (time.monotonic() - started) < 0.4  # of one processor
    finally:
        traffic.end()
        wait_until(lambda: node.cluster.health().up, "recovery", RECOVERY_S)
        node.close()


def test_a_frozen_broker_blocks_one_emit_for_a_bounded_time(request: pytest.FixtureRequest) -> None:
    bus = make_bus(request, "redis")
    broker = broker_of(request, "redis")
    assert broker is not None
    cluster = emitter(bus)
    cluster.emit(Emission("before", ()))
    broker.pause()
    try:
        started = time.monotonic()
        for number in range(10):
            cluster.emit(Emission("during", (number,)))
        assert time.monotonic() - started < BOUND_S
        assert cluster.health().waiting == 10
    finally:
        broker.resume()
    wait_until(lambda: cluster.health().waiting == 0, "flushed buffer", RECOVERY_S)
    assert cluster.close() == 0
