"""Nobody waits for RabbitMQ's confirmations, and nothing is lost, repeated or overtaken for it."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from flask_socketio_core.contracts.clients import Emission
from flask_socketio_core.errors import QueueUnavailable
from flask_socketio_core.testing.conformance.queues import Listener
from flask_socketio_core.testing.threads import ThreadMode
from flask_socketio_queue_kombu import rabbitmq
from flask_socketio_queue_kombu.rabbitmq import RabbitMQQueue
from support.brokers import Broker
from support.nodes import Bus, Node, emitter, wait_until
from support.proxy import Proxy

pytestmark = pytest.mark.timeout(180)

#: Seconds in which a broker that was frozen has caught up.
RECOVERY_S = 40.0


class Owner:
    """A queue and what it handed back."""

    def __init__(self, url: str, **options: Any) -> None:
        self.queue = RabbitMQQueue(url, f"test-{uuid.uuid4().hex[:12]}", mode=ThreadMode(), options=options)
        self.queue.on_failure = lambda message, key: self.back.append(message)
        self.back: list[bytes] = []

    def publish(self, first: int, last: int) -> None:
        for number in range(first, last):
            self.queue.publish(b"%d" % number)


def numbers(first: int, last: int) -> list[bytes]:
    return [b"%d" % number for number in range(first, last)]


@pytest.fixture
def frozen(rabbitmq_broker: Broker) -> Iterator[Owner]:
    """Return a queue that has published 0, whose broker is frozen now."""
    owner = Owner(rabbitmq_broker.url, publish_timeout_s=1.0)
    owner.publish(0, 1)
    assert owner.queue.flush(10) == 0
    rabbitmq_broker.pause()
    try:
        yield owner
    finally:
        rabbitmq_broker.resume()
        owner.queue.close()


def test_publishing_waits_for_no_confirmation(frozen: Owner, rabbitmq_broker: Broker) -> None:
    started = time.monotonic()
    frozen.publish(1, 101)
    assert time.monotonic() - started < 0.5
    assert frozen.queue.flush(0.1) == 100
    rabbitmq_broker.resume()
    assert frozen.queue.flush(10) == 0
    assert frozen.back == []


def test_what_is_not_confirmed_in_time_comes_back_in_order(frozen: Owner) -> None:
    frozen.publish(1, 11)
    wait_until(lambda: frozen.back == numbers(1, 2), "return of the oldest")  # nobody publishes
    with pytest.raises(QueueUnavailable, match="what was sent before has to be sent first"):
        frozen.publish(11, 12)
    assert frozen.back == numbers(1, 11)


def test_no_more_than_the_bound_is_on_its_way(frozen: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rabbitmq, "MAX_UNCONFIRMED", 20)
    started = time.monotonic()
    with pytest.raises(QueueUnavailable):
        frozen.publish(1, 100)
    assert time.monotonic() - started < 5
    assert len(frozen.back) <= 20


def test_bytes_are_bounded_too(frozen: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rabbitmq, "MAX_UNCONFIRMED_BYTES", 1000)
    for _ in range(10):
        frozen.queue.publish(bytes(100))
    with pytest.raises(QueueUnavailable):
        frozen.queue.publish(b"one more")
    assert len(frozen.back) == 10


def test_a_refused_message_comes_back_with_all_that_followed(rabbitmq_broker: Broker) -> None:
    owner = Owner(rabbitmq_broker.url)
    listener = Listener(owner.queue).subscribed()
    owner.publish(0, 1)
    listener.wait_for(1)
    assert owner.queue.flush(10) == 0
    rabbitmq_broker.pause()
    owner.publish(1, 4)
    channel = owner.queue._publisher.sender
    rabbitmq_broker.resume()
    with pytest.raises(QueueUnavailable, match=r"refused a message \(basic.nack\)"):
        channel._on_basic_nack(2, False)  # RabbitMQ itself does so only when something breaks in it
    owner.queue.close()


def test_a_publisher_that_is_interrupted_in_a_frame_takes_a_new_connection(rabbitmq_broker: Broker) -> None:
    class Interruption(BaseException):
        """What a greenlet's time-out and Ctrl-C have in common."""

    owner = Owner(rabbitmq_broker.url)
    owner.publish(0, 1)
    assert owner.queue.flush(10) == 0
    channel = owner.queue._publisher.sender

    def send_half(*_: object) -> None:
        channel.connection.transport.sock.sendall(b"\x01\x00\x01\x00")
        raise Interruption

    channel.send_method = send_half
    with pytest.raises(Interruption):
        owner.publish(1, 2)
    del channel.send_method
    try:
        owner.publish(2, 4)
        assert owner.queue.flush(10) == 0
        assert owner.back == []
    finally:
        owner.queue.close()


def test_a_connection_that_is_cut_again_and_again_loses_repeats_and_disorders_nothing(
    rabbitmq_broker: Broker,
) -> None:
    proxy = Proxy(urlsplit(rabbitmq_broker.url).port or 0)
    bus = Bus(
        RabbitMQQueue,
        f"amqp://guest:guest@127.0.0.1:{proxy.port}//",
        f"test-{uuid.uuid4().hex[:12]}",
    )
    node = Node(bus).start()
    member = node.connect()
    sender = emitter(bus)
    done = threading.Event()
    emitted = 0

    def cut() -> None:
        while not done.wait(0.3):
            proxy.cut()

    cutter = threading.Thread(target=cut)
    cutter.start()
    try:
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            sender.emit(Emission("n", (emitted,)))
            emitted += 1
            time.sleep(0.001)
    finally:
        done.set()
        cutter.join()
    try:
        wait_until(lambda: len(member.receive()) >= emitted, "arrival of all messages", RECOVERY_S)
        assert sender.close(timeout_s=5) == 0
        time.sleep(0.3)  # for what might come twice
        assert [event[1] for event in member.receive()] == list(range(emitted))
        assert node.cluster.health().duplicates > 0, "nothing was on its way when it was cut"
    finally:
        node.close()
        proxy.close()


@pytest.mark.parametrize("how", ["killed", "hanging"])
def test_a_broker_that_goes_in_a_burst_loses_repeats_and_disorders_nothing(
    rabbitmq_broker: Broker, how: str
) -> None:
    bus = Bus(RabbitMQQueue, rabbitmq_broker.url, f"test-{uuid.uuid4().hex[:12]}")
    node = Node(bus).start()
    member = node.connect()
    senders = {"first": emitter(bus), "second": emitter(bus)}
    count = 3000

    def be_away() -> None:
        if how == "killed":
            rabbitmq_broker.kill()
            rabbitmq_broker.start()
        else:
            rabbitmq_broker.pause()
            time.sleep(4)  # twice a publisher's patience
            rabbitmq_broker.resume()

    def emit(name: str) -> None:
        for number in range(count):
            senders[name].emit(Emission(name, (number,)))

    away = threading.Thread(target=be_away)
    threads = [threading.Thread(target=emit, args=(name,)) for name in senders]
    try:
        for thread in threads:
            thread.start()
        wait_until(lambda: len(member.receive()) > 500, "beginning")
        away.start()
        for thread in (*threads, away):
            thread.join()
        wait_until(lambda: len(member.receive()) >= 2 * count, "arrival of all messages", RECOVERY_S)
        assert [sender.close(timeout_s=5) for sender in senders.values()] == [0, 0]
        time.sleep(0.3)
        for name in senders:
            assert [event[1] for event in member.receive() if event[0] == name] == list(range(count))
    finally:
        node.close()


def test_confirmations_are_read_when_nobody_publishes(rabbitmq_broker: Broker) -> None:
    owner = Owner(rabbitmq_broker.url)
    owner.publish(0, 5)
    wait_until(lambda: len(owner.queue._unconfirmed) == 0, "confirmation")
    owner.queue.close()
