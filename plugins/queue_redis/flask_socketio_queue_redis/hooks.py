"""What this plugin registers; the client library is imported by ``load`` only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_socketio_core.contracts import QueueInfo, StoreInfo
from flask_socketio_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from flask_socketio_core.contracts import MessageQueue, Store

_REQUIRES = ("redis>=5.3,!=8.0.0",)
_INSTALL = "pip install flask-socketio-queue-redis"
_PLAIN = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")
_VALKEY = ("valkey", "valkeys", "valkey+sentinel", "valkeys+sentinel")
_STREAMS = ("redis+streams", "rediss+streams", "unix+streams", "valkey+streams", "valkeys+streams")


def _load_pubsub() -> type[MessageQueue]:
    from .pubsub import RedisQueue

    return RedisQueue


def _load_streams() -> type[MessageQueue]:
    from .streams import RedisStreamsQueue

    return RedisStreamsQueue


def _load_store() -> type[Store]:
    from .store import RedisStore

    return RedisStore


@hookimpl
def socketio_message_queues() -> list[QueueInfo]:
    """Describe Redis pub/sub and Redis Streams."""
    pubsub = QueueInfo(
        name="redis",
        schemes=_PLAIN + _VALKEY,
        load=_load_pubsub,
        requires=_REQUIRES,
        install=_INSTALL,
        summary="pub/sub",
    )
    streams = QueueInfo(
        name="redis-streams",
        schemes=_STREAMS,
        load=_load_streams,
        requires=_REQUIRES,
        install=_INSTALL,
        summary="durable, resumes",
    )
    return [pubsub, streams]


@hookimpl
def socketio_stores() -> StoreInfo:
    """Describe the store, at the same URLs."""
    return StoreInfo(
        name="redis",
        schemes=_PLAIN + _VALKEY + _STREAMS,
        load=_load_store,
        requires=_REQUIRES,
        install=_INSTALL,
        summary="for all servers, durable",
    )
