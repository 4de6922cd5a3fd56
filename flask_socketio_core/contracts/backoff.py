"""Work that others can ask for as often as they like, done a bounded number of times."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .async_mode import AsyncMode

__all__ = ["Paced"]


class Paced:
    """Do something in a worker: at once, or once for all who ask before some time has passed.

    :param apart_s: seconds between two times.
    """

    def __init__(
        self, work: Callable[[], object], mode: AsyncMode, clock: Callable[[], float], apart_s: float
    ) -> None:
        self._work = work
        self._mode = mode
        self._clock = clock
        self._apart_s = apart_s
        self._asked = False
        self._done_at = -math.inf

    def ask(self) -> None:
        """Have it done, after this call; does not block. Two tasks that ask at one moment may have it done twice."""
        if self._asked:
            return
        self._asked = True
        wait_s = self._done_at + self._apart_s - self._clock()
        if wait_s <= 0:
            self._mode.spawn(self._do)
        else:
            self._mode.call_later(wait_s, lambda: self._mode.spawn(self._do))

    def _do(self) -> None:
        self._done_at = self._clock()
        self._asked = False  # before the work: who asks from now on may have come too late for it
        self._work()
