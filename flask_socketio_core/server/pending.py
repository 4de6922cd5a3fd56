"""How much memory is taken by what clients sent and no handler has finished with. No I/O.

A message of up to :data:`SMALL_MESSAGE` is counted as an event, by ``max_pending_events`` alone: most messages are
that small, and pay nothing here. A larger one is counted by the memory that it may take once it is decoded, which is
up to 36 times its text, so an estimate is made before that.

============================  =========================================================================
of one connection, too much   nothing more is read from it, until half of it is finished
of the process, too much      a larger message waits undecoded until there is room, its connection is held
============================  =========================================================================

What is on its way, a packet whose attachments have not all come, is counted, too.
"""

from __future__ import annotations

import math
import sys
from collections import deque
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ..contracts import Lock

SMALL_MESSAGE = 1024
"""Larger messages are counted by their bytes, characters of text or bytes."""

SEPARATOR_BYTES = 72
"""What a comma or a colon may stand for: a reference and a short text. Measured on CPython 3.11, as the next two."""

ARRAY_BYTES = 72
OBJECT_BYTES = 112

PACKED_BYTES = 208
"""What the first byte of a map may stand for, on CPython 3.10, the largest; arrays take less than half of it."""

PACKED_NUMBER_BYTES = 32
PACKED_REFERENCE_BYTES = 8
_PACKED_CONTAINERS = bytes((*range(0x80, 0xA0), 0xDC, 0xDD, 0xDE, 0xDF))
_PACKED_NUMBERS = bytes(range(0xE0, 0x100))


def text_cost(text: str) -> int:
    """Estimate what JSON takes when it is decoded, bytes: never much less, at most about 3 times too much."""
    return (
        sys.getsizeof(text)
        + SEPARATOR_BYTES * (text.count(",") + text.count(":"))
        + ARRAY_BYTES * text.count("[")
        + OBJECT_BYTES * text.count("{")
    )


def packed_cost(message: bytes) -> int:
    """Estimate what msgpack takes when it is decoded, bytes; texts and binary values in it count too much."""
    size = len(message)
    containers = size - len(message.translate(None, _PACKED_CONTAINERS))
    numbers = size - len(message.translate(None, _PACKED_NUMBERS))
    return size * PACKED_REFERENCE_BYTES + containers * PACKED_BYTES + numbers * PACKED_NUMBER_BYTES


class Sender(Protocol):
    """The larger messages of one connection, which keeps these for :class:`PendingBytes`."""

    pending_bytes: int
    """Of packets that are not finished with, those that are arriving included."""

    arriving_bytes: int
    """Of the packet that is being taken, or whose attachments are on their way."""

    arriving_since_s: float
    """Clock reading when the last one of them came."""

    unread: deque[str | bytes] | None
    """What waits, not decoded, for room in the process."""

    @property
    def closed(self) -> bool:
        """Whether the connection has ended."""

    def take_unread(self) -> None:
        """Take what waits, as far as there is room now; in a worker."""


class PendingBytes:
    """The count of a process and of each of its connections. Thread-safe; only larger messages come here.

    :param lock: guards the counts, for a few instructions.
    :param most: of the process, bytes.
    :param packed: whether binary messages are msgpack; otherwise they are attachments.
    """

    def __init__(self, lock: Lock, most: int, *, packed: bool) -> None:
        self._lock = lock
        self._most = most
        self._packed = packed
        self._waiting: deque[tuple[Sender, int]] = deque()  # and what the first unread message costs
        self._completing: Sender | None = None
        self.total = 0

    def cost(self, message: str | bytes) -> int:
        """Estimate what a message takes when it is decoded, bytes."""
        if isinstance(message, str):
            return text_cost(message)
        return packed_cost(message) if self._packed else len(message)

    def admit(self, sender: Sender, message: str | bytes) -> bool:
        """Count a message before it is decoded; ``False`` if it has to wait, see :meth:`next_ready`.

        Whatever comes behind one that waits does so as well.
        """
        cost = self.cost(message) if len(message) > SMALL_MESSAGE else 0
        with self._lock:
            if sender.closed:
                return True  # what follows does nothing
            if sender.unread:
                sender.unread.append(message)
                return False
            # No other goes before those that wait, except for what completes a packet.
            if cost and not ((sender.arriving_bytes or not self._waiting) and self._fits(sender, cost)):
                sender.unread = deque((message,))
                self._waiting.append((sender, cost))
                return False
            self._count(sender, cost)
            return True

    def _fits(self, sender: Sender, cost: int) -> bool:
        # What would never fit may come when it is alone.
        if self.total + cost <= self._most or self.total == sender.arriving_bytes:
            return True
        if not sender.arriving_bytes:
            return False
        # Packets that lack attachments must not wait for each other: one of them at a time is completed regardless.
        if self._completing is None:
            self._completing = sender
        return self._completing is sender

    def _count(self, sender: Sender, cost: int) -> None:
        self.total += cost
        sender.pending_bytes += cost
        sender.arriving_bytes += cost

    def take(self, sender: Sender) -> int:
        """Return what the packet that has just arrived is counted as, bytes; the caller gives it back when done."""
        with self._lock:
            return self._end_arrival(sender)

    def _end_arrival(self, sender: Sender) -> int:
        if self._completing is sender:
            self._completing = None
        sender.arriving_since_s = math.inf
        cost, sender.arriving_bytes = sender.arriving_bytes, 0
        return cost

    def give_back(self, sender: Sender, cost: int) -> Sender | None:
        """Count no longer what is finished; return a connection whose unread messages fit now, if there is one."""
        with self._lock:
            self.total -= cost
            sender.pending_bytes -= cost
            return self._next_waiting()

    def next_ready(self) -> Sender | None:
        """Return a connection whose unread messages fit, as :meth:`give_back` does."""
        with self._lock:
            return self._next_waiting()

    def _next_waiting(self) -> Sender | None:
        waiting = self._waiting
        while waiting and waiting[0][0].closed:
            waiting.popleft()
        for first, entry in enumerate(waiting):
            sender, cost = entry
            if (first == 0 or sender.arriving_bytes) and not sender.closed and self._fits(sender, cost):
                waiting.remove(entry)
                return sender
        return None

    def next_unread(self, sender: Sender) -> str | bytes | None:
        """Count the first unread message and return it; ``None`` if it has to wait on. :meth:`was_read` follows."""
        with self._lock:
            if not sender.unread or sender.closed:
                return None
            message = sender.unread[0]
            cost = self.cost(message) if len(message) > SMALL_MESSAGE else 0
            if cost and not self._fits(sender, cost):
                self._waiting.append((sender, cost))
                return None
            self._count(sender, cost)
            return message

    def was_read(self, sender: Sender) -> None:
        """Forget the first unread message."""
        with self._lock:
            if sender.unread:
                sender.unread.popleft()

    def forget(self, sender: Sender) -> Sender | None:
        """Forget what a closed connection has not had handled; return a connection as :meth:`give_back` does."""
        with self._lock:
            cost = self._end_arrival(sender)
            sender.unread = None
            self.total -= cost
            sender.pending_bytes -= cost
            return self._next_waiting()
