"""What each server says of its own clients: the part of this one, and those of the others. Pure.

A part has a version, which each difference that is told raises by one, so that one who misses a difference knows it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .rooms import Meta

Key = tuple[str, str, str]
"""A connection in a room: namespace, room and sid."""

MOST_AT_ONCE = 500
"""Most connections in one difference, whose size queues limit."""


@dataclass(slots=True)
class Told:
    """What another server has said.

    :param joined: user and meta by connection.
    """

    version: int
    joined: dict[Key, tuple[str, Meta]]
    left: list[Key]

    @classmethod
    def read(cls, payload: Any) -> Told:
        """Read what :class:`OwnPart` has written."""
        joined = {(space, room, sid): (user, meta) for space, room, sid, user, meta in payload["joined"]}
        return cls(
            payload["version"], joined, [(space, room, sid) for space, room, sid in payload.get("left", ())]
        )


@dataclass(slots=True)
class Part:
    """What is known of another server's clients.

    :param asking: whether it is being asked for the whole.
    :param heard: version of the newest difference that was heard.
    """

    version: int = -1
    heard: int = 0
    asking: bool = False
    again: bool = False
    keys: set[Key] = field(default_factory=set)


class OwnPart:
    """This server's clients."""

    def __init__(self) -> None:
        self._entries: dict[Key, tuple[str, Meta]] = {}
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

    def leave(self, key: Key) -> bool:
        """Remove a connection; return whether it was there."""
        if self._entries.pop(key, None) is None:
            return False
        self._changed[key] = None
        return True

    def state(self) -> dict[str, Any]:
        """Return the whole, as an answer to who asks."""
        return {"version": self._version, "joined": _written(self._entries)}

    def take_changed(self) -> list[list[Key]]:
        """Return what has to be told the others since the last time, for one difference each."""
        keys, self._changed = list(self._changed), {}
        return [keys[start : start + MOST_AT_ONCE] for start in range(0, len(keys), MOST_AT_ONCE)]

    def difference(self, keys: Sequence[Key]) -> dict[str, Any]:
        """Return what there is to say of connections, with the next version."""
        self._version += 1
        joined = {key: self._entries[key] for key in keys if key in self._entries}
        left = [list(key) for key in keys if key not in self._entries]
        return {"version": self._version, "joined": _written(joined), "left": left}

    def take_back(self) -> None:
        """Free the version of the last difference, which nobody was told, for a part of it.

        Who has asked meanwhile has that version, and what is in that part.
        """
        self._version -= 1


def _written(entries: dict[Key, tuple[str, Meta]]) -> list[list[Any]]:
    return [[*key, user, meta] for key, (user, meta) in entries.items()]
