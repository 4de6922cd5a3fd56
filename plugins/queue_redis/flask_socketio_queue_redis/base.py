"""What Redis pub/sub and Redis Streams share: the publishing client, ping, close, and errors as ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import redis

from flask_socketio_core import queues
from flask_socketio_core.contracts import MessageQueue
from flask_socketio_core.errors import QueueClosed

from .client import SETTINGS, ClientFactory, close

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask_socketio_core.contracts import AsyncMode
    from flask_socketio_core.queues import Setting

#: Seconds between two ``b""`` of a quiet channel.
TICK_S = 0.5
#: What Redis answers to a wrong password and to a user without a right.
REFUSED = (redis.AuthenticationError, redis.exceptions.AuthorizationError, redis.exceptions.NoPermissionError)
#: How it answers to a command that it does not have, or that was renamed away.
UNKNOWN_COMMAND = "unknown command"


class RedisBase(MessageQueue):
    """A queue with one pool of connections for short commands; a listener has a connection of its own.

    Messages are published on a bare connection: what redis-py's client does around a command costs more than it.
    """

    own_settings: ClassVar[tuple[Setting[Any], ...]] = ()
    label: ClassVar[str]

    def __init__(self, url: str, channel: str, *, mode: AsyncMode, options: Mapping[str, Any]) -> None:
        super().__init__(url, channel, mode=mode, options=options)
        self._clients = ClientFactory(url, options, SETTINGS + self.own_settings, where=self.label)
        self._settings = self._clients.settings
        self._client = self._clients.publisher()
        self._idle: list[Any] = []  # connections on which nobody publishes at this moment
        self._our_errors = queues.ClientErrors("Redis", url, redis.RedisError, OSError, refuses=refuses)
        self._closed = False

    def publish(self, message: bytes, *, key: str = "") -> None:
        self._check_open()
        queues.check_size(message, self.max_message_bytes, "Redis")
        with self._our_errors:
            self._command(*self._publishing(message))

    def _publishing(self, message: bytes) -> tuple[str | bytes, ...]:
        """Return the command that publishes a message."""
        raise NotImplementedError

    def _command(self, *words: str | bytes) -> None:
        try:
            connection = self._idle.pop()
        except IndexError:
            self._ask(self._client.connection_pool.get_connection(), words)
            return
        try:
            self._ask(connection, words)
        except redis.ConnectionError:
            self._check_open()
            # It had died while nobody used it.
            self._ask(self._client.connection_pool.get_connection(), words)

    def _ask(self, connection: Any, words: tuple[str | bytes, ...]) -> None:
        try:
            connection.send_command(*words)
            connection.read_response()
        except BaseException:
            connection.disconnect()
            self._client.connection_pool.release(connection)
            raise
        self._idle.append(connection)
        if self._closed:  # close() may have closed it before it was used, which opened it again
            connection.disconnect()

    def ping(self) -> None:
        self._check_open()
        with self._our_errors:
            self._client.ping()
        if self._closed:  # as above
            close(self._client)

    def close(self) -> None:
        self._closed = True
        close(self._client)

    def _check_open(self) -> None:
        if self._closed:
            raise QueueClosed("the Redis message queue was closed")


def refuses(error: BaseException) -> bool:
    """Return whether Redis has answered and will answer the same again."""
    return isinstance(error, REFUSED) or str(error).startswith(UNKNOWN_COMMAND)
