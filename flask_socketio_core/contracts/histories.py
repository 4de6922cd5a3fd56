"""What an application is told of the history of a room: what was kept, and how far a client has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["HistoryLoad", "HistoryPart", "KeptEvent", "OnceLoad", "Rewound"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewound:
    """What came of ``join_room(room, since=...)``.

    :param offset: up to where the client has everything of the room when it is told this: give it to the client, which
        gives it back as ``since`` when it comes again. ``None`` if nothing was kept yet, or it cannot be said now.
    :param complete: nothing is missing between ``since`` and now: all of it was sent. ``False`` without ``since``, for
        an offset of another epoch or one that is none, and if something was not kept or given up in between; then the
        last ``rewind`` events were sent, and the application loads what it shows anew.
    :param sent: how many events were sent.
    """

    offset: str | None
    complete: bool
    sent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptEvent:
    """An event in the history of a room.

    :param event: its name.
    :param args: its arguments.
    :param id: what clients are told as its id with ``history(..., ids=True)``.
    :param at: when it was emitted, or heard by this server, seconds since the epoch.
    :param offset: as ``since`` it begins behind this event; ``None`` if that cannot be said.
    """

    event: str
    args: tuple[Any, ...]
    id: str
    at: float
    offset: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryPart:
    """What ``SocketIO.read_history()`` has found.

    :param events: in their order.
    :param offset: where to go on as ``since``: behind the last of the events, or where nothing has followed. ``None``
        if nothing was kept yet, or it cannot be said now.
    :param complete: nothing is missing between ``since`` and the first of the events. ``False`` without ``since``.
    """

    events: tuple[KeptEvent, ...]
    offset: str | None
    complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryLoad:
    """What a process keeps of rooms with a history, and what has come of it since it began.

    :param rooms: rooms of which it keeps something in its memory.
    :param size_bytes: what that takes, with what Python takes for it, bytes.
    :param waiting: events that wait for the store.
    :param lost: what is not kept although it should be, by the reason: ``"memory"``, rooms whose history was given up,
        since all together took too much; ``"too large"``, events that are larger than all that is kept of their room;
        ``"store"``, events that the store has not taken; ``"store too slow"``, those beyond the ones that may wait.
    :param store_errors: times that the store could not be read.
    :param resumed: clients that have come back with an offset and have had everything since.
    :param incomplete: those that have not, by the reason: ``"invalid"``, it was no offset; ``"another epoch"``, it is
        of another room, server or life of the store, or of an event that a restored store has forgotten;
        ``"given up"``, its event is not kept any more; ``"not stored"``, something is missing behind it; ``"store"``,
        which is away. Clients that had no offset yet are in neither.
    """

    rooms: int
    size_bytes: int
    waiting: int
    lost: Mapping[str, int]
    store_errors: int
    resumed: int
    incomplete: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class OnceLoad:
    """What has come of events that a process handles once, since it began.

    :param handled: events that were handled, and whose answer is remembered.
    :param repeated: repetitions that were answered as the first was.
    :param failed: events that were handled and failed, and are handled again if they come again.
    :param unanswered: repetitions that were not acknowledged, for the first took too long.
    :param store_errors: times that the store could not be asked, or could not take an answer.
    """

    handled: int
    repeated: int
    failed: int
    unanswered: int
    store_errors: int
