"""What Redis pub/sub and Redis Streams share: the publishing client, ping, close, and errors as ours."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import redis

from flask_socketio_core.cluster import urls
from flask_socketio_core.contracts import MessageQueue
from flask_socketio_core.errors import MessageTooLarge, QueueClosed, QueueUnavailable

from .client import SETTINGS, ClientFactory

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flask_socketio_core.cluster.settings import Setting
    from flask_socketio_core.contracts import AsyncMode

#: Seconds between two ``b""`` of a quiet channel.
TICK_S = 0.5


class RedisBase(MessageQueue):
    """A queue with one pooled client for short commands; a listener has a connection of its own."""

    own_settings: ClassVar[tuple[Setting, ...]] = ()
    label: ClassVar[str]

    def __init__(self, url: str, channel: str, *, mode: AsyncMode, options: Mapping[str, Any]) -> None:
        super().__init__(url, channel, mode=mode, options=options)
        self._clients = ClientFactory(url, options, SETTINGS + self.own_settings, where=self.label)
        self._settings = self._clients.settings
        self._client = self._clients.publisher()
        self._closed = False

    def publish(self, message: bytes, *, key: str = "") -> None:
        self._check_open()
        limit = self.capabilities.max_message_bytes
        if limit is not None and len(message) > limit:
            raise MessageTooLarge(f"message of {len(message)} bytes exceeds the Redis queue's {limit} bytes")
        with self._our_errors():
            self._send(message)

    def _send(self, message: bytes) -> None:
        raise NotImplementedError

    def ping(self) -> None:
        self._check_open()
        with self._our_errors():
            self._client.ping()

    def close(self) -> None:
        self._closed = True
        self._client.close()
        self._client.connection_pool.disconnect()

    def _check_open(self) -> None:
        if self._closed:
            raise QueueClosed("the Redis message queue was closed")

    @contextmanager
    def _our_errors(self) -> Iterator[None]:
        try:
            yield
        except (redis.RedisError, OSError) as error:
            raise QueueUnavailable(
                f"Redis at {urls.mask(self.url)} is unavailable: {urls.describe(error, self.url)}"
            ) from error
