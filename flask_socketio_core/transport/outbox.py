"""What waits for one client that does not read as fast as we write."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..websocket_protocol.deflate import Deflate
    from .packets import Outgoing

CHUNK_BYTES = 65_536
"""Most bytes handed to one ``send``; about what a default socket buffer takes."""


class Outbox:
    """Encoded packets in order, with a limit in bytes and packets.

    Pure and not thread-safe: the session's lock guards it. What was partly written stays in front and is never
    dropped, or the stream would break. With a policy that drops, only events are dropped: a lost ack, CONNECT or
    ping would break the protocol.
    """

    __slots__ = ("_head", "_items", "_written", "overflowed", "size_bytes")

    def __init__(self) -> None:
        self._items: deque[Outgoing] = deque()
        self._head = b""  # frames that were partly written; shared with other clients, so never cut
        self._written = 0  # bytes of it
        self.size_bytes = 0
        self.overflowed = False

    def __len__(self) -> int:
        return len(self._items)

    def __bool__(self) -> bool:
        return bool(self._items) or bool(self._head)

    def push(self, outgoing: Outgoing) -> None:
        """Append one packet."""
        self._items.append(outgoing)
        self.size_bytes += outgoing.size

    def set_head(self, frames: bytes, written: int) -> None:
        """Keep frames of which some bytes were written; the rest goes out before everything else."""
        self._head, self._written = frames, written
        self.size_bytes += len(frames) - written

    def take_all(self) -> Iterable[Outgoing]:
        """Take all packets out; the caller has begun to write none of them."""
        items, self._items = self._items, deque()
        self.size_bytes = 0
        return items

    def exceeds(self, max_bytes: int, max_packets: int) -> bool:
        """Return whether a limit is passed."""
        return self.size_bytes > max_bytes or len(self._items) > max_packets

    def drop_oldest(self, max_bytes: int, max_packets: int) -> int:
        """Drop events from the front until the limits hold; return how many."""
        kept: list[Outgoing] = []
        dropped = 0
        while self._items and self.exceeds(max_bytes, max_packets - len(kept)):
            item = self._items.popleft()
            if item.is_event:
                self.size_bytes -= item.size
                dropped += 1
            else:
                kept.append(item)
        self._items.extendleft(reversed(kept))
        return dropped

    def drop_newest(self) -> None:
        """Take out the packet that came last, if it is an event."""
        if self._items and self._items[-1].is_event:
            self.size_bytes -= self._items.pop().size

    def next_frames(self, deflate: Deflate | None = None) -> bytes:
        """Return the bytes to write next on a WebSocket, ``b""`` if there are none. Call :meth:`wrote` afterwards.

        :param deflate: makes the frames if they are to be compressed.
        """
        if not self._head and self._items:
            frames = []
            total = 0
            while self._items and total < CHUNK_BYTES:
                item = self._items.popleft()
                self.size_bytes -= item.size
                frames.append(item.frames if deflate is None else deflate.frames(item))
                total += len(frames[-1])
            self._head = b"".join(frames)
            self.size_bytes += len(self._head)
        return self._head[self._written : self._written + CHUNK_BYTES]

    def wrote(self, count: int) -> None:
        """Note that so many bytes of :meth:`next_frames` were written."""
        self.size_bytes -= count
        self._written += count
        if self._written == len(self._head):
            self._head, self._written = b"", 0

    def take_packets(self, most: int | None = None) -> list[str | bytes]:
        """Take packets out as Engine.IO packets, for a polling response or a message-based transport.

        :param most: how many at most, except that an event is not taken apart; ``None`` for all.
        """
        packets: list[str | bytes] = []
        items = self._items
        while items and (most is None or not packets or len(packets) + len(items[0].packets) <= most):
            item = items.popleft()
            self.size_bytes -= item.size
            packets += item.packets
        return packets
