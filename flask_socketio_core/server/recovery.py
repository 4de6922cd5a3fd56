"""Connection state recovery: a client that has lost its connection comes back as the same one, and has missed nothing.

Each event without an acknowledgement carries an *offset* as its last argument, and each client that takes part is told
a secret *pid* beside its sid. When it comes back it presents both. What it was sent behind that offset is kept with its
state, in the order in which it was written, and what is emitted meanwhile is added to it as if it were still there: it
stays in its rooms. So nothing has to be looked for when it returns, and what it gets is exactly what it has missed.

====================  ==================================================================================
a client that         leaves
====================  ==================================================================================
loses its connection  its state, for ``window`` seconds; also when this process ends in an orderly way
disconnects itself    nothing, as one that is kicked, whose login ends, that breaks the protocol, or
                      that reads too slowly
====================  ==================================================================================

Events are kept once, however many clients they are for, and forgotten when they are old or too much. A client that
would need one of these starts anew: there is no recovery in part.

Source of the packets: socket.io-client 4.6 and later; of what is recovered: the reference server's
``connectionStateRecovery``, which skips the connect handler and forgets more.
"""

from __future__ import annotations

import math
import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Container, Iterable, Mapping
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol

from ..common.reasons import Reason
from ..contracts.clients import RecoveryLoad
from ..transport.packets import Outgoing
from ..transport.session import GOING_AWAY, Session
from .clients import Client
from .phase import Phase
from .recoverable import Event, EventLog, Flight, OnItsWay, Origin, Presented, State, Unrecoverable

if TYPE_CHECKING:
    from ..common.options import Options
    from ..common.recovery_settings import Recovery
    from ..contracts import AsyncMode, Lock
    from ..transport.server import EngineIOServer
    from ..transport.timer import Timed
    from ..websocket_protocol.deflate import Deflate
    from .clients import OwedAck
    from .interface import Application
    from .rooms import Namespaces

RECOVERABLE = (
    Reason.TRANSPORT_CLOSE,
    Reason.TRANSPORT_ERROR,
    Reason.PING_TIMEOUT,
    Reason.SHUTDOWN,
    Reason.CLIENT_DISCONNECT,
)
"""Why a connection may have ended that its client comes back from; compared with ``is``, for others are equal.

A client that closes its connection says so of the Engine.IO one, as it does when a poll has failed; who leaves a
namespace sends that a DISCONNECT first, with which it does not come back. Source: socket.io, ``socket.ts``.
"""

RETRY_S = 0.05
"""How long a client that is back waits before it looks again whether an earlier connection of its is out of the way."""

LOOK_S = 15.0
"""How long the state of a client is looked for, seconds; it may be on its way from one server to another."""

GIVEN_S = 5.0
"""How long after a state was given away whoever asks for it is told to ask again, seconds."""

PATIENCE_S = 1.0
"""How long a client that is back waits for the handlers of its earlier connection, seconds."""

CONNECT_BYTES = 1000
"""What a CONNECT packet takes at most; with the longest name of a namespace by default it is a fifth of that."""

TRIM_EVENTS = 20_000
"""After so many events that were forgotten the states let go of them, if it was not time before; 4 MB or so."""

GONE = Phase.GONE


class Elsewhere(Protocol):
    """The other servers, of which one may have what a client comes back to."""

    @property
    def node(self) -> str:
        """This server's name among them."""

    def begin(self) -> Flight:
        """Note an event of this process that is about to be delivered, and that no other server hears."""

    def end(self, flight: Flight) -> None:
        """Note that it was."""

    def seek(self, client: Client, presented: Presented, ask: Callable[[], object], until: float) -> None:
        """Look for a client's state, and begin anew if there is none; must not block.

        :param ask: what follows, whatever comes of it.
        :param until: when it is looked for no more, a clock reading in seconds.
        """

    def lost_since(self, at_s: float) -> bool:
        """Return whether messages of theirs may be missing that were sent after a clock reading."""


class Surroundings(Protocol):
    """What the connections of a process have in common; see :class:`~flask_socketio_core.server.shared.Shared`."""

    application: Application
    options: Options
    mode: AsyncMode
    eio: EngineIOServer
    namespaces: Namespaces

    def tell_left(self, rooms: Iterable[Any], client: Client) -> None:
        """Tell of the rooms that a client was in and is no longer."""

    def tell_not_recovered(self, client: Client, reason: str) -> None:
        """Tell of a client that wanted to come back and has to start anew."""


class Recoveries:
    """The states of all clients of a process, connected ones and lost ones. Thread-safe.

    :param shared: what the connections have in common.
    """

    def __init__(self, settings: Recovery, shared: Surroundings) -> None:
        self._settings = settings
        self._shared = shared
        # What a connection's outbox does not take, behind it the CONNECT, would be dropped or end the connection.
        self._limits = (
            min(settings.max_events, shared.options.outbox_max_packets - 1),
            max(shared.options.outbox_max_bytes - CONNECT_BYTES, 0),
        )
        self._create_lock = shared.mode.create_lock
        self._clock = shared.eio.clock
        self.elsewhere: Elsewhere | None = None
        self.forget_all()

    def forget_all(self) -> None:
        """Begin with nothing, as in a forked child: the clients are the parent's."""
        settings, options, create_lock = self._settings, self._shared.options, self._create_lock
        self.slot = -1
        self._lock = create_lock()
        self.log = EventLog(
            create_lock(),
            max_bytes=settings.max_bytes,
            max_namespace_bytes=settings.max_namespace_bytes,
            # A client that has stopped to hear is noticed so late.
            max_age_s=settings.window + options.ping_interval + options.ping_timeout,
        )
        self.epoch = secrets.token_urlsafe(6)
        """With which the offsets of this process begin; behind it comes a number."""
        self.numbers = count(1)
        self._states: dict[str, State[Client]] = {}
        self._lost: OrderedDict[str, State[Client]] = OrderedDict()  # who was lost first is first
        self._trimmed_at = 0  # so many events had been forgotten when the states let go of them last
        self._trim_again_s = 0.0
        # Who asks for a state that another server may have, until it has that.
        self._coming: dict[str, Client] = {}
        self._given: dict[str, float] = {}  # when states were given to other servers, the oldest first
        self._counts: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()

    # events

    def keep(
        self, offset: str, outgoing: Outgoing, namespace: str, volatile: bool, origin: Origin | None
    ) -> Event:
        """Keep an event for who comes back.

        :param origin: the message that it comes with, if other servers hear it as well.
        """
        event = Event(offset, outgoing, self._clock(), not volatile, origin)
        log = self.log
        log.add(namespace, event)
        if self.slot < 0:
            self._watch()
        if log.forgotten - self._trimmed_at > TRIM_EVENTS:
            self._trim()
        return event

    # clients that come

    def begin(self, client: Client, auth: Any, ask: Callable[[Any], object]) -> None:
        """Find out whether a client that connects is one that is back.

        :param ask: called with its auth when that is known: the application is asked then.
        """
        rest, presented = _take_presented(auth)
        if not self._takes_part(client, rest):
            ask(auth)  # where these words are the application's own
            return
        auth = rest
        if presented is None:
            self._admit(client)
            ask(auth)
            return
        self._look_for(client, presented, partial(ask, auth), self._clock() + LOOK_S)

    def _look_for(
        self, client: Client, presented: Presented, ask: Callable[[], object], until: float
    ) -> None:
        if client.phase is GONE:
            ask()  # as any other that has left by now
            return
        with self._lock:
            other, state = self._coming.get(presented.pid), self._states.get(presented.pid)
            if other is None and state is None and self.elsewhere is not None:
                self._coming[presented.pid] = client
        if other is not None:  # from another server, for a connection before this one
            _end(other)
            self._look_later(client, presented, ask, until)
            return
        if state is None and self.elsewhere is not None:
            try:
                self.elsewhere.seek(client, presented, ask, until)
            except BaseException:  # no thread left
                self._await_no_more(client, presented.pid)
                raise
            return
        if state is None or state.client.namespace != client.namespace:
            self.begin_anew(client, "unknown", ask)
            return
        try:
            self._check(state, presented.offset)
        except Unrecoverable as error:
            self.close(state.client)
            self.begin_anew(client, str(error), ask)
            return
        state.presented_by = client
        self._succeed(state, client, presented.offset, ask)

    def _look_later(
        self, client: Client, presented: Presented, ask: Callable[[], object], until: float
    ) -> None:
        if self._clock() < until:
            look = partial(self._look_for, client, presented, ask, until)
            self._shared.mode.call_later(RETRY_S, look)
        else:
            self._find_nothing(client, "no answer", ask)

    def _takes_part(self, client: Client, auth: Any) -> bool:
        try:
            return bool(self._settings.clients(client.environ, auth))
        except Exception as error:  # noqa: BLE001  # the application's function may raise anything
            self._shared.eio.report(error, "the function clients of the option recovery")
            return False

    def _admit(self, client: Client) -> None:
        """Give a client a state of its own."""
        # It says which server to ask for it.
        pid = f"{self.elsewhere.node if self.elsewhere is not None else ''}.{secrets.token_urlsafe(18)}"
        state = State(pid, client, self._create_lock(), *self._limits)
        client.recovery = state
        self._states[pid] = state
        if client.phase is GONE:  # it has left at this very moment
            self.lose(client, client.reason)

    def _succeed(
        self, state: State[Client], client: Client, offset: str | None, ask: Callable[[], object]
    ) -> None:
        """Let a client have a state when the one that had it is gone, and its handlers have run."""
        old = state.client
        if old.phase is not GONE:  # it is back before its loss was noticed
            _end(old)
        resume = partial(self.resume, state, old, client, offset, ask)
        with self._lock:
            waits = not old.forgotten  # also for a connect handler that has not decided
            if waits:
                once = _Once(resume)
                state.then.append(once)
        if waits:
            self._shared.mode.call_later(PATIENCE_S, once)
        else:
            resume()

    def resume(
        self,
        state: State[Client],
        old: Client,
        client: Client,
        offset: str | None,
        ask: Callable[[], object],
    ) -> None:
        """Let a client that is back have its state.

        :param old: who had it, and is gone, with its handlers, or stands for who has had it at another server.
        """
        if state.presented_by is not client:  # but a connection that is newer
            _end(client)
        if client.phase is GONE:
            if self._coming.get(state.pid) is client:  # it was brought here for this one
                self.lose(old, client.reason)
                self._await_no_more(client, state.pid)
            ask()  # as any other that has left by now; the state waits for the next connection
            return
        if state.client is not old:  # an earlier connection has had it meanwhile
            self._succeed(state, client, offset, ask)
            return
        try:
            state.take(client, offset, partial(self._put, state, old, client))
        except Unrecoverable as error:
            self._abandon(state, old)
            self._await_no_more(client, state.pid)
            self._find_nothing(client, str(error), ask)
            return
        if client.phase is GONE:  # it has left at this very moment
            self.lose(client, client.reason)
        client.expires_at = old.expires_at
        self._shared.application.on_recovered(client, old)
        ask()

    def _put(self, state: State[Client], old: Client, new: Client, missed: int) -> bool:
        with self._lock:
            if not state.open or state.client is not old or self._states.get(state.pid) is not state:
                return False  # closed, another connection's, or just given to another server
            state.client, state.lost_at_s, new.recovery = new, None, state
            self._lost.pop(state.pid, None)
            self._coming.pop(state.pid, None)
            self._counts["recovered"] += 1
        replaced = self._shared.namespaces.replace(old, new, missed)
        assert replaced  # who is not in its namespace any more has no open state
        return True

    def _abandon(self, state: State[Client], old: Client) -> None:
        """Keep a state no longer that its client could not have, unless somebody else has it."""
        with self._lock:
            if self._states.get(state.pid) is not state or state.client is not old:
                return
            self._shut(state)
        self._clear(old)

    def _check(self, state: State[Client], offset: str | None) -> None:
        """Find out whether it is certain what a client has missed.

        :raises Unrecoverable: if it is not.
        """
        ends_at = state.client.expires_at
        if ends_at is not None and ends_at <= time.time():
            raise Unrecoverable("login ended")
        state.check(offset)
        options, elsewhere = self._shared.options, self.elsewhere
        if elsewhere is not None:
            left_s = self._clock() if state.lost_at_s is None else state.lost_at_s
            if elsewhere.lost_since(left_s - options.ping_interval - options.ping_timeout):
                raise Unrecoverable("messages lost")

    # between servers

    def leave(self, pid: str, namespace: str, offset: str | None) -> Client | None:
        """Have the client that has a state leave, for it is back at another server; ``None`` if there is none.

        Blocks until its disconnect handler has run, for a while.

        :raises OnItsWay: if it comes here just now, or was given away a moment ago.
        :raises Unrecoverable: if that server cannot have the state.
        """
        if (earlier := self._coming.get(pid)) is not None:
            _end(earlier)
            raise OnItsWay("no answer")
        state = self._states.get(pid)
        if state is None and self._clock() - self._given.get(pid, -math.inf) < GIVEN_S:
            raise OnItsWay("no answer")
        if state is None or state.client.namespace != namespace:
            return None
        try:
            self._check(state, offset)
        except Unrecoverable:
            self.close(state.client)
            raise
        old = state.client
        if old.phase is not GONE:
            _end(old)
        done = self._shared.mode.create_event()
        with self._lock:
            waits = not old.forgotten  # as in _succeed()
            if waits:
                state.then.append(done.set)
        if waits:
            done.wait(PATIENCE_S)
        return old

    @property
    def some_come(self) -> bool:
        """Whether states are on their way here, as far as is known."""
        return bool(self._coming)

    def holder(self, pid: str) -> Client | None:
        """Return the client that has a state."""
        state = self._states.get(pid)
        return None if state is None else state.client

    def release(self, pid: str, client: Client) -> State[Client] | None:
        """Take a client that has left out of its rooms, and its state out of what is kept here; must not block.

        What is on its way to it may still be noted.
        """
        with self._lock:
            state = self._states.get(pid)
            if state is None or not state.open or state.client is not client or client.phase is not GONE:
                return None
            if not client.session.closed:  # it was disconnected, which is about to be noted here
                return None
            del self._states[pid]
            self._lost.pop(pid, None)
            self._note_given(pid)
        self._shared.namespaces.remove(client)
        return state

    def _note_given(self, pid: str) -> None:
        now_s = self._clock()
        while self._given and now_s - next(iter(self._given.values())) > GIVEN_S:
            del self._given[next(iter(self._given))]
        self._given.pop(pid, None)
        self._given[pid] = now_s

    def pack(self, client: Client) -> dict[str, Any]:
        """Return what another server has to know of a client, ready for JSON if the application's data is.

        :raises TypeError: if its session is not.
        """
        return {
            "data": client.data,
            "user": client.user,
            "user_session": client.user_session,
            "away_s": self._away_s(client),
            "expires_at": client.expires_at,
            "session": self._shared.application.pack_session(client),
        }

    def _away_s(self, client: Client) -> float:
        lost_at_s = None if client.recovery is None else client.recovery.lost_at_s
        return 0.0 if lost_at_s is None else self._clock() - lost_at_s

    def receive(
        self, pid: str, namespace: str, sid: str, rooms: Iterable[str], asker: Client | None
    ) -> State[Client] | None:
        """Note what is emitted to a client whose state another server has still.

        A client that is away stands for it, as if it had lost its connection here: whatever becomes of the state, who
        is back has it whole or has had nothing of it.

        :param asker: who is back and asks for it; ``None`` for one of a server that ends.
        :returns: ``None`` if another one asks for it or has it already, or its client has left for good.
        """
        absent = Client(sid, namespace, Absent(self._shared, self._create_lock()))
        absent.leave(Reason.TRANSPORT_CLOSE)
        absent.forgotten = True
        absent.recovery = state = State(pid, absent, self._create_lock(), *self._limits)
        with self._lock:
            if asker is not None:
                state.presented_by = asker
            elif pid not in self._states:  # or else it has come meanwhile, asked for by who is back
                self._coming.setdefault(pid, absent)
            if not self._comes(state):
                return None
        self._shared.namespaces.add_lost(absent, rooms)
        return state

    def take_over(
        self,
        state: State[Client],
        packed: Mapping[str, Any],
        sent: Iterable[tuple[str, bool]],
        packets: Mapping[str, tuple[str | bytes, ...]],
        complete: bool,
        covered: Callable[[Origin], bool],
    ) -> None:
        """Keep a state that another server has released.

        :param sent: offsets of what its client was sent, and whether it is to be sent again.
        :param packets: what that is.
        :param covered: says of what was noted here that it is among them.
        :raises Unrecoverable: if the client was disconnected in the meantime.
        """
        client, now_s = state.client, self._clock()
        client.restore(packed)
        self._shared.application.unpack_session(client, packed["session"])
        events = [self._event_from(offset, again, packets.get(offset), now_s) for offset, again in sent]
        for event in events:
            if event.outgoing is not None:
                self.log.add(client.namespace, event)
        state.take_over(events, complete, covered)
        with self._lock:
            if not state.open or not self._comes(state):
                raise Unrecoverable("unknown")
            self._states[state.pid] = state
            state.lost_at_s = now_s - packed["away_s"]
            if state.presented_by is client:  # or else who is back is about to have it
                self._lost[state.pid] = state
                del self._coming[state.pid]
        self._watch()

    def _event_from(
        self, offset: str, again: bool, packets: tuple[str | bytes, ...] | None, now_s: float
    ) -> Event:
        if packets is None or not again:
            return Event.without_packet(offset, repeatable=again)
        return Event(offset, Outgoing(packets, True), now_s, True)

    def give_up(self, state: State[Client]) -> None:
        """Note nothing more for a client whose state was not brought here, unless one that is back has it already."""
        with self._lock:
            absent = state.client
            if not absent.absent:
                return
            self._shut(state)
        self._await_no_more(absent, state.pid)
        self._shared.namespaces.remove(absent)

    def _comes(self, state: State[Client]) -> bool:
        """Return whether a state is still waited for by who has asked for it, or for who stands for it."""
        return self._coming.get(state.pid) is state.presented_by

    def _await_no_more(self, client: Client, pid: str) -> None:
        with self._lock:
            if self._coming.get(pid) is client:
                del self._coming[pid]

    def lost_with(self, sessions: Container[Session]) -> list[Client]:
        """Return the clients that have lost one of some connections."""
        with self._lock:
            return [state.client for state in self._lost.values() if state.client.session in sessions]

    def lost_states(self) -> list[tuple[State[Client], int]]:
        """Return the states of all clients that have lost their connection, with about what they take, bytes."""
        with self._lock:
            lost = list(self._lost.values())
        return [(state, state.size()) for state in lost]

    def not_found(self, client: Client, pid: str, reason: str, ask: Callable[[], object]) -> None:
        """Have a client begin anew that another server has no state of, or none that it could give away."""
        self._await_no_more(client, pid)
        self._find_nothing(client, reason, ask)

    def _find_nothing(self, client: Client, reason: str, ask: Callable[[], object]) -> None:
        if client.phase is GONE:
            ask()  # as any other that has left by now
        else:
            self.begin_anew(client, reason, ask)

    def look_again(
        self, client: Client, presented: Presented, ask: Callable[[], object], until: float
    ) -> None:
        """Look again, in a moment, for a state that is being given from one server to another one, perhaps this one."""
        self._await_no_more(client, presented.pid)
        self._look_later(client, presented, ask, until)

    def begin_anew(self, client: Client, reason: str, ask: Callable[[], object]) -> None:
        """Have a client begin anew that wanted to come back."""
        with self._lock:
            self._failures[reason] += 1
        self._shared.tell_not_recovered(client, reason)
        self._admit(client)
        ask()

    # clients that go

    def lose(self, client: Client, reason: str) -> None:
        """Keep the state of a client that has left, if it may come back from that."""
        state = client.recovery
        assert state is not None  # nobody else is asked about
        if not any(reason is one for one in RECOVERABLE):
            self.close(client)
            return
        with self._lock:
            if state.client is not client or not state.open or self._states.get(state.pid) is not state:
                return  # another connection has it, nobody, or no one yet
            state.lost_at_s = self._clock()
            self._lost[state.pid] = state
            self._lost.move_to_end(state.pid)
            displaced = None
            if len(self._lost) > self._settings.max_clients:
                displaced = self._shut(next(iter(self._lost.values())))
                self._counts["displaced"] += 1
        if displaced is not None:
            self._clear(displaced)
        self._watch()

    def close(self, client: Client) -> Client | None:
        """Forget a client's state: it does not come back from what ended it.

        :returns: who has the state by now, where the client is back already; ``None`` if it is forgotten.
        """
        if client.recovery is None:
            self._close_coming(client)
        state = client.recovery  # which it may just have had
        if state is None:
            return None
        with self._lock:
            if state.client is not client:
                return state.client
            self._shut(state)
        self._clear(client)
        return None

    def _close_coming(self, client: Client) -> None:
        """Forget a state that a client has asked for, and has not had yet."""
        brought = []
        with self._lock:
            for pid in [pid for pid, asker in self._coming.items() if asker is client]:
                del self._coming[pid]
                if (state := self._states.get(pid)) is not None:
                    brought.append(self._shut(state))
        for absent in brought:
            self._clear(absent)

    def _shut(self, state: State[Client]) -> Client:
        """Keep a state no longer, under the lock; :meth:`_clear` follows for its client."""
        state.open = False
        # What is kept under its pid may be another one, which has come from another server.
        for kept in (self._states, self._lost):
            if kept.get(state.pid) is state:
                del kept[state.pid]
        return state.client

    def _clear(self, client: Client) -> None:
        if client.forgotten:
            self._shared.namespaces.remove(client)

    def forget(self, client: Client) -> None:
        """Take a client out of its namespace whose disconnect handler has run.

        Its rooms are kept with its state, where it may come back.
        """
        state, namespaces = client.recovery, self._shared.namespaces
        assert state is not None  # as above
        left = namespaces.lose(client) if state.open else namespaces.remove(client)
        if left:  # told before it is back in them
            self._shared.tell_left(left, client)
        with self._lock:
            client.forgotten = True
            then, state.then = state.then, []
        if not state.open:  # it may just have been closed
            namespaces.remove(client)
        for resume in then:
            resume()

    # time

    def _watch(self) -> None:
        if self.slot < 0:
            self._shared.eio.reschedule(self)

    def next_due(self) -> float | None:
        """Return when something is to be forgotten next, a clock reading in seconds."""
        return min(filter(None, (self._next_expiry(), self.log.next_due())), default=None)

    def _next_expiry(self) -> float | None:
        with self._lock:
            first = next(iter(self._lost.values()), None)
            return None if first is None else self._expiry_of(first)

    def _expiry_of(self, state: State[Client]) -> float:
        assert state.lost_at_s is not None  # it is among the lost
        return state.lost_at_s + self._settings.window

    def _expire_first(self, now_s: float) -> Client | None:
        """Forget the state of who was lost first, if its time is over; :meth:`_clear` follows for its client."""
        with self._lock:
            first = next(iter(self._lost.values()), None)
            if first is None or self._expiry_of(first) > now_s:
                return None
            self._counts["expired"] += 1
            return self._shut(first)

    def on_due(self, now_s: float) -> float | None:
        """Forget the states and the events whose time is over."""
        while (client := self._expire_first(now_s)) is not None:
            self._clear(client)
        self.log.forget_old(now_s)
        if self.log.forgotten > self._trimmed_at and (now_s >= self._trim_again_s or not len(self.log)):
            self._trim_again_s = now_s + self._settings.window
            self._trim()
        return self.next_due()

    def _trim(self) -> None:
        """Have the states let go of what was forgotten: now and then, for it takes time with each of them."""
        self._trimmed_at = self.log.forgotten
        for state in list(self._states.values()):
            state.trim()

    def load(self) -> RecoveryLoad:
        """Return what is kept, and what has come of it."""
        with self._lock:
            return RecoveryLoad(
                clients=len(self._states),
                lost_clients=len(self._lost),
                events=len(self.log),
                events_bytes=self.log.size_bytes,
                evicted_events=self.log.evicted,
                recovered=self._counts["recovered"],
                expired=self._counts["expired"],
                displaced=self._counts["displaced"],
                failed=dict(self._failures),
            )


class Absent:
    """The connection of a client that has lost it to another server: there is none."""

    early = 0
    max_pending_acks = 0

    def __init__(self, shared: Surroundings, lock: Lock) -> None:
        eio, self._namespaces = shared.eio, shared.namespaces
        self.session = Session("", {}, eio, Nowhere(), lock, eio.clock())
        self.session.closed = True
        self.app_data: Any = None
        self.now_s = eio.clock

    def tell_expired(self, acks: list[OwedAck], client: Client) -> None:
        """Wait for no acknowledgements."""

    def identify(self, client: Client, user: str | None) -> None:
        """Take it for a user's, and tell nobody while it is away."""
        rooms = self._namespaces.rooms.get(client.namespace)
        if rooms is None:
            client.keep_user(user)
        else:
            rooms.identify(client, user)

    def reschedule(self, old: Timed | None, new: Timed | None) -> None:
        """Have nothing end."""

    def disconnect(self, client: Client, reason: str, run: object) -> None:
        """Have nobody to disconnect."""

    def dismiss(self, reason: str) -> None:
        """Have nobody to dismiss."""


class Nowhere:
    """The transport of no connection."""

    name = "none"
    write: Callable[[bytes], int] | None = None
    deflate: Deflate | None = None

    def wake(self) -> None:
        """Have nobody to wake."""

    def close(self, code: int) -> None:
        """Have nothing to close."""

    def hold(self) -> None:
        """Read nothing anyway."""

    def release(self) -> None:
        """Read nothing still."""


class _Once:
    """A function that is called once, whoever calls."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[[], object]) -> None:
        self._function = function

    def __call__(self) -> None:
        try:
            function = self._function
            del self._function  # atomic: of several threads only one can
        except AttributeError:
            return
        function()


def _end(client: Client) -> None:
    """End the connection of a client that has a newer one."""
    client.session.close(Reason.TRANSPORT_CLOSE, code=GOING_AWAY)


def _take_presented(auth: Any) -> tuple[Any, Presented | None]:
    """Return the auth as the application gave it at the client, and what the client itself has put into it."""
    if not isinstance(auth, Mapping) or not isinstance(pid := auth.get("pid"), str):
        return auth, None
    offset = auth.get("offset")
    rest = {name: value for name, value in auth.items() if name not in ("pid", "offset")}
    return rest or None, Presented(pid, offset if isinstance(offset, str) else None)
