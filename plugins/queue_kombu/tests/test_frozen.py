"""A broker that is connected and answers no more is an error in time, whatever is being done at that moment."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from flask_socketio_core.contracts import MessageQueue
from flask_socketio_core.errors import QueueUnavailable
from flask_socketio_core.testing.conformance.queues import Listener
from flask_socketio_core.testing.threads import ThreadMode
from flask_socketio_queue_kombu.queue import ASK_EVERY, KombuQueue
from flask_socketio_queue_kombu.rabbitmq import RabbitMQQueue

if TYPE_CHECKING:
    from support.brokers import Broker

# Kombu 5.4 calls redis-py in a way that redis-py 5.3 deprecates.
pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.filterwarnings("ignore:Call to 'get_connection':DeprecationWarning"),
]

#: Seconds in which an error is expected: two attempts of publish_timeout_s or connect_timeout each, and some more.
IN_TIME_S = 5.0

AnyQueue = KombuQueue | RabbitMQQueue

DEEDS: dict[str, Callable[[MessageQueue], object]] = {
    "publish": lambda queue: queue.publish(b"x"),
    "ping": lambda queue: queue.ping(),
    "listen": lambda queue: next(queue.listen()),
}


@pytest.fixture(params=["rabbitmq", "kombu over amqp", "kombu over redis"])
def frozen(request: pytest.FixtureRequest) -> Iterator[tuple[type[AnyQueue], Broker, str]]:
    """Return a class of queues, and the broker that it uses, which works on at the end of the test."""
    name = "redis_broker" if request.param.endswith("redis") else "rabbitmq_broker"
    broker: Broker = request.getfixturevalue(name)
    url = broker.url if request.param == "rabbitmq" else f"kombu+{broker.url}"
    yield (RabbitMQQueue if request.param == "rabbitmq" else KombuQueue), broker, url
    broker.resume()


def fails_in_time(deed: Callable[[], object]) -> None:
    started = time.monotonic()
    with pytest.raises(QueueUnavailable):
        deed()
    assert time.monotonic() - started < IN_TIME_S


@pytest.mark.parametrize("deed", DEEDS)
def test_a_broker_that_freezes_once_it_is_connected(
    frozen: tuple[type[AnyQueue], Broker, str], deed: str
) -> None:
    queue_class, broker, url = frozen
    if deed == "ping" and "redis" in url:
        pytest.skip("Redis has answered when Kombu is connected to it, and there is nothing to declare")

    class Unlucky(queue_class):  # type: ignore[misc,valid-type]  # a class that is known at run time only
        def _declare_exchanges(self, connection: Any) -> None:
            broker.pause()
            super()._declare_exchanges(connection)

    queue = Unlucky(
        url, f"test-{uuid.uuid4().hex[:12]}", mode=ThreadMode(), options={"publish_timeout_s": 1.0}
    )
    fails_in_time(lambda: DEEDS[deed](queue))
    queue.close()


@pytest.mark.parametrize("deed", DEEDS)
def test_a_broker_that_is_frozen_already(frozen: tuple[type[AnyQueue], Broker, str], deed: str) -> None:
    queue_class, broker, url = frozen
    queue = queue_class(url, "test", mode=ThreadMode(), options={"connect_timeout": 1.0})
    broker.pause()
    fails_in_time(lambda: DEEDS[deed](queue))
    queue.close()


def test_a_broker_that_freezes_under_a_publisher(redis_broker: Broker) -> None:
    queue = KombuQueue(
        f"kombu+{redis_broker.url}", "test", mode=ThreadMode(), options={"publish_timeout_s": 1.0}
    )
    queue.publish(b"x")
    redis_broker.pause()
    try:
        fails_in_time(lambda: queue.publish(b"y"))
    finally:
        redis_broker.resume()
        queue.close()


def test_what_a_frozen_broker_has_not_read_is_not_with_it(rabbitmq_broker: Broker) -> None:
    channel = f"test-{uuid.uuid4().hex[:12]}"
    queue = KombuQueue(f"kombu+{rabbitmq_broker.url}", channel, mode=ThreadMode(), options={})
    listener = Listener(
        KombuQueue(f"kombu+{rabbitmq_broker.url}", channel, mode=ThreadMode(), options={})
    ).subscribed()
    queue.publish(b"read")
    assert queue.flush(10) == 0
    rabbitmq_broker.pause()
    try:
        for _ in range(7):
            queue.publish(b"not read")
        started = time.monotonic()
        assert queue.flush(0.5) == 7
        assert 0.5 <= time.monotonic() - started < 2
        assert queue.flush(0.5) == 7  # the connection is gone, and whether they arrive nobody will ever say
    finally:
        rabbitmq_broker.resume()
    queue.publish(b"after")
    assert queue.flush(10) == 0
    listener.wait_until(lambda: b"after" in listener.messages, 10, "message on a new connection")
    queue.close()
    listener.queue.close()


def test_a_broker_that_freezes_under_a_publisher_over_amqp(rabbitmq_broker: Broker) -> None:
    """It is noticed by and by, although the operating system takes what is sent for a long time."""
    queue = KombuQueue(
        f"kombu+{rabbitmq_broker.url}", "test", mode=ThreadMode(), options={"publish_timeout_s": 1.0}
    )

    def publish_many() -> None:
        for _ in range(ASK_EVERY):
            queue.publish(b"y")

    queue.publish(b"x")
    rabbitmq_broker.pause()
    try:
        fails_in_time(publish_many)
    finally:
        rabbitmq_broker.resume()
        queue.close()


def test_a_channel_may_be_quiet_for_longer_than_a_publish_may_take(redis_broker: Broker) -> None:
    queue = KombuQueue(
        f"kombu+{redis_broker.url}", "test", mode=ThreadMode(), options={"publish_timeout_s": 0.2}
    )
    listener = Listener(queue).subscribed()
    listener.wait_until(lambda: listener.ticks > 3, 10, "quiet time")
    queue.publish(b"late")
    assert listener.wait_for(1) == [b"late"]
    assert listener.errors == []
    queue.close()
