"""One timer for all sessions: a timing wheel with a clock passed in.

Every item has one due time. Scheduling, moving and removing an item costs the same however many there are; an idle
session costs one set entry.
"""

from __future__ import annotations

from typing import Protocol


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
