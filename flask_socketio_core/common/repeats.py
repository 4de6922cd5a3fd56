"""What a peer can cause again and again is told once per kind and minute, with how often it happened."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from itertools import count

from .tracebacks import raised_at

EACH_S = 60.0
"""How long a kind is only counted after it was told, seconds."""

MOST_KINDS = 1_000
"""So many kinds are kept; those that come besides are one."""

_OTHERS = object()


class Repeats:
    """Say which of many like messages are to be logged.

    Callable from every thread. What is only counted, which is most of a flood, takes no lock.

    :param clock: monotonic clock, seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._told: dict[Hashable, _Told] = {}

    def take(self, kind: Hashable) -> str | None:
        """Count one of a kind; return what to add to its message, or ``None`` if it is not to be told.

        :param kind: what its messages have in common. Only as many as the program has, not what a peer chooses.
        """
        now_s = self._clock()
        told = self._told.get(kind)
        if told is not None and now_s < told.until_s:
            next(told.repeats)
            return None
        with self._lock:
            told = self._told.get(kind)
            if told is None and len(self._told) >= MOST_KINDS:
                self._forget(now_s)
                if len(self._told) >= MOST_KINDS:
                    kind = _OTHERS
                    told = self._told.get(kind)
            if told is not None and now_s < told.until_s:  # another thread was first
                next(told.repeats)
                return None
            self._told[kind] = _Told(now_s + EACH_S)
        missing = next(told.repeats) if told is not None else 0
        return f" (and {missing} more like it since the last that was told)" if missing else ""

    def _forget(self, now_s: float) -> None:
        self._told = {kind: told for kind, told in self._told.items() if now_s < told.until_s}


class _Told:
    """A kind that was told.

    :ivar until_s: when it may be told again, by the clock.
    :ivar repeats: gives how many came since; one step of it cannot be interrupted by another thread.
    """

    __slots__ = ("repeats", "until_s")

    def __init__(self, until_s: float) -> None:
        self.until_s = until_s
        self.repeats = count()


def kind_of(error: BaseException) -> tuple[object, ...]:
    """Return what errors have in common that one statement raised, whatever values they quote."""
    trace = raised_at(error)
    if trace is None:
        return (type(error),)
    return type(error), trace.tb_frame.f_code, trace.tb_lineno
