"""What was sent to rooms lately: ``socketio.history("news")``, and ``join_room("news", rewind=20)``.

An event to a room with a history gets an id where it is emitted (:meth:`History.mark`), travels with it, and is kept by
each server that delivers it, just before it does (:meth:`History.deliver`). So what a server has kept is what it has
delivered, in that order, and a client that joins is given what is missing (:meth:`History.rewind`):

1. From here on events to the room are not sent to the client but wait for it. What was kept before is read in the same
   moment.
2. Events that were kept before and are being delivered just now are waited for, a matter of microseconds. The client is
   no member yet, so they do not reach it.
3. It enters the room, is sent what was read, then what waits, until nothing waits any more.

A server that has just started, or was cut off, first asks the store, if there is one that all share, or else another
server. Among what it gets may be events that are still on their way to it. They are known by their ids: when they come
they are not kept once more, nor sent once more to a client that was given them.
"""

from __future__ import annotations

import hashlib
import logging
import sys
import time
import uuid
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial
from itertools import count, islice
from typing import TYPE_CHECKING, Any, Protocol

from ..cluster.envelope import Malformed
from ..cluster.envelope import room as room_from_wire
from ..cluster.topics import HISTORY
from ..common.repeats import Repeats, kind_of
from ..common.sids import is_sid
from ..contracts import Stretch
from ..contracts.clients import Emission
from ..contracts.fork import register_at_fork
from ..contracts.histories import HistoryLoad, HistoryPart, KeptEvent, Rewound
from ..errors import InvalidData, SocketIOError, StoreError
from ..server.mailbox import Mailbox
from ..store.memory import MemoryStore
from .offsets import HEAD, ID_BYTES, Lineup, id_of, is_event, merge, missing_one, parse, short_id_of, time_of

if TYPE_CHECKING:
    from ..contracts import AsyncMode, Event
    from ..contracts.servers import Answers
    from ..server.interface import Emitter, Origin, OwnServer
    from ..store.current import CurrentStore
    from .histories import Declaration, Declarations
    from .offsets import Offset
    from .packing import Packing

MOST_ROOMS = 10_000
"""So many rooms have their state in memory; those used longest ago are asked for anew."""
MEMORY = {"max_entries": MOST_ROOMS, "max_bytes": 64 * 1024 * 1024}
"""What all histories of a process may take; for more, those that were written longest ago are given up."""
MOST_KEPT = sys.maxsize
"""All that is kept of a room; how much that is has been declared."""
MOST_WAITING = 1_000
"""So many events may wait for the store; more are not kept there."""
ASK_S = 2.0
"""How long to wait for what another server has kept, seconds."""
LOAD_S = 3 * ASK_S
"""How long those wait who join while somebody else asks for that, seconds."""
AGAIN_S = 5.0
"""After so many seconds it is tried again, if it could not be had."""
ON_THE_WAY_S = 60.0
"""After that, nothing is on its way any more that another server had already kept, and it is forgotten with it,
seconds."""
DELIVERY_S = 2.0
"""How long a delivery may take that a client waits for, seconds."""
PAUSE_S = 0.001
MORE_SEEN = 100
"""Of so many events more than are kept it is known that they were delivered here."""
AGAIN_OFFSET_S = 0.02
OFFSET_S = 1.0
"""How long it is waited for that the store has most of what was delivered, so that there is an offset, seconds."""

logger = logging.getLogger(__name__)

Key = tuple[str, Any]
"""A namespace and a room."""

Waiting = deque[tuple[bytes, "Origin | None"]]
"""Events, each with the message that it came with."""


class Asked(Protocol):
    """The other servers."""

    def ask(
        self,
        topic: str,
        payload: Any,
        *,
        timeout_s: float,
        node: str | None,
        include_self: bool,
    ) -> Answers:
        """See :meth:`Servers.ask`."""


class Observers(Protocol):
    """Whom to tell what is missing."""

    def history_lost(self, *, namespace: str | None, room: Any, reason: str, count: int) -> None:
        """Tell that something is not kept."""

    def history_incomplete(self, *, sid: str, namespace: str, room: Any, reason: str) -> None:
        """Tell that a client may not have everything."""


class _Memory(MemoryStore):
    """It is written with a lock held that must not wait for a log."""

    def _tell(self) -> None:
        """Say nothing; :class:`History` does."""

    def size(self) -> tuple[int, int]:
        """Return how many rooms there are, and how many bytes they take."""
        return len(self._shelf.entries), self._shelf.size_bytes

    def take_given_up(self) -> int:
        """Return how many rooms were given up since it was asked last."""
        given_up, self._shelf.given_up = self._shelf.given_up, 0
        return given_up


class _Room:
    """What is known of a room's history in this process."""

    __slots__ = (
        "deliveries",
        "joining",
        "known_until_s",
        "loaded",
        "loading",
        "not_before_s",
        "on_the_way",
        "seen",
        "stream",
    )

    def __init__(self, size: int) -> None:
        self.stream = uuid.uuid4().hex
        """In memory. It is made anew when what others have kept is put before it."""
        self.loaded = False
        """Whether what others have kept is here."""
        self.loading: Event | None = None
        """What tells the end of getting that."""
        self.not_before_s = 0.0
        """When to try again, if it failed."""
        self.joining: dict[str, Waiting] = {}
        """By sid, what waits for clients that are being given what was kept before."""
        self.deliveries: set[int] = set()
        """Numbers of those that have begun."""
        self.on_the_way: dict[str, set[str]] = {}
        """By its id, to whom an event was given that others have kept, and that has perhaps not come here yet."""
        self.known_until_s = 0.0
        self.seen: deque[str] = deque(maxlen=size + MORE_SEEN)
        """Ids of what was delivered here, the newest, where a store has it, too."""

    @property
    def is_idle(self) -> bool:
        return not self.joining and not self.deliveries and self.loading is None


class History:
    """The histories of one application in this process.

    :param server: this process's clients; ``None`` if it only sends.
    :param store: where things are kept that all servers find; ``None`` if there is no such store.
    :param asks: whether there are other servers.
    """

    def __init__(
        self,
        declarations: Declarations,
        mode: AsyncMode,
        server: OwnServer | None,
        store: CurrentStore | None,
        servers: Asked,
        packing: Packing,
        observers: Observers,
        *,
        asks: bool,
    ) -> None:
        self._declarations = declarations
        self._mode = mode
        self._server = server
        self._store = store
        self._servers = servers
        self._asks = asks
        self._packing = packing
        self._observers = observers
        self._numbers = count()
        self._repeats = Repeats(time.monotonic)
        self._begin()
        register_at_fork(after_in_child=self._begin)
        if server is not None:
            server.recorder = self.deliver

    def _begin(self) -> None:
        """Have nothing, as at first; in a forked child, where another thread may have held a lock, too."""
        self._memory = _Memory(f"memory://{uuid.uuid4().hex}", "history", mode=self._mode, options=MEMORY)
        self._rooms: OrderedDict[Key, _Room] = OrderedDict()
        self._lock = self._mode.create_lock()
        self._waiting = 0
        self._lost: Counter[str] = Counter()
        self._incomplete: Counter[str] = Counter()
        self._store_errors = self._resumed = 0
        self._not_stored: set[Key] = set()
        """Rooms of which an event is not in the store: it is told that one is missing, with the next."""
        self._mailbox = Mailbox(self._mode.spawn, self._mode.create_lock())

    # emitting

    def mark(self, emission: Emission) -> Emission:
        """Return an emission as it is to be sent: with an id, if it is to be kept."""
        if emission.to is None or emission.local or emission.volatile:
            return emission
        rooms = [key for key, _ in self._kept_rooms(emission)]
        if not rooms:
            return emission
        emission = emission._replace(keep=uuid.uuid4().hex)
        if self._store is not None:
            self._put_in_store(self._store, emission, rooms)
        return emission

    def _kept_rooms(self, emission: Emission) -> list[tuple[Key, Declaration]]:
        found = []
        for room in emission.to or ():
            declaration = None if is_sid(room) else self._declarations.find(emission.namespace, room)
            if declaration is not None:
                found.append(((emission.namespace, room), declaration))
        return found

    def _put_in_store(self, store: CurrentStore, emission: Emission, rooms: list[Key]) -> None:
        kept = self._dump(emission)
        if kept is None:
            return
        with self._lock:
            takes = self._waiting < MOST_WAITING
            self._waiting += takes
        if not takes:
            self._log(
                "the store takes events of rooms with a history too slowly, and has no longer all of them",
                None,
            )
            self._not_stored.update(rooms)
            for key in rooms:
                self._lose("store too slow", key)
            return
        self._mailbox.put(partial(self._append_to_store, store, kept, rooms))

    def _append_to_store(self, store: CurrentStore, kept: bytes, rooms: list[Key]) -> None:
        with self._lock:
            self._waiting -= 1
        for namespace, room in rooms:
            declared = self._declarations.find(namespace, room)
            assert declared is not None  # or it was not in the list
            append = partial(
                store.append,
                _stream_name(namespace, room),
                size=declared.size,
                max_bytes=declared.max_bytes,
                ttl_s=declared.ttl_s,
            )
            key = (namespace, room)
            try:
                if key in self._not_stored:
                    append(missing_one(uuid.uuid4().hex, time.time()))
                    self._not_stored.discard(key)
                append(kept)
            except StoreError as error:
                self._not_stored.add(key)
                self._log("an event of a room with a history is not in the store", error)
                self._lose("store", key)

    def _lose(self, reason: str, key: tuple[str | None, Any] = (None, None), count: int = 1) -> None:
        """Count and tell what is not kept. Called without the lock."""
        with self._lock:
            self._lost[reason] += count
        namespace, room = key
        self._observers.history_lost(namespace=namespace, room=room, reason=reason, count=count)

    def load(self) -> HistoryLoad:
        """Return what is kept, and what has come of it."""
        with self._lock:
            rooms, size_bytes = self._memory.size()
            return HistoryLoad(
                rooms=rooms,
                size_bytes=size_bytes,
                waiting=self._waiting,
                lost=dict(self._lost),
                store_errors=self._store_errors,
                resumed=self._resumed,
                incomplete=dict(self._incomplete),
            )

    def flush(self, timeout_s: float) -> None:
        """Wait until what was emitted is in the store."""
        deadline_s = time.monotonic() + timeout_s
        while self._mailbox.busy and time.monotonic() < deadline_s:
            self._mode.sleep(10 * PAUSE_S)

    # delivering

    def deliver(self, emission: Emission, origin: Origin | None = None) -> None:
        """Keep an event of this or another process, and send it to the clients of this one.

        :param origin: the message that it comes with, as for :meth:`LocalServer.emit`.
        """
        server = self._server
        assert server is not None  # it has called this
        rooms = self._kept_rooms(emission)
        kept, event_id, emission = self._dump(emission), emission.keep, emission._replace(keep=None)
        if kept is None or event_id is None or not rooms:
            server.emit(emission, origin)  # which says what is wrong with it
            return
        number, here, without = next(self._numbers), [], set[str]()
        with self._lock:
            for key, declared in rooms:
                room = self._room(key, declared)
                here.append(room)
                room.deliveries.add(number)
                if self._store is not None:
                    room.seen.append(event_id)
                given = self._take_on_the_way(room, event_id)
                if given is None:
                    self._append(room, kept, declared, declared.ttl_s)
                else:
                    without |= given
                for sid, waiting in room.joining.items():
                    if sid not in without:
                        waiting.append((kept, origin))
                        without.add(sid)
        for key, declared in rooms:
            if _is_too_large(kept, declared):
                self._lose("too large", key)
        given_up = self._memory.take_given_up()
        if given_up:
            self._lose("memory", count=given_up)
            self._log(
                f"rooms with a history take more than {MEMORY['max_bytes']} bytes: some have lost theirs",
                None,
            )
        if any(declared.ids for _, declared in rooms):
            emission = emission._replace(args=(*emission.args, short_id_of(kept)))
        try:
            server.emit(emission._replace(skip=emission.skip | without) if without else emission, origin)
        finally:
            with self._lock:
                for room in here:
                    room.deliveries.discard(number)

    def _room(self, key: Key, declared: Declaration) -> _Room:
        """Return the state of a room. Called with the lock."""
        room = self._rooms.get(key)
        if room is None:
            room = self._rooms[key] = _Room(declared.size)
            room.loaded = not self._asks and self._store is None
            if len(self._rooms) > MOST_ROOMS:
                oldest = next(iter(self._rooms))
                if self._rooms[oldest].is_idle:
                    del self._rooms[oldest]
        self._rooms.move_to_end(key)
        return room

    def _append(self, room: _Room, kept: bytes, declared: Declaration, ttl_s: float) -> None:
        if _is_too_large(kept, declared):
            return
        self._memory.append(room.stream, kept, size=declared.size, max_bytes=declared.max_bytes, ttl_s=ttl_s)

    def _take_on_the_way(self, room: _Room, event_id: str) -> set[str] | None:
        given = room.on_the_way.pop(event_id, None)
        if room.on_the_way and time.monotonic() > room.known_until_s:
            kept = {id_of(value) for value in self._kept_in(room)}  # of these it is asked who has them
            room.on_the_way = {found: given for found, given in room.on_the_way.items() if found in kept}
            room.known_until_s = time.monotonic() + ON_THE_WAY_S
        return given

    def _kept_in(self, room: _Room) -> tuple[bytes, ...]:
        """Return all that this server has kept of a room. Called with the lock."""
        return self._memory.read(room.stream, limit=MOST_KEPT).values

    # joining

    def rewind(self, emitter: Emitter, sid: str, room_name: Any, namespace: str, most: int) -> None:
        """Put a client of this process into a room, and send it what was sent there lately.

        One that is in it already is sent nothing: it has heard all of it.

        :param most: most events to send, the newest.
        :raises ValueError: if the room has no history, or the client is not connected here.
        """
        key = (namespace, room_name)
        server, declared = self._check(key, sid, most)
        self._load(key, declared)
        self._join(emitter, server, key, declared, sid, lambda room: self._newest(room, most))

    def resume(
        self, emitter: Emitter, sid: str, room_name: Any, namespace: str, most: int, since: object
    ) -> Rewound:
        """Put a client of this process into a room, and send it what was sent there since it was told an offset.

        :param most: most events to send if it cannot be said what that is, the newest.
        :param since: what the client gave as the offset.
        :raises ValueError: as :meth:`rewind` does.
        """
        key = (namespace, room_name)
        server, declared = self._check(key, sid, most)
        offset, stretch = parse(since), self._stretch(key, declared)
        why_not, sent = "", 0

        def choose(room: _Room) -> Sequence[bytes]:
            nonlocal why_not, sent
            lineup = self._lineup(room, stretch, declared)
            why_not = "store" if lineup is None else lineup.why_not(offset)
            if lineup is None or offset is None or why_not:
                chosen = self._newest(room, most)
            else:
                had = lineup.had(offset)
                for found in had.intersection(room.on_the_way):
                    room.on_the_way[found].add(sid)
                chosen = [value for value in lineup.events() if id_of(value) not in had]
            sent = len(chosen)
            return chosen

        self._join(emitter, server, key, declared, sid, choose)
        if since is not None:
            self._tell_resumed(key, sid, why_not)
        return Rewound(offset=self._offset_of(key, declared, sid), complete=not why_not, sent=sent)

    def _tell_resumed(self, key: Key, sid: str, why_not: str) -> None:
        with self._lock:
            if why_not:
                self._incomplete[why_not] += 1
            else:
                self._resumed += 1
        if why_not:
            namespace, room = key
            self._observers.history_incomplete(sid=sid, namespace=namespace, room=room, reason=why_not)

    def _check(self, key: Key, sid: str, most: int) -> tuple[OwnServer, Declaration]:
        server, declared = self._server, self._declared(key)
        if most < 0:
            raise ValueError(f"rewind={most!r} must be a number of events")
        if server is None or not server.is_connected(sid, key[0]):
            raise ValueError(f"rewind= is for a client of this server, and sid {sid!r} is not connected here")
        return server, declared

    def _declared(self, key: Key) -> Declaration:
        namespace, room_name = key
        declared = self._declarations.find(namespace, room_name)
        if declared is None:
            raise ValueError(
                f"room {room_name!r} of namespace {namespace!r} has no history to rewind: "
                f"socketio.history({room_name!r})"
            )
        return declared

    def _newest(self, room: _Room, most: int) -> Sequence[bytes]:
        return self._memory.read(room.stream, limit=most).values

    def _join(
        self,
        emitter: Emitter,
        server: OwnServer,
        key: Key,
        declared: Declaration,
        sid: str,
        choose: Callable[[_Room], Sequence[bytes]],
    ) -> None:
        """Put a client into a room and send it what was chosen, then what has come meanwhile."""
        namespace, room_name = key
        waiting: Waiting = deque()
        with self._lock:
            room = self._room(key, declared)
            if sid in room.joining or room_name in _rooms_of(server, sid, namespace):
                return
            room.joining[sid] = waiting
            before = set(room.deliveries)
            kept = choose(room)
            for value in kept if room.on_the_way else ():
                given = room.on_the_way.get(id_of(value))
                if given is not None:
                    given.add(sid)
        try:
            self._wait_for(room, before)
            emitter.enter_room(sid, room_name, namespace)
            self._send(server, sid, namespace, [(value, None) for value in kept], declared)
            while True:
                with self._lock:
                    if not waiting:
                        del room.joining[sid]
                        return
                    come = list(waiting)
                    waiting.clear()
                self._send(server, sid, namespace, come, declared)
        finally:
            with self._lock:
                room.joining.pop(sid, None)

    def _wait_for(self, room: _Room, deliveries: set[int]) -> None:
        deadline_s = time.monotonic() + DELIVERY_S
        while not room.deliveries.isdisjoint(deliveries) and time.monotonic() < deadline_s:
            self._mode.sleep(PAUSE_S)

    def _send(
        self,
        server: OwnServer,
        sid: str,
        namespace: str,
        events: Iterable[tuple[bytes, Origin | None]],
        declared: Declaration,
    ) -> None:
        for value, origin in events:
            found = self._unpack(value)
            if found is None:
                continue
            event, skip, exclude, *args = found
            if declared.ids:
                args.append(short_id_of(value))
            if sid in skip:
                continue
            hidden = {room_from_wire(room) for room in exclude}
            if hidden and (sid in hidden or not hidden.isdisjoint(_rooms_of(server, sid, namespace))):
                continue
            try:
                server.emit(Emission(event, tuple(args), namespace, (sid,)), origin)
            except InvalidData as error:
                self._log("an event that was kept cannot be sent", error)

    def _unpack(self, kept: bytes) -> tuple[Any, ...] | None:
        """Return an event, who and which rooms do not receive it, and its arguments; ``None`` if it is none."""
        try:
            event, skip, exclude, *args = self._packing.load(kept[HEAD.size :])
        except (ValueError, TypeError, Malformed) as error:  # others put it into the store, or have sent it
            self._log("what was kept of a room cannot be read", error)
            return None
        return event, skip, exclude, *args

    # offsets

    def _stretch(self, key: Key, declared: Declaration) -> Stretch | None:
        """Return what the store has of a room; without a store an empty one, and ``None`` if it is away."""
        if self._store is None:
            self._load(key, declared)
            return Stretch()
        try:
            return self._store.read(_stream_name(*key), limit=declared.size)
        except StoreError as error:
            self._log("what the store has kept of a room cannot be had", error)
            with self._lock:
                self._store_errors += 1
            return None

    def _lineup(self, room: _Room, stretch: Stretch | None, declared: Declaration) -> Lineup | None:
        """Return what is kept of a room. Called with the lock.

        :param stretch: what :meth:`_stretch` has returned just before.
        """
        if self._store is None:
            return Lineup(self._memory.read(room.stream, limit=MOST_KEPT))
        if stretch is None:
            return None
        lineup = Lineup(stretch, self._put_before(room, stretch.values, declared))
        room.loaded = True
        return lineup

    def _numbered(
        self, key: Key, declared: Declaration, sid: str | None = None
    ) -> tuple[Lineup | None, Offset | None]:
        """Return what is kept of a room, and the offset of who has it.

        What was emitted just now is in the store soon, and until then has no number: it is waited for.

        :param sid: a member, whose offset it is: by what this server has sent to it when this returns. What is on its
            way to it is not had.
        """
        deadline_s = time.monotonic() + OFFSET_S
        while True:
            stretch = self._stretch(key, declared)
            with self._lock:
                room = self._room(key, declared)
                lineup, deliveries = self._lineup(room, stretch, declared), set(room.deliveries)
                missing = {found for found, given in room.on_the_way.items() if sid and sid not in given}
            offset = None if lineup is None else lineup.offset(missing)
            if offset is not None or lineup is None or lineup.is_empty or _will_not_be_stored(lineup):
                break
            if time.monotonic() > deadline_s:
                break
            self._mode.sleep(AGAIN_OFFSET_S)
        if sid is not None:
            self._wait_for(room, deliveries)  # or the client would be told before it is sent them
        return lineup, offset

    def _offset_of(self, key: Key, declared: Declaration, sid: str) -> str | None:
        """Return up to where a member has everything that was sent to a room."""
        _, offset = self._numbered(key, declared, sid)
        return None if offset is None else str(offset)

    def read(self, room_name: Any, namespace: str, since: object, most: int | None) -> HistoryPart:
        """Return what is kept of a room.

        :param since: an offset to begin behind; ``None`` for the newest there are.
        :param most: most events to return; ``None`` for all.
        :raises ValueError: if the room has no history.
        :raises RuntimeError: in a process that only sends, without a store.
        :raises StoreError: in a process that only sends, if the store is away.
        """
        key = (namespace, room_name)
        declared = self._declared(key)
        if most is not None and most < 0:
            raise ValueError(f"size={most!r} must be a number of events")
        lineup = self._lineup_elsewhere(key, declared) if self._server is None else None
        if lineup is None:
            lineup, _ = self._numbered(key, declared)
        if lineup is None:
            with self._lock:
                found = [(value, None) for value in self._kept_in(self._room(key, declared))]
            return self._part(_last(found, most), None, complete=False)
        offset = parse(since)
        if offset is not None and not lineup.why_not(offset):
            events = list(islice(lineup.offsets(lineup.had(offset)), most))
            behind = offset if most == 0 else lineup.offset()
            return self._part(events, None if behind is None else str(behind), complete=True)
        events = list(lineup.offsets(frozenset()))
        now = lineup.offset()
        return self._part(_last(events, most), None if now is None else str(now), complete=False)

    def _lineup_elsewhere(self, key: Key, declared: Declaration) -> Lineup:
        """Return what is kept of a room, in a process that keeps nothing itself."""
        if self._store is None:
            raise RuntimeError(
                "a process that only sends keeps no history: read it in a process that serves, or name a store for all "
                "of them with store="
            )
        return Lineup(self._store.read(_stream_name(*key), limit=declared.size))

    def _part(
        self, events: Iterable[tuple[bytes, Offset | None]], offset: str | None, *, complete: bool
    ) -> HistoryPart:
        """Return some events with what is said of them.

        :param offset: that of who has read none of them, or nothing else.
        """
        kept = []
        for value, behind in events:
            emission = self._unpack(value)
            if emission is not None:
                event, _, _, *args = emission
                at = None if behind is None else str(behind)
                kept.append(
                    KeptEvent(
                        event=event,
                        args=tuple(args),
                        id=short_id_of(value),
                        at=time_of(value),
                        offset=at,
                    )
                )
        return HistoryPart(events=tuple(kept), offset=kept[-1].offset if kept else offset, complete=complete)

    # what others have kept

    def reload(self) -> None:
        """Ask the others again, after this server was cut off from them."""
        with self._lock:
            for room in self._rooms.values():
                room.loaded = False

    def answer(self, question: Any, node: str) -> Any:
        """Answer what another server asks: how much there is of a room, or what."""
        namespace, room_name = question["namespace"], room_from_wire(question["room"])
        with self._lock:
            room = self._rooms.get((namespace, room_name))
            kept = () if room is None else self._memory.read(room.stream, limit=question["most"]).values
        return len(kept) if question["count"] else list(kept)

    def _load(self, key: Key, declared: Declaration) -> None:
        """Get what others have kept, if that is to be done; those who join meanwhile wait for it."""
        mine = self._mode.create_event()
        with self._lock:
            room = self._room(key, declared)
            if room.loaded or time.monotonic() < room.not_before_s:
                return
            loading, room.loading = room.loading, room.loading or mine
        if loading is not None:
            loading.wait(LOAD_S)
            return
        try:
            self._load_now(key, declared)
        finally:
            room.loading = None
            mine.set()

    def _load_now(self, key: Key, declared: Declaration) -> None:
        try:
            theirs = (
                self._from_store(key, declared)
                if self._store is not None
                else self._from_others(key, declared)
            )
        except SocketIOError as error:
            self._log("what other servers have kept of a room cannot be had", error)
            with self._lock:
                self._store_errors += self._store is not None
                self._room(key, declared).not_before_s = time.monotonic() + AGAIN_S
            return
        with self._lock:
            room = self._room(key, declared)
            self._put_before(room, theirs, declared)
            room.loaded = True

    def _from_store(self, key: Key, declared: Declaration) -> Iterable[bytes]:
        assert self._store is not None
        return self._store.read(_stream_name(*key), limit=declared.size).values

    def _from_others(self, key: Key, declared: Declaration) -> Iterable[bytes]:
        """Return what the server has kept that has most: each has all, unless it has just started, too."""
        question = {"namespace": key[0], "room": key[1], "most": declared.size, "count": True}
        ask = partial(self._servers.ask, HISTORY, timeout_s=ASK_S, include_self=False)
        answers = ask(question, node=None).answers
        counts = {node: size for node, size in answers.items() if isinstance(size, int) and size > 0}
        if not counts:
            return ()
        node = max(counts, key=lambda node: counts[node])
        found = ask({**question, "count": False}, node=node).answers.get(node)
        return [value for value in found if isinstance(value, bytes)] if isinstance(found, list) else ()

    def _put_before(self, room: _Room, theirs: Iterable[bytes], declared: Declaration) -> list[bytes]:
        """Take in what others have kept; return what only this server has, and others perhaps soon.

        Called with the lock.
        """
        theirs = [value for value in theirs if is_event(value)]
        kept, seen = self._kept_in(room), set(room.seen)
        mine = {id_of(value) for value in kept}
        merged, place = merge(theirs, kept, seen)
        heard_elsewhere = [found for found in map(id_of, theirs) if found not in mine and found not in seen]
        if heard_elsewhere:
            room.stream = uuid.uuid4().hex
            now = time.time()
            for value in merged:
                ttl_s = declared.ttl_s - (now - time_of(value))
                if ttl_s > 0:
                    self._append(room, value, declared, min(ttl_s, declared.ttl_s))
            here = {id_of(value) for value in self._kept_in(room)}
            room.on_the_way.update({found: set() for found in heard_elsewhere if found in here})
            room.known_until_s = time.monotonic() + ON_THE_WAY_S
        return merged[place:]

    # what is kept

    def _dump(self, emission: Emission) -> bytes | None:
        """Return what is kept of an event; ``None`` if it is nothing that can be sent."""
        event_id = (emission.keep or "").encode()
        if len(event_id) != ID_BYTES:
            return None  # it is none of ours
        try:
            body = self._packing.dump(
                emission.event, sorted(emission.skip), list(emission.exclude), *emission.args
            )
        except (TypeError, ValueError, OverflowError, RecursionError):
            return None
        return HEAD.pack(event_id, time.time()) + body

    def _log(self, what: str, error: Exception | None) -> None:
        more = self._repeats.take((what, None if error is None else kind_of(error)))
        if more is not None:
            logger.error("%s%s%s", what, "" if error is None else f": {type(error).__name__}: {error}", more)


def _last(
    events: Sequence[tuple[bytes, Offset | None]], most: int | None
) -> Sequence[tuple[bytes, Offset | None]]:
    return events if most is None else events[max(len(events) - most, 0) :]


def _will_not_be_stored(lineup: Lineup) -> bool:
    """Return whether what is not in the store is older than the way there takes: it was lost, there or before."""
    return bool(lineup.besides) and time.time() - max(map(time_of, lineup.besides)) > OFFSET_S


def _is_too_large(kept: bytes, declared: Declaration) -> bool:
    """Return whether an event alone is more than may be kept."""
    return len(kept) > min(declared.max_bytes, MEMORY["max_bytes"] // 2)


def _rooms_of(server: OwnServer, sid: str, namespace: str) -> Iterable[Any]:
    try:
        return server.rooms(sid, namespace)
    except KeyError:
        return ()  # it has left


def _stream_name(namespace: str, room: Hashable) -> str:
    return f"history:{hashlib.sha256(repr((namespace, room)).encode()).hexdigest()}"
