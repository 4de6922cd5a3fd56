"""One timer for all sessions: a timing wheel with a clock passed in.

Every item has one due time. Scheduling, moving and removing an item costs the same however many there are; an idle
session costs one set entry.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ..contracts import AsyncMode, Handle

STOOD_STILL_S = 0.1
"""A timer that is later than this comes of a process that stood still, or whose loop was blocked, seconds."""

CATCH_UP_S = 1.0
"""How long what clients sent meanwhile may then take to be read, seconds; less with short heartbeats."""


class Timed(Protocol):
    """Something that is called when its time has come."""

    slot: int
    """Which slot of the wheel holds it; -1 for none. Belongs to the wheel."""

    def next_due(self) -> float | None:
        """Return when :meth:`on_due` is to be called, a clock reading in seconds; ``None`` for never."""

    def on_due(self, now_s: float) -> float | None:
        """Do what is due and return the next due time, or ``None`` to leave the wheel. Must not block."""

    def __hash__(self) -> int: ...


class Wheel:
    """Items by due time, in slots of a fixed width.

    Not thread-safe: the caller holds a lock, except during :meth:`Timed.on_due`.

    :param width_s: width of a slot, seconds: how late an item may be.
    """

    __slots__ = ("_next", "_slots", "width_s")

    def __init__(self, width_s: float) -> None:
        self.width_s = width_s
        self._slots: dict[int, set[Timed]] = {}
        self._next: int | None = None

    def __len__(self) -> int:
        return sum(len(items) for items in self._slots.values())

    @property
    def is_empty(self) -> bool:
        """Whether nothing is in it."""
        return not self._slots

    def schedule(self, item: Timed, due_s: float) -> None:
        """Put an item into the wheel, or move it.

        :param due_s: clock reading, seconds.
        """
        slot = int(due_s / self.width_s) + 1  # never early
        if self._next is not None and slot < self._next:
            slot = self._next
        if slot == item.slot:
            return
        self.remove(item)
        self._slots.setdefault(slot, set()).add(item)
        item.slot = slot

    def remove(self, item: Timed) -> None:
        """Take an item out; nothing happens if it is not in the wheel."""
        items = self._slots.get(item.slot)
        if items is not None:
            items.discard(item)
            if not items:
                del self._slots[item.slot]
        item.slot = -1

    def take_due(self, now_s: float) -> list[Timed]:
        """Take out and return the items whose time has come.

        :param now_s: clock reading, seconds.
        """
        current = int(now_s / self.width_s)
        self._next = current + 1
        due: list[Timed] = []
        for slot in [slot for slot in self._slots if slot <= current]:
            for item in self._slots.pop(slot):
                item.slot = -1
                due.append(item)
        return due

    def next_due_s(self) -> float | None:
        """Return the clock reading at which the earliest slot is due, or ``None`` if the wheel is empty."""
        return min(self._slots) * self.width_s if self._slots else None


class Timer:
    """A wheel that the async mode turns: one timer of the process, set to what is due first. Thread-safe.

    :param mode: calls back when something is due.
    :param clock: monotonic clock, seconds.
    :param shortest_s: the shortest time that is waited for, seconds; what is due may be late by a fiftieth of it.
    :param report: logs an error without blocking.
    """

    def __init__(
        self,
        mode: AsyncMode,
        clock: Callable[[], float],
        shortest_s: float,
        report: Callable[[BaseException, str], None],
    ) -> None:
        self._mode = mode
        self._clock = clock
        self._report = report
        self._width_s = max(shortest_s / 50, 0.002)
        self._catch_up_s = min(CATCH_UP_S, shortest_s / 4)
        self._handle: Handle | None = None
        self._start_empty()

    def _start_empty(self) -> None:
        self._lock = self._mode.create_lock()
        self._wheel = Wheel(self._width_s)
        self._handle = None
        self._due_s = math.inf  # when the mode calls back, while it is to do so
        self._number = 0
        self._catching_up = False

    def __len__(self) -> int:
        return len(self._wheel)

    def forget(self) -> None:
        """Have nothing to wait for in a forked child."""
        handle = self._handle
        self._start_empty()
        if handle is not None:
            handle.cancel()

    def schedule(self, item: Timed) -> None:
        """Put something in that has a due time, or move it."""
        due_s = item.next_due()
        if due_s is None:
            return
        with self._lock:
            self._wheel.schedule(item, due_s)
        self._arm(due_s)

    def remove(self, item: Timed) -> None:
        """Take something out; the mode calls back all the same."""
        with self._lock:
            self._wheel.remove(item)

    def unschedule(self, item: Timed) -> None:
        """Take something out, and have the mode call back no more if it was the last."""
        handle = None
        with self._lock:
            self._wheel.remove(item)
            if self._wheel.is_empty:
                handle, self._handle = self._handle, None
                self._due_s = math.inf
                self._number += 1
        if handle is not None:
            handle.cancel()

    def is_late(self) -> bool:
        """Return whether this process stood still a moment ago: what clients have sent meanwhile may wait unread."""
        return self._catching_up or self._clock() - self._due_s > STOOD_STILL_S

    def _arm(self, due_s: float) -> None:
        """Be called back in time, from whatever thread; once at most, or the calls would go on for ever."""
        due_s += self._wheel.width_s
        with self._lock:
            if due_s >= self._due_s:
                return
            old, self._handle = self._handle, None
            self._due_s = due_s
            self._number += 1
            number = self._number
        if old is not None:
            old.cancel()
        try:
            handle = self._mode.call_later(max(due_s - self._clock(), 0), partial(self._tick, number))
        except BaseException:  # no thread left: the next one tries again
            with self._lock:
                if number == self._number:
                    self._due_s = math.inf
            raise
        with self._lock:
            current = number == self._number
            if current:
                self._handle = handle
        if not current:
            handle.cancel()

    def _tick(self, number: int) -> None:
        now_s = self._clock()
        with self._lock:
            if number != self._number:
                return  # another one has taken its place
            # Nobody is closed for a silence in which nobody listened: first what came meanwhile is read.
            late = not self._catching_up and now_s - self._due_s > STOOD_STILL_S
            self._catching_up = late
            self._handle = None
            self._due_s = math.inf
            self._number += 1
            due = [] if late else self._wheel.take_due(now_s)
        if late:
            self._arm(now_s + self._catch_up_s)
            return
        for item in due:
            try:
                next_s = item.on_due(now_s)
            except Exception as error:  # noqa: BLE001  # one session's fault must not stop the clock of the others
                self._report(error, "the timer")
                continue
            if next_s is not None:
                with self._lock:  # what is due may have changed since
                    self._wheel.schedule(item, item.next_due() or next_s)
        with self._lock:
            next_due_s = self._wheel.next_due_s()
        if next_due_s is not None:
            self._arm(next_due_s)
