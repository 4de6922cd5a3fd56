"""Redis pub/sub and Redis Streams pass the suite that every queue passes, and Redis as a store that of stores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from flask_socketio_core.testing.conformance.queues import QueueConformance
from flask_socketio_core.testing.conformance.stores import StoreConformance
from flask_socketio_queue_redis.pubsub import RedisQueue
from flask_socketio_queue_redis.store import RedisStore
from flask_socketio_queue_redis.streams import RedisStreamsQueue

if TYPE_CHECKING:
    from support.brokers import Broker

pytestmark = pytest.mark.timeout(60)


class OnRedis:
    @pytest.fixture
    def url(self, redis_url: str) -> str:
        return redis_url

    @pytest.fixture
    def broker(self, redis_broker: Broker) -> Broker:
        return redis_broker


class TestRedisPubSub(OnRedis, QueueConformance):
    queue_class = RedisQueue


class TestRedisStreams(OnRedis, QueueConformance):
    queue_class = RedisStreamsQueue

    @pytest.fixture
    def url(self, redis_url: str) -> str:
        return redis_url.replace("redis://", "redis+streams://")


class TestRedisOverAUnixSocket(TestRedisPubSub):
    @pytest.fixture
    def url(self, redis_broker: Broker) -> str:
        return f"unix://{redis_broker.folder}/redis.sock?db=1"


class TestRedisStore(OnRedis, StoreConformance):
    store_class = RedisStore


class TestRedisStoreOverAUnixSocket(TestRedisStore):
    @pytest.fixture
    def url(self, redis_broker: Broker) -> str:
        return f"unix+streams://{redis_broker.folder}/redis.sock?db=1"
