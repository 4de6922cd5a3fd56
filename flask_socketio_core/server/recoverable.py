"""What a client that has lost its connection comes back to: the events that it was sent, in the order of writing.

Events are kept once, however many clients they are for, and forgotten when they are old or too much.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

from ..transport.packets import Outgoing
from .phase import Phase

if TYPE_CHECKING:
    from ..contracts import Lock
    from ..transport.session import Log

EVENT_BYTES = 500
"""What an event takes in memory besides the bytes that are sent."""

STATE_BYTES = 1_000
"""What a state takes besides its events, to be told of."""

VOLATILE_PLACES = 3_000
"""So many volatile events have a place beside those that are sent again, for a client may have had any of them last:
60 a second until it is noticed that it hears nothing any more, 45 s later with the default ping times."""

OFFSET_BYTES = 30
"""What an offset takes there."""

SPARE = 8
"""When there are too many bytes, one part in so many is made free at once."""

NOTHING = Outgoing(())
"""Stands for a packet that is not known."""

CONNECTED = Phase.CONNECTED
GONE = Phase.GONE


class Connection(Protocol):
    """What carries packets to a client."""

    lock: Lock
    closed: bool

    def send_noted(self, outgoing: Outgoing, volatile: bool, log: Log, entry: Any, /) -> bool:
        """Send a packet and note it in one step, under the lock; ``False`` if it was not noted."""


class Holder(Protocol):
    """The client that has a state, or had it last."""

    @property
    def phase(self) -> Phase:
        """Where it stands in its life."""

    @property
    def session(self) -> Connection:
        """Its connection."""

    def send(self, outgoing: Outgoing, volatile: bool = False) -> bool:
        """Send a packet, or hold it back until it is accepted."""

    def send_noted(self, outgoing: Outgoing, volatile: bool, log: Log, entry: Any, /) -> bool:
        """Send a packet, or hold it back, and note it in the same step; ``False`` if it was not noted."""


class Origin(Protocol):
    """Which message of which server an event came with, on a message queue."""

    @property
    def node(self) -> str:
        """The server that has sent it."""

    @property
    def seq(self) -> int | None:
        """Its number among that server's messages; ``None`` before it has one."""


class Presented(NamedTuple):
    """What a client that comes back presents."""

    pid: str
    offset: str | None


class Flight(Protocol):
    """An event that is on its way to clients."""


class Unrecoverable(Exception):
    """A state cannot be recovered; why is its text."""


class OnItsWay(Unrecoverable):
    """A state is being given from one server to another one."""


class Event:
    """One event that may have to be sent again.

    :param outgoing: its packet; ``None`` once it is forgotten.
    :param repeatable: whether it is sent again; a volatile one only has an offset.
    :param origin: where it came from; ``None`` for one of this process that no other server hears.
    """

    __slots__ = ("at_s", "forgotten", "offset", "origin", "outgoing", "repeatable", "size")

    def __init__(
        self,
        offset: str,
        outgoing: Outgoing,
        at_s: float,
        repeatable: bool,
        origin: Origin | None = None,
    ) -> None:
        self.offset = offset
        self.outgoing: Outgoing | None = outgoing if repeatable else None
        self.at_s = at_s
        self.repeatable = repeatable
        self.forgotten = False
        self.origin = origin
        packets_and_frames = 2 * len(outgoing.frames) if repeatable else 0
        self.size = EVENT_BYTES + packets_and_frames

    @classmethod
    def without_packet(cls, offset: str, *, repeatable: bool) -> Event:
        """Return one of which nothing but its offset is known.

        :param repeatable: whether it would have to be sent again.
        """
        event = cls(offset, NOTHING, 0.0, repeatable)
        event.outgoing, event.forgotten = None, repeatable
        return event


class EventLog:
    """The events of a process that may have to be sent again, the oldest first. Thread-safe.

    :param lock: held for a few instructions.
    :param max_age_s: how long an event may be needed, seconds.
    """

    def __init__(
        self, lock: Lock, *, max_bytes: int, max_namespace_bytes: int | None, max_age_s: float
    ) -> None:
        self._lock = lock
        self._max_bytes = max_bytes
        self._max_namespace_bytes = max_bytes if max_namespace_bytes is None else max_namespace_bytes
        self._max_age_s = max_age_s
        self._namespaces: dict[str, _Kept] = {}
        self.size_bytes = 0
        self.evicted = 0
        """How many were forgotten because they were too much, not because they were old."""
        self.forgotten = 0
        """How many were forgotten at all."""

    def __len__(self) -> int:
        with self._lock:
            return sum(len(kept.events) for kept in self._namespaces.values())

    def add(self, namespace: str, event: Event) -> None:
        """Keep an event, and forget what is too much then."""
        size = event.size
        with self._lock:
            kept = self._namespaces.get(namespace)
            if kept is None:
                kept = self._namespaces[namespace] = _Kept()
            kept.events.append(event)
            kept.size_bytes += size
            self.size_bytes += size
            if kept.size_bytes > self._max_namespace_bytes:
                self._make_room(namespace, self._max_namespace_bytes)
            while self.size_bytes > self._max_bytes:
                largest, kept = max(self._namespaces.items(), key=lambda one: one[1].size_bytes)
                self._make_room(largest, kept.size_bytes - self._max_bytes // SPARE)

    def next_due(self) -> float | None:
        """Return when the oldest event is old, a clock reading in seconds."""
        with self._lock:
            if not self._namespaces:
                return None
            return min(kept.events[0].at_s for kept in self._namespaces.values()) + self._max_age_s

    def forget_old(self, now_s: float) -> None:
        """Forget what nobody can need any more."""
        before_s = now_s - self._max_age_s
        with self._lock:
            for namespace, kept in list(self._namespaces.items()):
                while kept.events and kept.events[0].at_s < before_s:
                    self._forget_first(namespace, kept)

    def _make_room(self, namespace: str, most_bytes: int) -> None:
        kept = self._namespaces[namespace]
        while kept.events and kept.size_bytes > most_bytes:
            self._forget_first(namespace, kept)
            self.evicted += 1

    def _forget_first(self, namespace: str, kept: _Kept) -> None:
        event = kept.events.popleft()
        event.forgotten, event.outgoing = True, None
        self.forgotten += 1
        self.size_bytes -= event.size
        kept.size_bytes -= event.size
        if not kept.events:
            del self._namespaces[namespace]


class _Kept:
    """The events of one namespace, the oldest first."""

    __slots__ = ("events", "size_bytes")

    def __init__(self) -> None:
        self.events: deque[Event] = deque()
        self.size_bytes = 0


H = TypeVar("H", bound=Holder)


class Released(NamedTuple):
    """What a server has kept of a client that is now another one's.

    :param sent: what the client was sent last, in order: with an offset, the event that it has had last and those that
        it has missed; otherwise all that is known.
    :param complete: whether that goes back to its CONNECT.
    :param origins: where all that it was sent came from.
    """

    sent: list[Event]
    complete: bool
    origins: list[Origin]


class State(Generic[H]):
    """What a client comes back to: its pid, and what it was sent, in the order in which it was written.

    It outlives connections; ``client`` is the one that has it now, or had it last.

    Writing to a client that is connected and noting it is one step under the lock of its session, and takes no other
    lock (:meth:`Session.send_noted`). When that session is closed nothing is written any more, and nobody has the state
    before. So ``lock`` guards all else, and ``sent`` while there is no connection; who reads ``sent``, or takes
    something out of it, holds both locks, unless the session is closed.

    :param lock: held for a few instructions, or while something is held back for the client.
    :param most: how many events it may be sent again.
    :param most_bytes: how many bytes these may have.
    """

    __slots__ = (
        "_lock",
        "_most",
        "_most_bytes",
        "_places",
        "client",
        "covered",
        "covers",
        "lost_at_s",
        "open",
        "pid",
        "presented_by",
        "sent",
        "then",
        "trimmed",
    )

    def __init__(self, pid: str, client: H, lock: Lock, most: int, most_bytes: int) -> None:
        self.pid = pid
        self.client = client
        self.sent: deque[Event] | None = None
        self.trimmed: str | None = None
        """Why ``sent`` does not go back to the CONNECT any more; ``None`` if it does, unless it is full."""
        self.open = True
        self.lost_at_s: float | None = None
        self.covered: Callable[[Origin], bool] | None = None
        """Says what that server has noted, although it arrives here as well."""
        self.covers: list[Any] = []
        """What it follows from, for the next server."""
        self.presented_by = client
        """The client that has presented the pid last."""
        self.then: list[Callable[[], object]] = []
        """What waits for the end of the client's disconnect handler."""
        self._lock = lock
        self._most = most
        self._most_bytes = most_bytes
        self._places = most + 1 + VOLATILE_PLACES

    def deliver(self, event: Event, outgoing: Outgoing, volatile: bool) -> None:
        """Send an event, or keep it for when the client is back."""
        with self._lock:
            covered = self.covered  # which becomes None at any moment
            if covered is not None and event.origin is not None and covered(event.origin):
                return
            sent, client = self._sent(), self.client
            if client.phase is not GONE and client.send_noted(outgoing, volatile, sent, event):
                return
            if self.open and not volatile:
                sent.append(event)

    def _sent(self) -> deque[Event]:
        if self.sent is None:
            self.sent = deque(maxlen=self._places)
        return self.sent

    @property
    def _complete(self) -> bool:
        """Whether ``sent`` goes back to the CONNECT; of a full one that is not known."""
        return self.trimmed is None and len(self.sent or ()) < self._places

    def trim(self) -> None:
        """Let go of events that are forgotten, as far as nobody can come back who had them last."""
        if self.sent and self.sent[0].forgotten:
            with self._lock, self.client.session.lock:
                self._trim(self.sent)

    def _trim(self, sent: deque[Event]) -> None:
        while len(sent) > 1 and sent[1].forgotten:  # who had the one before would need it
            sent.popleft()
            self.trimmed = "events forgotten"

    def check(self, offset: str | None) -> None:
        """Find out whether nothing that is needed was forgotten.

        :raises Unrecoverable: if that cannot be said.
        """
        with self._lock, self.client.session.lock:
            self._missed(offset)

    def _missed(self, offset: str | None) -> tuple[int, list[tuple[Event, Outgoing]]]:
        """Return how many events the client has, and the others that it is to have, with their packets.

        :param offset: of the last one that it has: ``None`` or one of an earlier pid, which the official client does
            not forget, if it has had none since it joined.
        """
        sent = self.sent or ()
        behind = next((n for n, event in enumerate(reversed(sent)) if event.offset == offset), None)
        if behind is not None:
            known = len(sent) - behind
        elif self._complete:  # each of them would have been noted as the last one: it has had none
            known = 0
        else:
            raise Unrecoverable(self.trimmed or "too many events")
        return known, self._packets_of(islice(sent, known, None))

    def _packets_of(self, events: Iterable[Event]) -> list[tuple[Event, Outgoing]]:
        found = []
        for event in events:
            if event.repeatable:
                outgoing = event.outgoing  # looked at once: another thread may forget it at any moment
                if outgoing is None:
                    raise Unrecoverable("events forgotten")
                found.append((event, outgoing))
        if len(found) > self._most or sum(outgoing.size for _, outgoing in found) > self._most_bytes:
            raise Unrecoverable("too many events")
        return found

    def take(self, new: H, offset: str | None, put: Callable[[int], bool]) -> None:
        """Let a client that is back have it, and hold back for it what it has missed.

        :param put: puts the new client, which has missed so many events, in the place of the old one; ``False`` if
            another one was faster, or it is not kept any more.
        :raises Unrecoverable: in that case, or if it is incomplete.
        """
        with self._lock:
            if not self.client.session.closed:  # it was disconnected, which is about to be noted here
                raise Unrecoverable("unknown")
            known, missed = self._missed(offset)
            if not put(len(missed)):
                raise Unrecoverable("unknown")
            if not self._complete and self.trimmed is None:
                self.trimmed = "too many events"
            sent = self._sent()
            while len(sent) > known:
                sent.pop()
            for event, outgoing in missed:
                new.send(outgoing)
                sent.append(event)

    def size(self) -> int:
        """Return what it takes to tell another server of it, bytes; about."""
        with self._lock, self.client.session.lock:
            return STATE_BYTES + sum(
                OFFSET_BYTES + (0 if event.outgoing is None else event.outgoing.size)
                for event in self.sent or ()
            )

    def released(self, presented: Presented | None, leave_out: Callable[[Origin], bool]) -> Released:
        """Return what another server needs to go on; nothing more is noted here.

        :param presented: what the client has presented there; ``None`` if it has not come yet.
        :param leave_out: says what that server has noted itself.
        :raises Unrecoverable: if the client needs what was forgotten.
        """
        with self._lock, self.client.session.lock:
            self.open = False
            sent = list(self.sent or ())
            origins = [event.origin for event in sent if event.origin is not None]
            complete = self._complete
            if presented is not None:
                known, missed = self._missed(presented.offset)
                had = [Event.without_packet(sent[known - 1].offset, repeatable=False)] if known else []
                sent = [*had, *(event for event, _ in missed)]
                complete = complete and not known
            kept = [event for event in sent if event.origin is None or not leave_out(event.origin)]
            return Released(kept, complete, origins)

    def take_over(self, events: list[Event], complete: bool, covered: Callable[[Origin], bool]) -> None:
        """Go on from what another server has released, with what was noted here meanwhile behind it.

        :param complete: whether that goes back to the client's CONNECT.
        :param covered: says of what was noted here that the other server has noted it as well.
        """
        with self._lock:
            here = [event for event in self.sent or () if event.origin is None or not covered(event.origin)]
            if not self._complete:  # the first of these are missing, and with them the link to the others
                events, complete = [], False
            self.covered = covered
            self.trimmed = None if complete else "too many events"
            sent = self._sent()
            sent.clear()
            sent.extend(events)
            sent.extend(here)
