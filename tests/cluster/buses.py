"""The queues that the cluster is tested with; those whose plugin or broker is missing are skipped."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

from support.nodes import Bus

if TYPE_CHECKING:
    from support.brokers import Broker

#: name -> module of the queue's class, its name, the broker's fixture, what to write before the broker's URL.
KINDS: dict[str, tuple[str, str, str | None, str]] = {
    "memory": ("flask_socketio_core.cluster.memory", "MemoryQueue", None, ""),
    "redis": ("flask_socketio_queue_redis.pubsub", "RedisQueue", "redis_broker", ""),
    "streams": ("flask_socketio_queue_redis.streams", "RedisStreamsQueue", "redis_broker", "redis+streams"),
    "rabbitmq": ("flask_socketio_queue_kombu.rabbitmq", "RabbitMQQueue", "rabbitmq_broker", ""),
    "kombu": ("flask_socketio_queue_kombu.queue", "KombuQueue", "rabbitmq_broker", "kombu+amqp"),
    "host": ("flask_socketio_queue_host.queue", "HostQueue", None, ""),
    "kafka": ("flask_socketio_queue_kafka.queue", "KafkaQueue", "kafka_broker", ""),
}


def broker_of(request: pytest.FixtureRequest, kind: str) -> Broker | None:
    """Return the running broker of a kind of queue."""
    name = KINDS[kind][2]
    broker: Broker | None = None if name is None else request.getfixturevalue(name)
    return broker


def make_bus(request: pytest.FixtureRequest, kind: str, **options: Any) -> Bus:
    """Return a queue on a channel that nobody has used before."""
    module, name, _, scheme = KINDS[kind]
    queue_class = getattr(pytest.importorskip(module, exc_type=ImportError), name)
    broker = broker_of(request, kind)
    url = f"{kind}://" if broker is None else broker.url
    if scheme:
        url = f"{scheme}://{url.partition('://')[2]}"
    return Bus(queue_class, url, f"test-{uuid.uuid4().hex[:12]}", options, kind)
