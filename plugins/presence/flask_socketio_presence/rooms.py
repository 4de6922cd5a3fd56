"""Who is shown in a room, and what has changed since that was told. Pure: the caller has the clock and the lock.

A user is shown with an entry for each connection. The entry of a last connection that is gone is held until its time is
over; a connection that comes meanwhile takes its place, silently if it says the same of itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import Any

Meta = dict[str, Any]
"""What is said about a connection."""

Metas = dict[str, list[Meta]]
"""By user, what is said about each connection."""

REF = "phx_ref"
"""Key of what tells the entries of a user from each other, as Phoenix calls it."""

STATE, DIFF, COUNT = "presence_state", "presence_diff", "presence_count"
"""What clients hear; the second argument is the room."""

LISTED_AGAIN = 0.9
"""Share of the most users that are listed, at which a room that was counted is listed again; else it could flap."""


@dataclass(slots=True)
class Entry:
    """A connection as it is shown.

    :param sid: the client's; ``None`` once that is gone.
    :param until_s: how long its place is held then, on the clock of the caller.
    """

    sid: str | None
    meta: Meta
    until_s: float = 0.0


@dataclass(slots=True)
class Changes:
    """What a room's clients and the application have to be told.

    :param event: what clients hear, if anything, with its argument.
    :param news: users who came (``True``) and left, in order, with what was said of them.
    """

    event: tuple[str, dict[str, Any]] | None = None
    news: list[tuple[bool, str, list[Meta]]] = field(default_factory=list)


class Room:
    """Who is shown in one room.

    :param most: most users that clients are told of one by one.
    """

    _refs = count(1)  # of this process, whose clients alone are told them

    def __init__(self, most: int) -> None:
        self._most = most
        self._users: dict[str, dict[str, Entry]] = {}
        self._places: dict[str, tuple[str, str]] = {}  # user and ref by sid
        self._joins: dict[str, dict[str, Meta]] = {}
        self._leaves: dict[str, dict[str, Meta]] = {}
        self._news: list[tuple[bool, str, list[Meta]]] = []
        self._told_count = 0
        self.counted = False

    def __len__(self) -> int:
        return len(self._users)

    def join(self, sid: str, user: str, meta: Meta) -> None:
        """Show a connection; again, if what is said about it has changed."""
        if (place := self._places.get(sid)) is not None:
            if place[0] == user and self._users[user][place[1]].meta == meta:
                return
            self._replace(sid, user, meta)
            return
        self._add(sid, user, meta)

    def _replace(self, sid: str, user: str, meta: Meta) -> None:
        before, ref = self._places.pop(sid)
        if before == user:
            self._add(sid, user, meta)
            self._drop(user, ref)
        else:
            self._drop(before, ref)
            self._add(sid, user, meta)

    def _add(self, sid: str, user: str, meta: Meta) -> None:
        entries = self._users.get(user)
        if entries is None:
            entries = self._users[user] = {}
            self._news.append((True, user, [meta]))
        held = [ref for ref, entry in entries.items() if entry.sid is None]
        for ref in held:
            if entries[ref].meta == meta:
                entries[ref].sid = sid
                self._places[sid] = user, ref
                return
        ref = str(next(self._refs))
        entries[ref] = Entry(sid, meta)
        self._places[sid] = user, ref
        self._joins.setdefault(user, {})[ref] = meta
        for other in held:
            self._drop(user, other)

    def leave(self, sid: str, until_s: float) -> str | None:
        """Show a connection no longer, or hold its place for a while.

        :returns: the user whose place is held, for :meth:`expire`; ``None`` if there is nothing to wait for.
        """
        place = self._places.pop(sid, None)
        if place is None:
            return None
        user, ref = place
        if self._gives_place(user, ref):
            return None
        if any(entry.sid is not None for other, entry in self._users[user].items() if other != ref):
            self._drop(user, ref)
            return None
        entry = self._users[user][ref]
        entry.sid, entry.until_s = None, until_s
        return user

    def _gives_place(self, user: str, ref: str) -> bool:
        """Let a connection that nobody has been told of, and that says the same, take the place of one that leaves."""
        entries = self._users[user]
        for other in self._joins.get(user, ()):
            sid = entries[other].sid
            if other != ref and sid is not None and entries[other].meta == entries[ref].meta:
                entries[ref].sid = sid
                self._places[sid] = user, ref
                del entries[other], self._joins[user][other]
                return True
        return False

    def expire(self, user: str, now_s: float) -> None:
        """Show a user no longer whose time is over, unless a connection has come meanwhile."""
        entries = self._users.get(user, {})
        if all(entry.sid is None and entry.until_s <= now_s for entry in entries.values()):
            for ref in list(entries):
                self._drop(user, ref)

    def _drop(self, user: str, ref: str) -> None:
        entries = self._users[user]
        meta = entries.pop(ref).meta
        if user in self._joins and ref in self._joins[user]:  # nobody has been told of it
            del self._joins[user][ref]
        else:
            self._leaves.setdefault(user, {})[ref] = meta
        if not entries:
            del self._users[user]
            self._news.append((False, user, [meta]))

    @property
    def is_empty(self) -> bool:
        """Whether nobody is shown, and nothing is left to be told."""
        return not (self._users or self._joins or self._leaves or self._news or self.counted)

    def metas(self) -> Metas:
        """Return what is said of each user's connections."""
        return {
            user: [dict(entry.meta) for entry in entries.values()] for user, entries in self._users.items()
        }

    def state(self) -> dict[str, Any]:
        """Return what a client is told first, in Phoenix's shape."""
        return {
            user: {"metas": [{**entry.meta, REF: ref} for ref, entry in entries.items()]}
            for user, entries in self._users.items()
        }

    def first(self) -> tuple[str, dict[str, Any]]:
        """Return the event that a client is told first, with its argument."""
        if self.counted or len(self._users) > self._most:
            return COUNT, {"count": len(self._users)}
        return STATE, self.state()

    def take_changes(self) -> Changes:
        """Return what has to be told since the last time."""
        changes = Changes(news=self._news)
        joins, leaves = _shaped(self._joins), _shaped(self._leaves)
        self._news, self._joins, self._leaves = [], {}, {}
        number = len(self._users)
        if self.counted and number <= self._most * LISTED_AGAIN:
            self.counted = False
            changes.event = STATE, self.state()
        elif self.counted or number > self._most:
            if not self.counted or number != self._told_count:
                self._told_count = number
                changes.event = COUNT, {"count": number}
            self.counted = True
        elif joins or leaves:
            changes.event = DIFF, {"joins": joins, "leaves": leaves}
        return changes


def _shaped(entries: dict[str, dict[str, Meta]]) -> dict[str, Any]:
    return {
        user: {"metas": [{**meta, REF: ref} for ref, meta in refs.items()]}
        for user, refs in entries.items()
        if refs
    }
