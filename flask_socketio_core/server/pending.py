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
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..contracts import Lock
    from ..transport.session import Session

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


class PendingBytes:
    """The count of a process and of each of its sessions. Thread-safe; only larger messages come here.

    :param lock: guards the counts, for a few instructions.
    :param most: of the process, bytes.
    :param packed: whether binary messages are msgpack; otherwise they are attachments.
    """

    def __init__(self, lock: Lock, most: int, *, packed: bool) -> None:
        self._lock = lock
        self._most = most
        self._packed = packed
        self._waiting: deque[tuple[Session, int]] = deque()  # and what the first unread message costs
        self._completing: Session | None = None
        self.total = 0

    def cost(self, message: str | bytes) -> int:
        """Estimate what a message takes when it is decoded, bytes."""
        if isinstance(message, str):
            return text_cost(message)
        return packed_cost(message) if self._packed else len(message)

    def admit(self, session: Session, message: str | bytes) -> bool:
        """Count a message before it is decoded; ``False`` if it has to wait, see :meth:`next_ready`.

        Whatever comes behind one that waits does so as well.
        """
        cost = self.cost(message) if len(message) > SMALL_MESSAGE else 0
        with self._lock:
            if session.closed:
                return True  # what follows does nothing
            if session.unread:
                session.unread.append(message)
                return False
            # No other goes before those that wait, except for what completes a packet.
            if cost and not ((session.arriving_bytes or not self._waiting) and self._fits(session, cost)):
                session.unread = deque((message,))
                self._waiting.append((session, cost))
                return False
            self._count(session, cost)
            return True

    def _fits(self, session: Session, cost: int) -> bool:
        # What would never fit may come when it is alone.
        if self.total + cost <= self._most or self.total == session.arriving_bytes:
            return True
        if not session.arriving_bytes:
            return False
        # Packets that lack attachments must not wait for each other: one of them at a time is completed regardless.
        if self._completing is None:
            self._completing = session
        return self._completing is session

    def _count(self, session: Session, cost: int) -> None:
        self.total += cost
        session.pending_bytes += cost
        session.arriving_bytes += cost

    def take(self, session: Session) -> int:
        """Return what the packet that has just arrived is counted as, bytes; the caller gives it back when done."""
        with self._lock:
            return self._end_arrival(session)

    def _end_arrival(self, session: Session) -> int:
        if self._completing is session:
            self._completing = None
        session.arriving_since_s = math.inf
        cost, session.arriving_bytes = session.arriving_bytes, 0
        return cost

    def give_back(self, session: Session, cost: int) -> Session | None:
        """Count no longer what is finished; return a session whose unread messages fit now, if there is one."""
        with self._lock:
            self.total -= cost
            session.pending_bytes -= cost
            return self._next_waiting()

    def next_ready(self) -> Session | None:
        """Return a session whose unread messages fit, as :meth:`give_back` does."""
        with self._lock:
            return self._next_waiting()

    def _next_waiting(self) -> Session | None:
        waiting = self._waiting
        while waiting and waiting[0][0].closed:
            waiting.popleft()
        for first, entry in enumerate(waiting):
            session, cost = entry
            if (first == 0 or session.arriving_bytes) and not session.closed and self._fits(session, cost):
                waiting.remove(entry)
                return session
        return None

    def next_unread(self, session: Session) -> str | bytes | None:
        """Count the first unread message and return it; ``None`` if it has to wait on. :meth:`was_read` follows."""
        with self._lock:
            if not session.unread or session.closed:
                return None
            message = session.unread[0]
            cost = self.cost(message) if len(message) > SMALL_MESSAGE else 0
            if cost and not self._fits(session, cost):
                self._waiting.append((session, cost))
                return None
            self._count(session, cost)
            return message

    def was_read(self, session: Session) -> None:
        """Forget the first unread message."""
        with self._lock:
            if session.unread:
                session.unread.popleft()

    def forget(self, session: Session) -> Session | None:
        """Forget what a closed session has not had handled; return a session as :meth:`give_back` does."""
        with self._lock:
            cost = self._end_arrival(session)
            session.unread = None
            self.total -= cost
            session.pending_bytes -= cost
            return self._next_waiting()
