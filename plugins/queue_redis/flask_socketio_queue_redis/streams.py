"""Redis Streams: a listener that lost its connection resumes where it stopped."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, ClassVar

import redis

from flask_socketio_core import queues
from flask_socketio_core.contracts import QueueCapabilities
from flask_socketio_core.errors import QueueUnavailable
from flask_socketio_core.queues import Setting

from .base import TICK_S, RedisBase
from .client import close

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

#: Seconds beyond the blocking read's own time after which a silent connection is taken for dead.
GRACE_S = 5.0
#: Most messages fetched at once.
BATCH = 500
#: The position before all messages.
NOTHING = b"0-0"
#: Part of the stream that is given up when Redis has no memory left for a message.
GIVEN_UP = 4
#: Seconds in which that is told once.
TELL_S = 60.0

_logger = logging.getLogger(__name__)


class RedisStreamsQueue(RedisBase):
    """Publish with XADD, listen with XREAD, on the key ``<channel>.stream``.

    A message is kept until ``stream_max_length`` newer ones exist, so that a server may be cut off for as long as
    that takes. It outlives a restart of Redis where Redis itself keeps its data (``appendonly yes``).

    Redis refuses XADD when it has reached its ``maxmemory`` and may evict nothing, even if XADD would make room by
    trimming. So that the stream cannot fill the memory for good, its oldest quarter is then given up for a new message.
    """

    capabilities: ClassVar[QueueCapabilities] = QueueCapabilities(
        durable=True, replay=True, max_message_bytes=64 * 1024 * 1024
    )
    label = "redis+streams"
    own_settings = (
        Setting("stream_max_length", int, 10_000, "newest messages kept in the stream, roughly", above=0),
    )

    #: Id of the last message that an earlier :meth:`listen` has yielded.
    _position: bytes | None = None
    _told_at = -TELL_S

    @property
    def key(self) -> str:
        """The stream's key."""
        return f"{self.channel}.stream"

    def _publishing(self, message: bytes) -> tuple[str | bytes, ...]:
        limit = str(self._settings["stream_max_length"])
        return "XADD", self.key, "MAXLEN", "~", limit, "*", "m", message

    def publish(self, message: bytes, *, key: str = "") -> None:
        try:
            super().publish(message, key=key)
        except QueueUnavailable as error:
            if not isinstance(error.__cause__, redis.OutOfMemoryError) or not self._make_room():
                raise
            super().publish(message, key=key)

    def _make_room(self) -> bool:
        """Give up the oldest messages of the stream; say whether there were any."""
        client: Any = self._client  # the types of its replies differ between redis-py's versions
        try:
            length = client.xlen(self.key)
            removed = (
                client.xtrim(self.key, maxlen=length - length // GIVEN_UP - 1, approximate=False)
                if length
                else 0
            )
        except (redis.RedisError, OSError):  # that there is no memory says more
            return False
        now = time.monotonic()
        if removed and now - self._told_at > TELL_S:
            self._told_at = now
            _logger.warning(
                "Redis at %s is out of memory: the oldest %d of %d messages in the stream %r were given up for a new "
                "one, so that servers which are cut off resume for a shorter time; raise maxmemory or lower "
                "stream_max_length=%d",
                queues.mask(self.url),
                removed,
                length,
                self.key,
                self._settings["stream_max_length"],
            )
        return bool(removed)

    def listen(self) -> Iterator[bytes]:
        self._check_open()
        client = self._clients.listener(stall_timeout_s=TICK_S + GRACE_S)
        try:
            with self._our_errors:
                if self._position is None:
                    self._position = self._newest(client)
                else:
                    self._check_kept(client)
            yield b""
            yield from self._messages(client)
        finally:
            close(client)

    def _messages(self, client: Any) -> Iterator[bytes]:
        # On the bare connection: redis-py's xread() makes several objects of every field.
        with self._our_errors:
            connection = client.connection_pool.get_connection()
        while not self._closed:
            with self._our_errors:
                connection.send_command(
                    "XREAD", "COUNT", BATCH, "BLOCK", int(TICK_S * 1000), "STREAMS", self.key, self._position
                )
                found = connection.read_response()
            if not found:
                yield b""
            for position, fields in found[0][1] if found else ():
                self._position = position
                if fields[0] == b"m":
                    yield fields[1]

    def _check_kept(self, client: Any) -> None:
        """Say so if messages behind our position may be gone: trimming takes our position before them.

        Whatever is in a stream that was made anew follows our position, also if the clock of Redis, which makes the
        ids, has gone back.
        """
        if client.xrange(self.key, self._position, self._position):
            return
        limit = self._settings["stream_max_length"]
        if self._position == NOTHING and client.xlen(self.key) < limit:
            return  # nothing was there to be heard, and nothing has been trimmed since
        if self.on_skip is not None:
            self.on_skip(
                "the stream has the last message heard no longer: "
                f"more than stream_max_length={limit} were sent, or Redis has lost it or had no memory for it"
            )
        if _order(self._newest(client)) < _order(self._position):
            self._position = NOTHING

    def _newest(self, client: Any) -> bytes:
        newest = client.xrevrange(self.key, count=1)
        position: bytes = newest[0][0] if newest else NOTHING
        return position


def _order(position: bytes | None) -> tuple[int, int]:
    """Return what ids are ordered by: milliseconds and a number."""
    milliseconds, _, number = (position or NOTHING).partition(b"-")
    return int(milliseconds), int(number)
