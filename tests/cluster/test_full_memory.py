"""A Redis whose memory is full: what becomes of each message is counted and told."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from flask_socketio_core.contracts.clients import Emission
from support.brokers import RedisBroker, running
from support.nodes import Bus, Node, wait_until

from .buses import KINDS
from .cutting import Gate

redis = pytest.importorskip("redis")
pytestmark = pytest.mark.timeout(90)

COUNT = 20


class Full:
    """A Redis with 3 MB of memory and what it may do when that is full."""

    def __init__(self, broker: RedisBroker) -> None:
        self.client: Any = redis.Redis(port=broker.port)
        self._broker = broker

    def bus(self, kind: str) -> Bus:
        module, name, _, scheme = KINDS[kind]
        queue_class = getattr(pytest.importorskip(module, exc_type=ImportError), name)
        url = self._broker.url.replace("redis", scheme or "redis", 1)
        return Bus(queue_class, url, f"test-{uuid.uuid4().hex[:12]}", {}, kind)

    def fill(self) -> None:
        """Let another application take what is left."""
        try:
            for size in (50_000, 1_000, 10):
                for number in range(200):
                    self.client.set(f"other-{size}-{number}", "x" * size)
        except redis.OutOfMemoryError:
            return

    def free(self) -> None:
        keys = self.client.keys("other-*")
        self.client.delete(*keys)


@pytest.fixture
def full(request: pytest.FixtureRequest) -> Iterator[Full]:
    with running(RedisBroker("--maxmemory", "3mb", "--maxmemory-policy", request.param)) as broker:
        yield Full(broker)


@pytest.mark.parametrize("full", ["noeviction"], indirect=True)
def test_a_stream_takes_no_message_and_that_is_told_until_it_does(
    full: Full, caplog: pytest.LogCaptureFixture
) -> None:
    bus = full.bus("streams")
    with ExitStack() as stack:
        sender, receiver = (Node(bus, buffer_max_age_s=0.5).start() for _ in range(2))
        stack.callback(sender.close)
        stack.callback(receiver.close)
        member = receiver.connect()
        wait_until(sender.has_peer, "peer")
        full.client.config_set("maxmemory", 1)  # nothing is taken, however much of the stream is given up
        for number in range(COUNT):
            sender.cluster.emit(Emission("lost", (number,)))
        wait_until(lambda: sender.cluster.health().lost_sent == COUNT, "loss of what is too old")
        health = sender.cluster.health()
        assert not health.up and "OutOfMemoryError" in health.detail
        wait_until(
            lambda: "messages lost so far, since the broker takes none" in caplog.text, "line in the log"
        )
        assert [up for up, _ in sender.states] == [True, False]  # it answers a ping, and that is not enough

        full.client.config_set("maxmemory", "100mb")
        wait_until(lambda: sender.states[-1][0], "recovery")
        assert f"0 messages sent late, {COUNT} lost" in sender.states[-1][1]
        wait_until(lambda: receiver.cluster.health().lost_received == COUNT, "count of the loss")
        wait_until(lambda: sum(gap.missed or 0 for gap in receiver.gaps) == COUNT, "gap of the loss")
        sender.cluster.emit(Emission("after", ()))
        assert member.wait_for(1) == [["after"]]
        assert caplog.text.count("is unavailable: OutOfMemoryError") == 2  # once for each server
        assert "listening" not in caplog.text


@pytest.mark.parametrize("full", ["allkeys-lru"], indirect=True)
def test_what_was_evicted_before_it_was_heard_is_counted_and_told(full: Full) -> None:
    bus, gate = full.bus("streams"), Gate()
    with ExitStack() as stack:
        receiver, sender = Node(gate.before(bus)).start(), Node(bus).start()
        stack.callback(receiver.close)
        stack.callback(sender.close)
        member = receiver.connect()
        wait_until(receiver.has_peer, "peer")
        with gate.holding():
            sender.cluster.emit(Emission("held", ()))  # the listener has taken this one, or will
            for number in range(COUNT):
                sender.cluster.emit(Emission("n", (number, "x" * 10_000)))
            full.fill()
            full.client.delete(
                f"{bus.channel}.stream"
            )  # as eviction does, whose choice is a matter of chance
        sender.cluster.emit(Emission("after", ()))
        wait_until(lambda: ["after"] in member.receive(), "message in the new stream")
        missing = COUNT + 1 - (len(member.receive()) - 1)
        wait_until(lambda: receiver.cluster.health().lost_received == missing, "count of the loss")
        wait_until(lambda: sum(gap.missed or 0 for gap in receiver.gaps) == missing, "gap of the loss")


@pytest.mark.parametrize("full", ["noeviction"], indirect=True)
def test_pub_sub_needs_no_memory(full: Full) -> None:
    bus = full.bus("redis")
    with ExitStack() as stack:
        sender, receiver = Node(bus).start(), Node(bus).start()
        stack.callback(sender.close)
        stack.callback(receiver.close)
        member = receiver.connect()
        wait_until(sender.has_peer, "peer")
        full.fill()
        with pytest.raises(redis.OutOfMemoryError):
            full.client.set("more", "x" * 100_000)
        for number in range(COUNT):
            sender.cluster.emit(Emission("n", (number,)))
        assert member.wait_for(COUNT) == [["n", number] for number in range(COUNT)]
        assert sender.cluster.health().up
