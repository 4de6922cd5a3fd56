"""Redis pub/sub and Redis Streams pass the suite that every queue passes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from flask_socketio_core.testing.conformance.queues import QueueConformance
from flask_socketio_queue_redis.pubsub import RedisQueue
from flask_socketio_queue_redis.streams import RedisStreamsQueue

if TYPE_CHECKING:
    from support.brokers import Broker

pytestmark = pytest.mark.timeout(60)


class TestRedisPubSub(QueueConformance):
    queue_class = RedisQueue

    @pytest.fixture
    def url(self, redis_url: str) -> str:
        return redis_url

    @pytest.fixture
    def broker(self, redis_broker: Broker) -> Broker:
        return redis_broker


class TestRedisStreams(QueueConformance):
    queue_class = RedisStreamsQueue

    @pytest.fixture
    def url(self, redis_url: str) -> str:
        return redis_url.replace("redis://", "redis+streams://")

    @pytest.fixture
    def broker(self, redis_broker: Broker) -> Broker:
        return redis_broker


class TestRedisOverAUnixSocket(TestRedisPubSub):
    @pytest.fixture
    def url(self, redis_broker: Broker) -> str:
        return f"unix://{redis_broker.folder}/redis.sock?db=1"
