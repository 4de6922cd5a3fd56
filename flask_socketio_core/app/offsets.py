"""Offsets of a room's history, and what is kept of a room at one moment.

An offset says up to where somebody has what was sent to a room. To clients it is text. It has

- the epoch of a stream and the number of an event in it: that event and all before it are had;
- the beginning of that event's id: a store that was restored from an older copy goes on counting in the same epoch, and
  its number may be another event's since;
- the beginnings of the ids of events that are had besides: what several servers send is not delivered in the same order
  by all, and is put into the store in the background.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence, Set
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ..contracts import Stretch

ID_BYTES = 32
HEAD = struct.Struct(f">{ID_BYTES}sd")
"""What an event begins with that is kept: its id, and when it was, seconds since the epoch. The rest is packed; where
there is none, an event is missing that should have been kept."""
CHECK_SIZE = 8
"""So many characters of the last event's id are in an offset; half a byte each."""
BESIDE_SIZE = 12
"""So many of the ids of others."""
MOST_BESIDES = 100
"""Most of these. Where more would be needed there is no offset."""
MOST_CHARACTERS = 2000
"""More than an offset has; it comes from a client."""
MOST_GIVEN = 10_000
"""So many ids a client may give besides; with more it has no offset."""


class Offset(NamedTuple):
    """Up to where somebody has what was sent to a room.

    :param check: the beginning of the id of the event with that number.
    :param besides: beginnings of the ids of events behind it.
    """

    epoch: str
    number: int
    check: str
    besides: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"{self.number}-{self.check}-{'.'.join(sorted(self.besides))}-{self.epoch}"

    def has_besides(self, event_id: str) -> bool:
        """Return whether an event behind its number is had, too."""
        return event_id[:BESIDE_SIZE] in self.besides


def parse(given: object) -> Offset | None:
    """Return the offset that a client has given back; ``None`` if it is none.

    :param given: text, or a list of text and the ids of events that the client has had since.
    """
    if isinstance(given, (list, tuple)) and 0 < len(given) <= 1 + MOST_GIVEN:
        offset = None if isinstance(given[0], (list, tuple)) else parse(given[0])
        if offset is None:
            return None
        ids = {event_id for event_id in given[1:] if isinstance(event_id, str)}
        return offset._replace(besides=offset.besides | ids)
    if not isinstance(given, str) or len(given) > MOST_CHARACTERS:
        return None
    number, *rest = given.split("-", 3)
    if len(rest) != 3 or not (number.isascii() and number.isdigit()):
        return None
    check, besides, epoch = rest
    return Offset(epoch, int(number), check, frozenset(besides.split(".")) if besides else frozenset())


def id_of(kept: bytes) -> str:
    """Return the id of an event that is kept; the empty text if it is none."""
    if len(kept) < HEAD.size:
        return ""  # others put it into the store, or have sent it
    found: bytes = HEAD.unpack_from(kept)[0]
    return found.decode(errors="replace")


def short_id_of(kept: bytes) -> str:
    """Return what clients are told as its id."""
    return id_of(kept)[:BESIDE_SIZE]


def time_of(kept: bytes) -> float:
    """Return when an event was kept, seconds since the epoch."""
    found: float = HEAD.unpack_from(kept)[1]
    return found


def missing_one(event_id: str, now_s: float) -> bytes:
    """Return what is kept where an event is missing."""
    return HEAD.pack(event_id.encode(), now_s)


def is_event(kept: bytes) -> bool:
    """Return whether it is an event, and not what says that one is missing."""
    return len(kept) > HEAD.size


def merge(theirs: Sequence[bytes], mine: Sequence[bytes], seen: Set[str]) -> tuple[list[bytes], int]:
    """Return what others have kept and what this server has, in one order, and the place behind the last of theirs.

    :param seen: ids of what this server has had, also if it has it no more.
    """
    ids = [id_of(value) for value in mine]
    known = {id_of(value) for value in theirs}
    common = next((place for place, event_id in enumerate(ids) if event_id in known), None)
    if common is None:
        newer = not theirs or not known.isdisjoint(seen) or not mine or time_of(mine[-1]) > time_of(theirs[0])
        common = 0 if newer else len(mine)
    older = list(mine[:common])
    besides = [
        value for value, event_id in zip(mine[common:], ids[common:], strict=True) if event_id not in known
    ]
    return [*older, *theirs, *besides], len(older) + len(theirs)


class Lineup:
    """What is kept of a room at one moment.

    :param stretch: all of the stream by which events are numbered.
    :param besides: events that this server has besides, as they are not in the stream yet.
    """

    def __init__(self, stretch: Stretch, besides: Iterable[bytes] = ()) -> None:
        self.stretch = stretch
        self.ids = [id_of(value) for value in stretch.values]
        self.besides = list(besides)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is kept, now and as far as this server knows soon."""
        return not self.ids and not self.besides

    def events(self) -> list[bytes]:
        """Return all events in their order."""
        return [value for value in (*self.stretch.values, *self.besides) if is_event(value)]

    def why_not(self, offset: Offset | None) -> str:
        """Return why it cannot be said what has followed an offset; the empty text if it can.

        :returns: one of those that :class:`~flask_socketio_core.contracts.histories.HistoryLoad` counts.
        """
        if offset is None:
            return "invalid"
        stretch = self.stretch
        if offset.epoch != stretch.epoch or offset.number > stretch.top:
            return "another epoch"
        place = offset.number - stretch.first
        if place < 0:
            return "given up"
        if place >= len(self.ids) or self.ids[place][:CHECK_SIZE] != offset.check:
            return "another epoch"
        if not all(map(is_event, stretch.values[place + 1 :])):
            return "not stored"
        return ""

    def had(self, offset: Offset) -> set[str]:
        """Return the ids of what somebody has who has an offset that is good."""
        until = offset.number - self.stretch.first + 1
        ids = [*self.ids[until:], *map(id_of, self.besides)]
        return {*self.ids[:until], *filter(offset.has_besides, ids)}

    def offset(self, missing: Set[str] = frozenset()) -> Offset | None:
        """Return the offset of who has all but some of the events; ``None`` if there is none.

        :param missing: the ids of these.
        """
        stored = len(self.ids)
        count = next((place for place, event_id in enumerate(self.ids) if event_id in missing), stored)
        later = [*self.ids[count:], *map(id_of, self.besides)]
        return self._at(count, [event_id for event_id in later if event_id not in missing])

    def offsets(self, had: Set[str]) -> Iterator[tuple[bytes, Offset | None]]:
        """Yield what somebody has not, each with the offset of who has read so far.

        :param had: the ids of what he has.
        """
        stored = len(self.ids)
        ids = [*self.ids, *map(id_of, self.besides)]
        begin = next((place for place, event_id in enumerate(ids) if event_id not in had), stored)
        begin = min(begin, stored)  # behind it no number stands for what is had
        besides = [(place, event_id) for place, event_id in enumerate(ids[begin:], begin) if event_id in had]
        for place, value in enumerate((*self.stretch.values, *self.besides)):
            if ids[place] in had or not is_event(value):
                continue
            if place >= stored:
                besides.append((place, ids[place]))
            count = min(place + 1, stored)
            yield value, self._at(count, [event_id for at, event_id in besides if at >= count])

    def _at(self, count: int, besides: Sequence[str]) -> Offset | None:
        """Return the offset of who has so many of the stream, and some besides."""
        if not count or len(besides) > MOST_BESIDES:
            return None
        return Offset(
            self.stretch.epoch,
            self.stretch.first + count - 1,
            self.ids[count - 1][:CHECK_SIZE],
            frozenset(event_id[:BESIDE_SIZE] for event_id in besides),
        )
