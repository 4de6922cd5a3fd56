"""The pytest fixtures: one broker of each kind per test run, started when a test first asks for it."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import pytest

from .broker import Broker, BrokerMissing
from .kafka_server import KafkaBroker
from .rabbitmq_server import RabbitMQBroker
from .redis_server import RedisBroker

if TYPE_CHECKING:
    from collections.abc import Iterator


BrokerT = TypeVar("BrokerT", bound=Broker)


@contextmanager
def running(broker: BrokerT) -> Iterator[BrokerT]:
    """Run one broker; where it is not installed the test skips, or fails when ``REQUIRE_BROKERS=1``."""
    try:
        broker.start()
        yield broker
    except BrokerMissing as missing:
        if os.environ.get("REQUIRE_BROKERS") == "1":
            pytest.fail(f"REQUIRE_BROKERS=1, and {missing}", pytrace=False)
        pytest.skip(str(missing))
    finally:
        broker.close()


@pytest.fixture(scope="session")
def redis_broker() -> Iterator[Broker]:
    """A Redis server that the test may stop and start; it must be running when the test ends."""
    with running(RedisBroker()) as broker:
        yield broker


@pytest.fixture(scope="session")
def rabbitmq_broker() -> Iterator[Broker]:
    """A RabbitMQ node that the test may stop and start; it must be running when the test ends."""
    with running(RabbitMQBroker()) as broker:
        yield broker


@pytest.fixture(scope="session")
def kafka_broker() -> Iterator[Broker]:
    """A Kafka node that the test may stop and start; it must be running when the test ends."""
    with running(KafkaBroker()) as broker:
        yield broker


@pytest.fixture(scope="session")
def redis_url(redis_broker: Broker) -> str:
    """The URL of a running Redis server."""
    return redis_broker.url


@pytest.fixture(scope="session")
def rabbitmq_url(rabbitmq_broker: Broker) -> str:
    """The URL of a running RabbitMQ node."""
    return rabbitmq_broker.url


@pytest.fixture(scope="session")
def kafka_url(kafka_broker: Broker) -> str:
    """The URL of a running Kafka node."""
    return kafka_broker.url
