"""What each server says of its own clients. Pure.

What a server says is its part. It has a version, which each difference that is told raises by one, so that one who
misses a difference knows it. Who needs the whole asks for it page by page, in the order of the connections' keys, which
stays the same while others come and go. A page has what is true, at its version, from behind the last connection of the
page before up to its own last one; the last page has everything that is left, and says that there are no more.

Pages are a topic of their own. A server that does not know it is an older one: it is asked on the topic of the
differences, without a payload, and answers with everything in one message, as the only page. Asked so, we do the same.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .rooms import Meta

Key = tuple[str, str, str]
"""A connection in a room: namespace, room and sid."""

Entry = tuple[str, "Meta"]
"""User, and what is said about the connection."""

MOST_AT_ONCE = 500
"""Most connections in one difference or page, whose size queues limit."""

PAGE_BYTES = 262_144
"""Bytes of one page, roughly, as of the answers to ``who()``: every broker carries that by default."""


@dataclass(slots=True)
class Told:
    """A difference or a page, as another server has said it.

    :param joined: connections that are there.
    :param left: connections that are gone; a page names none.
    :param more: whether more pages follow.
    """

    version: int
    joined: dict[Key, Entry]
    left: list[Key] = field(default_factory=list)
    more: bool = False

    @classmethod
    def read(cls, payload: Any) -> Told:
        """Read what :class:`OwnPart` has written."""
        joined = {(space, room, sid): (user, meta) for space, room, sid, user, meta in payload["joined"]}
        left = [(space, room, sid) for space, room, sid in payload.get("left", ())]
        return cls(payload["version"], joined, left, payload.get("more", False))


class OwnPart:
    """This server's clients."""

    def __init__(self) -> None:
        self._entries: dict[Key, Entry] = {}
        self._told: list[Key] = []  # sorted: without those that no message carries
        self._version = 0
        self._changed: dict[Key, None] = {}  # in order

    def __contains__(self, key: Key) -> bool:
        return key in self._entries

    @property
    def has_changed(self) -> bool:
        """Whether there is something to tell."""
        return bool(self._changed)

    def join(self, key: Key, user: str, meta: Meta) -> None:
        """Add a connection, or change what is said about it."""
        self._entries[key] = user, meta
        self._changed[key] = None
        if self._place(key) is None:
            insort(self._told, key)

    def leave(self, key: Key) -> bool:
        """Remove a connection; return whether it was there."""
        if self._entries.pop(key, None) is None:
            return False
        self._changed[key] = None
        self.withhold(key)
        return True

    def withhold(self, key: Key) -> None:
        """Leave a connection out of the pages, until something else is said about it: no message carries it."""
        if (place := self._place(key)) is not None:
            del self._told[place]

    def _place(self, key: Key) -> int | None:
        place = bisect_left(self._told, key)
        return place if place < len(self._told) and self._told[place] == key else None

    def whole(self) -> dict[str, Any]:
        """Return everything, for a server that knows no pages."""
        return {"version": self._version, "joined": _written(self._told, self._entries)}

    def page(self, after: Any) -> dict[str, Any]:
        """Return the next page, as an answer to who asks; see :func:`within`.

        :param after: key of the last connection on the page before, as JSON has it; ``None`` for the first page.
        """
        start = 0 if after is None else bisect_right(self._told, tuple(after))
        keys = self._told[start : start + MOST_AT_ONCE]
        return {
            "version": self._version,
            "joined": _written(keys, self._entries),
            "more": start + len(keys) < len(self._told),
        }

    def take_changed(self) -> list[list[Key]]:
        """Return what has to be told the others since the last time, for one difference each."""
        keys, self._changed = list(self._changed), {}
        return [keys[start : start + MOST_AT_ONCE] for start in range(0, len(keys), MOST_AT_ONCE)]

    def difference(self, keys: Sequence[Key]) -> dict[str, Any]:
        """Return what there is to say of connections, with the next version."""
        self._version += 1
        joined = _written((key for key in keys if key in self._entries), self._entries)
        left = [list(key) for key in keys if key not in self._entries]
        return {"version": self._version, "joined": joined, "left": left}

    def take_back(self) -> None:
        """Free the version of the last difference, which nobody was told, for a part of it.

        Who has asked meanwhile has that version, and what is in that part.
        """
        self._version -= 1


def within(page: dict[str, Any], most_bytes: int) -> dict[str, Any]:
    """Return as much of a page as so many bytes hold; one connection at least."""
    for number, connection in enumerate(page["joined"]):
        most_bytes -= len(json.dumps(connection))
        if most_bytes < 0 and number:
            return {**page, "joined": page["joined"][:number], "more": True}
    return page


def _written(keys: Iterable[Key], entries: dict[Key, Entry]) -> list[list[Any]]:
    return [[*key, *entries[key]] for key in keys]
