"""How long to wait before a worker that has ended is replaced."""

from __future__ import annotations

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
STEADY_S = 30.0
"""A worker that lived for so many seconds had nothing the matter with it from the start."""


class Pauses:
    """Pauses that grow while workers end soon after their start. A worker that had lived is replaced at once."""

    def __init__(self) -> None:
        self._next_s = 0.0

    def after(self, lived_s: float) -> float:
        """Return how long to wait, seconds, after a worker has ended that lived for so long."""
        if lived_s >= STEADY_S:
            self._next_s = 0.0
        pause_s = self._next_s
        self._next_s = min(max(2 * pause_s, FIRST_PAUSE_S), LONGEST_PAUSE_S)
        return pause_s
