"""What a server shows to ``flask socketio top`` and ``tail``, which ask it again and again as long as somebody looks.

Each question holds for so many seconds, and is a lease: as long as one lasts, an observer of events is registered, and
what it has seen is the next answer. A command that was killed asks no more, and the first event after its lease finds
that out, and withdraws the observer: no timer runs, and while nobody looks an event costs what it always does.
"""

from __future__ import annotations

import dataclasses
import reprlib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from ..common.quoting import printable
from ..common.sendable import encode_strictly
from ..common.tracebacks import printable_error
from ..common.users import user as room_of_user
from ..contracts.fork import register_at_fork
from ..contracts.hookspecs import hookimpl
from ..server.interface import EVERYWHERE
from .handlers import ANY
from .users import REAUTH

if TYPE_CHECKING:
    from ..cluster.link import BusHealth
    from ..contracts import AsyncMode
    from ..selection import Plugins
    from ..server.interface import OwnServer

#: Seconds that a question holds, at most.
MOST_LEASE_S = 60.0
#: Processes that look at one server at a time.
MOST_WATCHERS = 16
#: Samples that wait for the next question of one of them.
MOST_SAMPLES = 100
#: Bytes of one answer, roughly.
ANSWER_BYTES = 131_072
#: Characters of a name, and of the arguments of one event.
NAME_CHARACTERS, ARGS_CHARACTERS = 100, 400
#: Rooms that are told of what was sent.
MOST_ROOMS = 5

LOGINS = ("connect", REAUTH)
"""Events whose arguments are what a client logs in with: never shown."""


@dataclass(slots=True)
class Counts:
    """What became of events since somebody looks.

    :param since_s: when that began, seconds of this server's monotonic clock.
    :param begun: handlers that have been called, and ``waited_s`` how long their events had waited for them together.
    :param handled: handlers that have returned or raised, and ``handled_s`` how long they took together.
    :param failed: those that raised.
    :param sent: events that clients of this server were sent, and ``recipients`` how many clients, together.
    """

    since_s: float
    begun: int = 0
    waited_s: float = 0.0
    handled: int = 0
    handled_s: float = 0.0
    failed: int = 0
    sent: int = 0
    recipients: int = 0


@dataclass(slots=True)
class _Tap:
    """What one process wants to see samples of.

    :param events: names; none for all.
    :param rooms: whose members, or to which, an event is; none for all.
    :param most: samples until the next question.
    :param seen: events that it would have liked to see.
    """

    namespace: str
    events: frozenset[str]
    rooms: frozenset[str]
    shows_args: bool
    most: int
    samples: list[dict[str, Any]] = field(default_factory=list)
    seen: int = 0

    @classmethod
    def of(cls, wanted: Mapping[str, Any]) -> _Tap:
        return cls(
            namespace=str(wanted["namespace"]),
            events=frozenset(map(str, wanted["events"])),
            rooms=frozenset(map(str, wanted["rooms"])),
            shows_args=wanted["args"] is True,
            most=min(int(wanted["most"]), MOST_SAMPLES),
        )

    def wants(self, namespace: str, event: str) -> bool:
        return self.namespace in (EVERYWHERE, namespace) and (not self.events or event in self.events)

    def has_one_of(self, rooms: Iterable[Any]) -> bool:
        return not self.rooms or any(str(room) in self.rooms for room in rooms)

    def takes_one(self) -> bool:
        """Count an event; return whether there is room for a sample of it."""
        self.seen += 1
        return len(self.samples) < self.most


class _Short(reprlib.Repr):
    """Python's notation of a part of a value, however large that is."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 4
        self.maxstring = self.maxother = self.maxlong = 80
        self.maxdict = self.maxlist = self.maxtuple = 8

    def repr_bytes(self, value: bytes, level: int) -> str:
        return f"<{len(value)} bytes>"


class Watched:
    """What one server shows, for one application.

    :param server: its clients.
    :param health: returns how the message queue is; ``None`` without one.
    :param most_bytes: returns how large a message may be, bytes; ``None`` for any size.
    """

    __name__ = "flask socketio top and tail"

    def __init__(
        self,
        plugins: Plugins,
        server: OwnServer,
        mode: AsyncMode,
        health: Callable[[], BusHealth | None],
        most_bytes: Callable[[], int | None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plugins = plugins
        self._server = server
        self._mode = mode
        self._health = health
        self._most_bytes = most_bytes
        self._clock = clock
        self._short = _Short()
        self._observes = False
        self._start_empty()
        register_at_fork(after_in_child=self._start_empty)

    def _start_empty(self) -> None:
        """Show nobody anything, also in a forked child, which another of the parent's threads has left as it was."""
        self._lock = self._mode.create_lock()
        self._leases: dict[str, float] = {}
        self._taps: dict[str, _Tap] = {}
        self._counts = Counts(self._clock())
        if self._observes:
            self._withdraw()

    @property
    def is_watched(self) -> bool:
        """Whether what clients do is observed."""
        return self._observes

    # ---------------------------------------------------------------------------------------------------- questions

    def answer(self, question: Mapping[str, Any], node: str) -> dict[str, Any] | None:
        """Answer the process that looks, of which there is one lease.

        :param question: ``lease_s``, how long it holds, seconds, with 0 for the end; and ``tap``, for samples, with the
            fields of ``_Tap``. Without it, for the numbers.
        :param node: id of who asks.
        :raises Exception: of whatever kind for what is no question; others may ask anything.
        """
        lease_s = min(float(question["lease_s"]), MOST_LEASE_S)
        wanted = question.get("tap")
        tap = None if wanted is None else _Tap.of(wanted)
        with self._lock:
            now_s = self._clock()
            self._end_leases(now_s, ended=node if lease_s <= 0 else None)
            if lease_s <= 0:
                return None
            if node not in self._leases and len(self._leases) >= MOST_WATCHERS:
                return {"refused": f"{MOST_WATCHERS} look already"}
            if not self._observes:
                self._counts = Counts(now_s)
                self._plugins.observe(self)
                self._observes = True
            self._leases[node] = now_s + lease_s
            if tap is not None:
                return self._samples(node, tap)
            counts = dataclasses.asdict(self._counts)
        return {**counts, "at_s": now_s, **self._numbers()}

    def _numbers(self) -> dict[str, Any]:
        load, health = self._server.load(), self._health()
        recovery = load.recovery
        return {
            "connections": sum(load.connections.values()),
            "clients": sum(load.clients.values()),
            "rooms": sum(load.rooms.values()),
            "max_workers": load.max_workers,
            "busy_workers": load.busy_workers,
            "waiting_handlers": load.waiting_handlers,
            "outbox_packets": load.outbox_packets,
            "outbox_bytes": load.outbox_bytes,
            "bus_waiting": 0 if health is None else health.waiting,
            "bus_lag_s": None if health is None else health.lag_s,
            "lost_clients": 0 if recovery is None else recovery.lost_clients,
            "recovered": 0 if recovery is None else recovery.recovered,
            "not_recovered": 0 if recovery is None else sum(recovery.failed.values()),
            "evicted_events": 0 if recovery is None else recovery.evicted_events,
        }

    def _samples(self, node: str, tap: _Tap) -> dict[str, Any]:
        """Return what was taken since the last question, as much as a message carries, and wait for more of it."""
        before = self._taps.get(node)
        taken: list[dict[str, Any]] = []
        if before is not None:
            tap.seen = before.seen
            most = self._most_bytes()
            room = ANSWER_BYTES if most is None else min(ANSWER_BYTES, most // 2)
            for sample in before.samples:
                room -= len(encode_strictly(sample))
                if room < 0:
                    break
                taken.append(sample)
        self._taps[node] = tap
        return {"samples": taken, "seen": tap.seen}

    def _end_leases(self, now_s: float, ended: str | None = None) -> bool:
        """Forget who looks no longer; return whether anybody does."""
        for node in [node for node, until_s in self._leases.items() if until_s <= now_s or node == ended]:
            del self._leases[node]
            self._taps.pop(node, None)
        if self._observes and not self._leases:
            self._withdraw()
        return self._observes

    def _withdraw(self) -> None:
        self._observes = False
        self._plugins.unobserve(self)

    # ------------------------------------------------------------------------------------------------- observations

    @hookimpl
    def socketio_event_before(
        self, sid: str, namespace: str, event: str, args: tuple[Any, ...], waited_s: float
    ) -> None:
        """Count an event whose handler is about to run."""
        if event == ANY and args and isinstance(args[0], str):  # a handler of all events gets the name first
            event, args = args[0], args[1:]
        with self._lock:
            if not self._end_leases(self._clock()):
                return
            self._counts.begun += 1
            self._counts.waited_s += waited_s
        for tap in self._takers(namespace, event, partial(self._rooms_of, sid, namespace)):
            details = {"sid": sid, "waited_ms": round(waited_s * 1000, 3)}
            self._keep(tap, "received", namespace, event, details, args)

    @hookimpl
    def socketio_event_after(self, duration_s: float) -> None:
        """Count a handler that has returned."""
        with self._lock:
            self._counts.handled += 1
            self._counts.handled_s += duration_s

    @hookimpl
    def socketio_event_error(
        self, sid: str, namespace: str, event: str, error: BaseException, duration_s: float
    ) -> None:
        """Count a handler that has raised."""
        with self._lock:
            if not self._end_leases(self._clock()):
                return
            self._counts.handled += 1
            self._counts.handled_s += duration_s
            self._counts.failed += 1
        for tap in self._takers(namespace, event, partial(self._rooms_of, sid, namespace)):
            text = printable_error(error) if tap.shows_args else type(error).__name__
            self._keep(tap, "failed", namespace, event, {"sid": sid, "error": text})

    @hookimpl
    def socketio_delivered(
        self,
        event: str,
        namespace: str,
        to: tuple[Any, ...] | None,
        args: tuple[Any, ...],
        recipients: int,
        size_bytes: int,
    ) -> None:
        """Count what clients of this server are sent."""
        with self._lock:
            if not self._end_leases(self._clock()) or not recipients:
                return
            self._counts.sent += 1
            self._counts.recipients += recipients
        for tap in self._takers(namespace, event, lambda: to or ()):
            rooms = None if to is None else [_name(str(room)) for room in to[:MOST_ROOMS]]
            details = {"to": rooms, "recipients": recipients, "size_bytes": size_bytes}
            self._keep(tap, "sent", namespace, event, details, args)

    def _takers(self, namespace: str, event: str, rooms: Callable[[], Iterable[Any]]) -> list[_Tap]:
        """Return who is to get a sample of an event, and count it for all who want to see it.

        :param rooms: returns whose it is.
        """
        taps = [tap for tap in list(self._taps.values()) if tap.wants(namespace, event)]
        if any(tap.rooms for tap in taps):
            found = list(rooms())
            taps = [tap for tap in taps if tap.has_one_of(found)]
        with self._lock:
            return [tap for tap in taps if tap.takes_one()]

    def _rooms_of(self, sid: str, namespace: str) -> list[str]:
        try:
            user = self._server.client(sid, namespace).user
            return [*self._server.rooms(sid, namespace), *([] if user is None else [room_of_user(user)])]
        except KeyError:  # it has just left
            return []

    def _keep(
        self,
        tap: _Tap,
        what: str,
        namespace: str,
        event: str,
        details: dict[str, Any],
        args: tuple[Any, ...] | None = None,
    ) -> None:
        """Keep a sample of bounded size. Without the lock: a value's own method may do anything to show it."""
        sample = {
            "at": time.time(),
            "what": what,
            "namespace": _name(namespace),
            "event": _name(event),
            **details,
        }
        if tap.shows_args and args is not None and event not in LOGINS:
            shown = ", ".join(map(self._short.repr, args[: self._short.maxtuple]))
            sample["args"] = printable(shown, ARGS_CHARACTERS)
        tap.samples.append(sample)


def _name(text: str) -> str:
    return printable(text, NAME_CHARACTERS)
