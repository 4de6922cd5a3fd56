"""Redis pub/sub: what python-socketio's managers use; a message reaches those that listen at that moment."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar

from flask_socketio_core.contracts import QueueCapabilities
from flask_socketio_core.errors import QueueUnavailable

from .base import TICK_S, RedisBase
from .client import close

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

#: Seconds of silence after which the listener asks the server for a sign of life, and how long it waits for one.
SILENCE_S = 10.0
ANSWER_S = 5.0


class RedisQueue(RedisBase):
    """Publish with PUBLISH, listen with SUBSCRIBE, on the channel's name itself.

    Largest message 16 MiB: Redis cuts off every subscriber with more than 32 MiB waiting for it
    (``client-output-buffer-limit pubsub 32mb 8mb 60``), so one message of that size deafens all servers at once.
    """

    capabilities: ClassVar[QueueCapabilities] = QueueCapabilities(max_message_bytes=16 * 1024 * 1024)
    label = "redis"

    def _publishing(self, message: bytes) -> tuple[str | bytes, ...]:
        return "PUBLISH", self.channel, message

    def listen(self) -> Iterator[bytes]:
        self._check_open()
        client = self._clients.listener(stall_timeout_s=ANSWER_S)
        try:
            with self._our_errors:
                connection = client.connection_pool.get_connection()
                connection.send_command("SUBSCRIBE", self.channel)
                connection.read_response()
            yield b""
            yield from self._messages(connection)
        finally:
            close(client)

    def _messages(self, connection: Any) -> Iterator[bytes]:
        # redis-py's own PubSub reconnects by itself, and messages get lost where nobody can count them.
        heard = time.monotonic()
        asked = False
        while not self._closed:
            with self._our_errors:
                reply = connection.read_response() if connection.can_read(timeout=TICK_S) else None
            now = time.monotonic()
            if reply is not None:
                heard, asked = now, False
                if reply[0] == b"message":
                    yield reply[2]
                continue
            if asked and now - heard > SILENCE_S + ANSWER_S:
                raise QueueUnavailable(f"Redis did not answer a PING within {ANSWER_S:g} s")
            if not asked and now - heard > SILENCE_S:
                with self._our_errors:
                    connection.send_command("PING")
                asked = True
            yield b""
