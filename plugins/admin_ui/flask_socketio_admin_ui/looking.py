"""Whether somebody looks, here or at another server. Pure: the caller has the clock and the lock.

A server with a page says so every two seconds. What is not said again is over soon, so that one that was killed is
worked for no longer.
"""

from __future__ import annotations

LEASE_S = 7.0
"""How long it holds that somebody looks, seconds: three times that it is said."""


class Looking:
    """Who looks."""

    def __init__(self) -> None:
        self._here_until_s = 0.0
        self._elsewhere_until_s: dict[str, float] = {}

    def here(self, now_s: float) -> None:
        """Note that a page is being let in by this server, and will soon be seen among its clients."""
        self._here_until_s = now_s + LEASE_S

    def elsewhere(self, node: str, now_s: float) -> None:
        """Note that another server says that it has a page."""
        self._elsewhere_until_s[node] = now_s + LEASE_S

    def gone(self, node: str) -> None:
        """Note that another server is there no longer."""
        self._elsewhere_until_s.pop(node, None)

    def is_here(self, now_s: float) -> bool:
        """Return whether a page was let in within the lease."""
        return now_s < self._here_until_s

    def is_elsewhere(self, now_s: float) -> bool:
        """Return whether another server has one."""
        over = [node for node, until_s in self._elsewhere_until_s.items() if now_s >= until_s]
        for node in over:
            del self._elsewhere_until_s[node]
        return bool(self._elsewhere_until_s)
