"""What is particular to Kafka: its topic, its options, and that nothing waits for a broker before it has to."""

from __future__ import annotations

import gc
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import kafka
import pytest

from flask_socketio_core.errors import InvalidOption, QueueUnavailable, UnknownOption
from flask_socketio_core.selection import Plugins
from flask_socketio_core.testing.conformance.queues import Listener
from flask_socketio_core.testing.threads import ThreadMode
from flask_socketio_queue_kafka.client import TOPIC_MAX_BYTES, ClientFactory
from flask_socketio_queue_kafka.queue import KafkaQueue
from support.brokers import Broker, KafkaBroker
from support.nodes import wait_until
from support.proxy import Proxy

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def channel() -> str:
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def make(channel: str) -> Iterator[Callable[..., KafkaQueue]]:
    made: list[KafkaQueue] = []

    def make(url: str, on: str = channel, **options: Any) -> KafkaQueue:
        made.append(KafkaQueue(url, on, mode=ThreadMode(), options=options))
        return made[-1]

    yield make
    for queue in made:
        queue.close()


def common(url: str, **options: Any) -> dict[str, Any]:
    """Return what all of kafka-python's clients would be made with."""
    return ClientFactory(url, "topic", options)._common


def test_the_plugin_is_listed_as_ok() -> None:
    plugin = next(item for item in Plugins().describe().plugins if item.name == "queue-kafka")
    assert plugin.status == "ok"
    assert {part.name: part.status for part in plugin.parts} == {"kafka": "ok"}
    assert Plugins().select_queue("kafka://h").info.name == "kafka"


@pytest.mark.parametrize(
    ("url", "servers"),
    [
        ("kafka://", ["localhost:9092"]),
        ("kafka://a", ["a:9092"]),
        ("kafka://a:1,b:2,c", ["a:1", "b:2", "c:9092"]),
    ],
)
def test_several_brokers_are_taken_from_the_url(url: str, servers: list[str]) -> None:
    assert common(url)["bootstrap_servers"] == servers


def test_credentials_mean_sasl() -> None:
    assert common("kafka://h")["security_protocol"] == "PLAINTEXT"
    found = common("kafka://user:p%40ss@h")
    assert found["security_protocol"] == "SASL_PLAINTEXT"
    assert (found["sasl_mechanism"], found["sasl_plain_username"]) == ("PLAIN", "user")
    assert found["sasl_plain_password"] == "p@ss"
    found = common("kafka://user:x@h?security_protocol=SASL_SSL&sasl_mechanism=SCRAM-SHA-256&ssl_cafile=/ca")
    assert found["security_protocol"] == "SASL_SSL"
    assert (found["sasl_mechanism"], found["ssl_cafile"]) == ("SCRAM-SHA-256", "/ca")


def test_an_unknown_option_is_refused_with_the_nearest(make: Callable[..., KafkaQueue]) -> None:
    with pytest.raises(UnknownOption, match="did you mean 'linger_ms'"):
        make("kafka://h?lingerms=5")


def test_a_channel_that_is_no_topic_is_refused(make: Callable[..., KafkaQueue]) -> None:
    with pytest.raises(InvalidOption, match="channel='a b' cannot be a Kafka topic"):
        make("kafka://h", "a b")


def test_without_a_broker_only_the_first_use_waits_and_not_long(make: Callable[..., KafkaQueue]) -> None:
    started = time.monotonic()
    queue = make("kafka://user:secret@127.0.0.1:1", publish_timeout_s=0.5)
    assert time.monotonic() - started < 0.2
    with pytest.raises(QueueUnavailable, match=r"kafka://\*\*\*@127\.0\.0\.1:1") as raised:
        queue.publish(b"x")
    assert time.monotonic() - started < 3
    assert "secret" not in str(raised.value)


def test_attempts_without_a_broker_leave_nothing_behind(
    channel: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "kafka")  # a record of a refused attempt has its socket
    factory = ClientFactory("kafka://127.0.0.1:1", channel, {"publish_timeout_s": 0.2})
    before = resources()
    for attempt in (factory.ensure_topic, factory.consumer, factory.producer):
        for _ in range(3):
            with pytest.raises(kafka.errors.KafkaTimeoutError):
                attempt()
    assert resources() == before


def resources() -> tuple[set[threading.Thread], int]:
    """Return the threads and the number of descriptors that this process has."""
    gc.collect()  # kafka-python leaves refused sockets to it
    return set(threading.enumerate()), len(os.listdir("/proc/self/fd"))


def test_the_topic_is_created_with_room_for_a_megabyte(
    make: Callable[..., KafkaQueue], kafka_broker: Broker, channel: str
) -> None:
    make(kafka_broker.url, partitions=4).publish(b"x")
    address = kafka_broker.url.removeprefix("kafka://")
    with kafka.KafkaAdminClient(bootstrap_servers=[address]) as admin:
        [topic] = admin.describe_topics([channel])
        assert len(topic["partitions"]) == 4
    listener = Listener(make(kafka_broker.url)).subscribed()
    make(kafka_broker.url).publish(bytes(TOPIC_MAX_BYTES - 2048))
    assert len(listener.wait_for(1)[0]) == TOPIC_MAX_BYTES - 2048


def test_a_burst_that_takes_longer_than_the_time_out_is_no_outage(
    make: Callable[..., KafkaQueue], kafka_broker: Broker
) -> None:
    make(kafka_broker.url).publish(b"the topic is there")
    queue = make(kafka_broker.url, publish_timeout_s=1.0)
    queue.publish(b"the connection is there")
    deadline = time.monotonic() + 2.5
    while (
        time.monotonic() < deadline
    ):  # the sender's backlog grows: it has the rest of this process's time only
        queue.publish(bytes(100))
    assert queue.flush(40) == 0


def test_a_broker_that_acknowledges_nothing_is_noticed(
    make: Callable[..., KafkaQueue], kafka_broker: Broker
) -> None:
    queue = make(kafka_broker.url, publish_timeout_s=1.0)
    queue.publish(b"before")
    assert queue.flush(10) == 0
    kafka_broker.pause()
    try:
        queue.publish(b"during")

        def refused() -> bool:
            try:
                queue.publish(b"more")
            except QueueUnavailable as error:
                return "acknowledged nothing" in str(error)
            return False

        deadline = time.monotonic() + 10
        while not refused():
            assert time.monotonic() < deadline, "messages are taken without limit"
            time.sleep(0.1)
    finally:
        kafka_broker.resume()
    assert queue.flush(40) == 0


def test_a_producer_that_waits_for_its_broker_does_not_spin(
    make: Callable[..., KafkaQueue], kafka_broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    queue = make(kafka_broker.url)
    queue.publish(b"before")
    assert queue.flush(10) == 0
    with kafka_broker.outage():
        queue.publish(b"during")
        caplog.set_level(logging.DEBUG, "kafka.producer.sender")
        assert queue.flush(2) == 1
    tries = [record for record in caplog.records if "not ready" in record.getMessage()]
    assert 0 < len(tries) < 200
    assert queue.flush(40) == 0


def test_closing_leaves_no_thread_although_messages_are_left(
    make: Callable[..., KafkaQueue], kafka_broker: Broker
) -> None:
    before = set(threading.enumerate())
    queue = make(kafka_broker.url)
    queue.publish(b"before")
    assert queue.flush(10) == 0
    with kafka_broker.outage():
        queue.publish(b"during")
        queue.close()
        wait_until(lambda: set(threading.enumerate()) <= before, "end of the producer's thread")
    assert queue.flush(0) == 0


def test_a_connection_that_a_router_has_forgotten_is_given_up(
    make: Callable[..., KafkaQueue], kafka_broker: Broker
) -> None:
    assert isinstance(kafka_broker, KafkaBroker)
    target, port = kafka_broker.proxied[0]
    proxy = Proxy(target, port)
    try:
        queue = make(f"kafka://127.0.0.1:{port}")
        listener = Listener(queue).subscribed()
        queue.publish(b"before")
        listener.wait_for(1)
        assert proxy.forget() >= 2
        queue.publish(b"during")
        assert queue.flush(20) == 0
    finally:
        proxy.close()
