"""Real brokers for the tests, on free loopback ports, each in a temporary directory of its own.

As pytest fixtures (``pytest_plugins = ["support.brokers"]`` in the root ``conftest.py``)::

    def test_survives_an_outage(redis_broker: Broker) -> None:
        with redis_broker.outage():
            ...

By hand: ``make brokers KINDS=redis``, or ``python -m support.brokers redis`` with ``tests`` on the path.
"""

from __future__ import annotations

from .broker import Broker, BrokerFailed, BrokerMissing
from .fixtures import (
    kafka_broker,
    kafka_url,
    rabbitmq_broker,
    rabbitmq_url,
    redis_broker,
    redis_url,
    running,
)
from .kafka_server import KafkaBroker
from .rabbitmq_server import RabbitMQBroker
from .redis_server import RedisBroker, SentinelBroker

#: Every kind of broker that the tests know, by the name used on the command line.
KINDS: dict[str, type[Broker]] = {
    "redis": RedisBroker,
    "rabbitmq": RabbitMQBroker,
    "kafka": KafkaBroker,
}

__all__ = [
    "KINDS",
    "Broker",
    "BrokerFailed",
    "BrokerMissing",
    "KafkaBroker",
    "RabbitMQBroker",
    "RedisBroker",
    "SentinelBroker",
    "kafka_broker",
    "kafka_url",
    "rabbitmq_broker",
    "rabbitmq_url",
    "redis_broker",
    "redis_url",
    "running",
]
