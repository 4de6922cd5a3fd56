"""Whether somebody looks, here or at another server, and at what. Pure: the caller has the clock and the lock.

A server with a page says so every two seconds. What is not said again is over soon, so that one that was killed is
worked for no longer.
"""

from __future__ import annotations

LEASE_S = 7.0
"""How long it holds that somebody looks, seconds: three times that it is said."""

NOTHING, FIGURES, EVENTS = range(3)
"""What somebody looks at; each has those before it."""


class Looking:
    """Who looks."""

    def __init__(self) -> None:
        self._here_until_s = 0.0
        self._elsewhere: dict[str, tuple[float, int]] = {}

    def here(self, now_s: float) -> None:
        """Note that a page is being let in by this server, and will soon be seen among its clients."""
        self._here_until_s = now_s + LEASE_S

    def is_here(self, now_s: float) -> bool:
        """Return whether a page was let in within the lease."""
        return now_s < self._here_until_s

    def elsewhere(self, node: str, what: int, now_s: float) -> None:
        """Note that another server says that it has a page, and at what that looks."""
        self._elsewhere[node] = now_s + LEASE_S, what

    def at(self, now_s: float) -> int:
        """Return at what others look most."""
        self._elsewhere = {node: said for node, said in self._elsewhere.items() if now_s < said[0]}
        return max((what for _, what in self._elsewhere.values()), default=NOTHING)
