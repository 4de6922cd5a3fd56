"""Whether a listener looks for messages at once or lets them gather for a moment. Pure: counts and a clock's readings.

To wake up for a message takes longer than to read it. Where one comes after the other, a process that waits for a
moment wakes up for several; where each is the answer to the one before, it would only hold them up. So it is tried,
and goes on as long as it pays.
"""

from __future__ import annotations

#: Seconds for which messages gather: the most by which one is heard later.
PAUSE_S = 0.001
#: Messages after which their rate is looked at, and the rate, in a second, from which pauses are tried.
COUNTED = 20
BUSY_RATE = 2_000
#: Pauses after which it is looked at what they brought, and the messages that each has to bring.
TRIED = 8
WORTHWHILE = 2
#: Seconds until pauses are tried again when they did not pay: with eight of them, one per cent of the time.
AGAIN_S = 1.0


class Pace:
    """Decide by what has come so far."""

    __slots__ = ("_count", "_not_before", "_reads", "_since", "pauses")

    def __init__(self) -> None:
        self.pauses = False
        """Whether to let messages gather before the next look."""
        self._count = self._reads = 0
        self._since = self._not_before = 0.0

    def note(self, messages: int, now_s: float) -> None:
        """Take note of what a look has found.

        :param now_s: a clock reading, seconds.
        """
        self._count += messages
        self._reads += 1
        if self.pauses:
            if self._reads < TRIED:
                return
            if self._count < TRIED * WORTHWHILE:
                self.pauses, self._not_before = False, now_s + AGAIN_S
        elif self._count < COUNTED:
            return
        elif now_s >= self._not_before:
            self.pauses = (now_s - self._since) * BUSY_RATE < self._count
        self._count, self._reads, self._since = 0, 0, now_s
