"""Times in which this server did not hear the others, and what it missed in them. Pure: no clock and no queue.

Gaps are noted by the one task that listens; another one ends the waiting for what is overdue.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..contracts import Lock


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A time in which this server heard nothing from the message queue; it is over.

    :param duration_s: its length, seconds: from the last message heard to the new subscription. 0 if messages are
        missing although this server was not cut off.
    :param since: when it began, seconds since the epoch. Nothing that was sent before is missing.
    :param missed: messages of other servers that were sent meanwhile and never arrive here; ``None`` if a server that
        was there before has not said what it sent, or none was there. What processes that only send and
        python-socketio's have sent is not in it.
    :param resumed: the queue has kept everything that was sent meanwhile and delivers it now, so nothing is missing.
    """

    duration_s: float
    since: float
    missed: int | None
    resumed: bool


@dataclass(slots=True)
class _Open:
    duration_s: float
    since: float
    lost_before: int
    until: float
    awaited: set[str]


class Gaps:
    """Find out what is missing after a gap: the signs of life of those that were there before it tell.

    :param lock: held for a few instructions.
    """

    def __init__(self, lock: Lock) -> None:
        self._lock = lock
        self._open: _Open | None = None
        self.count = 0
        self.total_s = 0.0

    def begin(
        self, duration_s: float, since: float, *, nodes: Iterable[str], lost: int, until: float
    ) -> Gap | None:
        """Note that a gap is over which the queue does not make up for; return it if nobody can say what is missing.

        :param nodes: the servers that were there before it.
        :param lost: messages counted as lost so far.
        :param until: when to wait for these servers no longer, a reading of the clock.
        """
        with self._lock:
            self._note(duration_s)
            before = self._open
            if before is not None:  # cut off again before it was known what the first gap has cost
                duration_s, since, lost = since + duration_s - before.since, before.since, before.lost_before
            self._open = _Open(duration_s, since, lost, until, set(nodes))
            return None if self._open.awaited else self._close(missed=None)

    def resumed(self, duration_s: float, since: float) -> Gap:
        """Return a gap after which the queue delivers everything."""
        with self._lock:
            self._note(duration_s)
        return Gap(duration_s=duration_s, since=since, missed=0, resumed=True)

    def lost(self, since: float, missed: int) -> Gap | None:
        """Return messages that got lost as a gap of no length, unless they belong to one that is not settled yet."""
        with self._lock:
            if self._open is not None:
                return None
        return Gap(duration_s=0.0, since=since, missed=missed, resumed=False)

    def settle(self, node: str, lost: int) -> Gap | None:
        """Note that nothing of a server's is in doubt; return the gap if this is the last one that it had waited for.

        :param lost: messages counted as lost so far.
        """
        with self._lock:
            if self._open is None or node not in self._open.awaited:
                return None
            self._open.awaited.discard(node)
            # Some that were counted before the gap may have come after all.
            missed = max(lost - self._open.lost_before, 0)
            return None if self._open.awaited else self._close(missed=missed)

    def overdue(self, now_s: float) -> Gap | None:
        """Return the gap if its time is over before all servers have said what they sent."""
        with self._lock:
            late = self._open is not None and now_s > self._open.until
            return self._close(missed=None) if late else None

    def _note(self, duration_s: float) -> None:
        self.count += 1
        self.total_s += duration_s

    def _close(self, *, missed: int | None) -> Gap | None:
        gap, self._open = self._open, None
        if gap is None:
            return None
        return Gap(duration_s=gap.duration_s, since=gap.since, missed=missed, resumed=False)
