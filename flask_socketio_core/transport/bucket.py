"""A rate with a burst: so many per second in the long run, more at once after a pause. A clock passed in, no I/O."""

from __future__ import annotations


class TokenBucket:
    """Tokens that come evenly, up to a number, and of which more may be taken than there are: that is a debt.

    :param per_s: tokens per second.
    :param most: tokens that there are at first, and never more than these.
    :param now_s: clock reading, seconds.
    """

    __slots__ = ("_most", "_per_s", "_since_s", "_tokens")

    def __init__(self, per_s: float, most: float, now_s: float) -> None:
        self._per_s = per_s
        self._most = most
        self._tokens = most
        self._since_s = now_s

    def take(self, count: int, now_s: float) -> float:
        """Take tokens; return how long it takes until there is no debt, seconds."""
        self._fill(now_s)
        self._tokens -= count
        return max(-self._tokens / self._per_s, 0.0)

    def wait_s(self, now_s: float) -> float:
        """Return how long it takes until there is a whole token, seconds."""
        self._fill(now_s)
        return max((1 - self._tokens) / self._per_s, 0.0)

    def _fill(self, now_s: float) -> None:
        self._tokens = min(self._tokens + (now_s - self._since_s) * self._per_s, self._most)
        self._since_s = now_s
