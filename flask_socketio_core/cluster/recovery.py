"""A client that has lost its connection to one server and is back at another one: how its state comes along.

Two questions, of which the second one decides. *A* has the state, *B* has the client:

1. *B* asks for it. *A* closes a connection that has not noticed its end, waits for the disconnect handler, and answers
   with the client's sid and rooms. *B* puts one into these rooms that stands for the client, as if it had lost its
   connection to *B*: from now on what it would be sent is noted.
2. *B* tells which messages it has heard of whom until then, and asks for the state. *A* waits until it has heard all of
   these, takes the client out of its rooms, and answers with the events that it has missed and with which messages it
   has heard by then. *B* keeps these events, and behind them of what it has noted itself that which *A* has not
   heard. Then the client comes back as to a server that has had it all the time.

What both have heard, *A* has noted, and *B* leaves out; what *A* has not heard, *B* hears later or has noted. Messages
are told apart by their sender and number, whatever the order in which a queue delivers them. Of what a server emits
itself the number is known once the event has its place among the messages to the others; see
:mod:`~flask_socketio_core.cluster.flights`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import cycle
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ..common.users import is_users_room
from ..errors import SocketIOError
from ..server.interface import OnItsWay, Presented, Unrecoverable
from . import envelope
from .topics import CORE

if TYPE_CHECKING:
    from ..contracts import AsyncMode, Event, Lock
    from ..contracts.clients import RecoveryLoad
    from ..server.interface import KeptState, LocalServer, Origin, RecoverableClient, States
    from .flights import Flight, Flights
    from .link import Link

FIND = f"{CORE}recovery.find"
TAKE = f"{CORE}recovery.take"
ADOPT = f"{CORE}recovery.adopt"

PAUSE_S = 0.05
"""How long a server waits before it offers states again, or asks for one again, seconds."""

BATCH = 200
"""How many states are told of at once."""
BATCH_BYTES = 4_000_000
"""About how large a message with states becomes at most, bytes, if the queue allows it."""

FIND_S = 5.0
"""How long the servers are asked for a state, seconds: a disconnect handler may take a second of it."""
TAKE_S = 5.0
"""How long the one that has it may take to give it away, seconds."""
CATCH_UP_S = 2.5
"""How much of that it may wait for messages that the other has heard already, seconds."""
DELIVER_S = 1.5
"""How much of that it may wait then for its own events that are on their way, seconds."""
LATE_S = 60.0
"""How long messages of both may arrive after it, seconds; a server that was silent for longer is not told of."""
OFFER_S = 4.0
"""How long a server that ends waits for another one to take states, seconds: there may have to be time for a third."""


_ON_ITS_WAY = {"on its way": True}
"""The answer of a server that is about to have a state, or has just given it away: it is worth asking again."""


class Heard(NamedTuple):
    """The message of another server that an event has come with."""

    node: str
    seq: int


class Bus(Protocol):
    """This process's part of the cluster."""

    @property
    def link(self) -> Link:
        """Its connection to the message queue."""


class Elsewhere:
    """Look for the states of clients at the other servers, and give them those that are here.

    :param flights: the events of this server that are on their way.
    """

    def __init__(
        self,
        bus: Bus,
        states: States,
        server: LocalServer,
        flights: Flights,
        mode: AsyncMode,
        clock: Callable[[], float],
    ) -> None:
        self._bus = bus
        self._states = states
        self._server = server
        self._flights = flights
        self._mode = mode
        self._clock = clock
        self.ends = False
        """Whether this server is about to end, and keeps no states of others."""
        self._others_follow = False
        self._silent: set[str] = set()  # those that were offered states and have not answered

    @property
    def node(self) -> str:
        """This process's id on the bus."""
        return self._bus.link.node

    def load(self) -> RecoveryLoad:
        """Return what is kept here, and what has come of it."""
        return self._states.load()

    def lost_since(self, at_s: float) -> bool:
        """Return whether messages of others may be missing here that were sent after a clock reading."""
        return self._bus.link.lost_since(at_s)

    # ------------------------------------------------------------------------------------------- the client is here

    def begin(self) -> Flight:
        """Note an event of this process that is about to be delivered, and that no other server hears."""
        return self._flights.begin(self.node)

    def end(self, flight: Flight) -> None:
        """Note that it was."""
        self._flights.end(flight)

    def seek(
        self, client: RecoverableClient, presented: Presented, ask: Callable[[], object], until: float
    ) -> None:
        """Look for a client's state, in a worker; see :class:`~flask_socketio_core.server.recovery.Elsewhere`."""
        self._mode.spawn(partial(self._seek, client, presented, ask, until))

    def _seek(
        self, client: RecoverableClient, presented: Presented, ask: Callable[[], object], until: float
    ) -> None:
        try:
            state, absent = self._bring(client, presented)
        except OnItsWay:
            self._states.look_again(client, presented, ask, until)
        except Unrecoverable as error:
            self._states.not_found(client, presented.pid, str(error), ask)
        except SocketIOError:  # the queue is closed or away, or cannot carry it
            self._states.not_found(client, presented.pid, "no answer", ask)
        except BaseException:
            self._states.not_found(client, presented.pid, "no answer", ask)
            raise
        else:
            self._states.resume(state, absent, client, presented.offset, ask)

    def _bring(self, client: RecoverableClient, presented: Presented) -> tuple[KeptState, RecoverableClient]:
        """Bring a client's state here; return it with who stands for the client until it has it.

        :raises Unrecoverable: if that is not possible; says why.
        """
        link = self._bus.link
        self._refuse_unnumbered(link)
        if not link.listener.wait(FIND_S):  # or else it may not hear what follows what the other has noted
            raise Unrecoverable("no answer")
        node, found = self._find(link, {**presented._asdict(), "namespace": client.namespace})
        if client.has_left:
            raise Unrecoverable("unknown")  # it stays where it is, for the next connection
        state = self._receive(presented.pid, client.namespace, found, client)
        if state is None:
            raise OnItsWay("no answer")
        absent = state.client
        try:
            answer = self._take(link, node, [state], presented)
            self._go_on(state, found, answer, node)
        except BaseException:
            self._states.give_up(state)
            raise
        return state, absent

    def _receive(
        self, pid: str, namespace: str, told: Mapping[str, Any], asker: RecoverableClient | None
    ) -> KeptState | None:
        return self._states.receive(pid, namespace, told["sid"], envelope.rooms(told["rooms"]), asker)

    def _take(
        self, link: Link, node: str, states: Sequence[KeptState], presented: Presented | None
    ) -> Mapping[str, Any]:
        """Ask a server for the states of clients that are in their rooms here.

        :raises Unrecoverable: if it does not answer.
        """
        # What was selected before they were in their rooms must have a number below that of the question.
        if not self._flights.wait(self._flights.under_way(), TAKE_S):
            raise Unrecoverable("no answer")
        question = {
            "pids": [state.pid for state in states],
            "presented": presented,
            "heard": link.peers.heard(self._clock(), LATE_S),
        }
        outcome = link.asking.ask(TAKE, question, timeout_s=TAKE_S, node=node, here=False)
        answer = outcome.answers.get(node)
        if outcome.missing.get(node) in ("unknown", "left"):  # it has ended since, and given away what it had
            raise OnItsWay("no answer")
        if answer is None:
            raise Unrecoverable("no answer")
        _raise_refused(answer)
        return answer  # type: ignore[no-any-return]  # what an answer is, another server of ours says

    def _go_on(
        self, state: KeptState, found: Mapping[str, Any], answer: Mapping[str, Any], node: str
    ) -> None:
        """Go on with a state that another server has given away.

        :raises Unrecoverable: if it has not.
        """
        taken = answer["states"].get(state.pid)
        if taken is None:
            raise OnItsWay("unknown")
        _raise_refused(taken)
        self._catch_up(state.client, found, taken)  # before anybody can have the state
        covers = [*taken["covers"], {**answer["covers"], "node": node, "asker": self.node}]
        tests = [_covered(one) for one in covers]
        state.covers = covers
        self._states.take_over(
            state,
            taken["client"],
            [(offset, bool(again)) for offset, again in taken["sent"]],
            {offset: tuple(parts) for offset, parts in answer["packets"].items()},
            taken["complete"],
            lambda origin: any(test(origin) for test in tests),
        )
        self._mode.call_later(LATE_S, partial(_uncover, state))

    def _catch_up(
        self, client: RecoverableClient, found: Mapping[str, Any], taken: Mapping[str, Any]
    ) -> None:
        """Change what has changed between the two answers, for who stands for a client."""
        client.keep_user(found["user"])  # in whose room it is
        before, after = set(envelope.rooms(found["rooms"])), set(envelope.rooms(taken["rooms"]))
        for room in before - after:
            self._server.leave_room(client.sid, room, client.namespace)
        for room in after - before:
            if not is_users_room(room):
                with suppress(ValueError):  # it is in as many as it may be, or was disconnected
                    self._server.enter_room(client.sid, room, client.namespace)
        client.user = taken["client"]["user"]

    def _find(self, link: Link, question: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """Return which server has a state, and what it answers.

        :raises Unrecoverable: if none has; says why.
        """
        named = question["pid"].partition(".")[0]
        first = named if any(peer.node == named for peer in link.servers()) else None
        silent: set[str] = set()
        # All are asked twice: one may have given it away before it was asked, to one that was asked before.
        for node in ((first,) if first else ()) + (None, None):
            outcome = link.asking.ask(
                FIND, question, timeout_s=FIND_S, node=node, here=False, but=silent, is_enough=_is_had
            )
            silent.update(other for other, cause in outcome.missing.items() if cause == "silent")
            for answering, found in outcome.answers.items():
                if _is_had(found):
                    _raise_refused(found)
                    return answering, found
            if node is None and (
                _ON_ITS_WAY in outcome.answers.values() or "left" in outcome.missing.values()
            ):
                raise OnItsWay("unknown")
            self._mode.sleep(PAUSE_S)
        raise Unrecoverable("no answer" if silent else "unknown")

    def _refuse_unnumbered(self, link: Link) -> None:
        if link.unnumbered_since(self._clock() - LATE_S):
            raise Unrecoverable("senders without numbers")

    # ----------------------------------------------------------------------------------- the client is nowhere yet

    def begin_end(self, *, others_follow: bool) -> None:
        """Keep no more states of other servers, since this one ends.

        :param others_follow: there may be others soon although there are none yet, such as workers of one web server.
        """
        self.ends = True
        self._silent.clear()
        # Those that are there may end as well, when all are exchanged at once; then others are about to come.
        self._others_follow = others_follow or bool(self._bus.link.servers())

    def hand_on(self, timeout_s: float) -> int:
        """Have other servers keep the states of clients that have lost their connection; return how many they have not.

        :param timeout_s: how long that may take, seconds.
        """
        until, asking = self._clock() + timeout_s, self._bus.link.asking
        while True:
            busy = self._states.some_come or asking.busy  # first: what comes is lost before it comes no more
            lost = self._states.lost_states()
            if not (lost or busy) or self._clock() >= until or not (self._others_follow or busy):
                break
            # To none that stays, perhaps, or their clients are about to ask, and wait for their answers.
            if not lost or not self._offer(lost, until):
                self._mode.sleep(PAUSE_S)
        return len(lost)

    def _offer(self, lost: Sequence[tuple[KeptState, int]], until: float) -> int:
        """Offer states to the other servers; return how many they have taken."""
        link, kept = self._bus.link, 0
        takers = [
            peer.node for peer in link.servers() if ADOPT in peer.topics and peer.node not in self._silent
        ]
        limit = min(link.queue.max_message_bytes or BATCH_BYTES, BATCH_BYTES)
        for batch, node in zip(_batches(lost, limit), cycle(takers), strict=False):
            told = [
                {"pid": state.pid, "namespace": state.client.namespace, **_place_of(state.client)}
                for state in batch
            ]
            patience_s = max(min(until - self._clock(), OFFER_S), 0.0)
            outcome = link.asking.ask(ADOPT, told, timeout_s=patience_s, node=node, here=False)
            if outcome.missing.get(node) == "silent":
                self._silent.add(node)
            kept += outcome.answers.get(node, 0)
        return kept

    def adopt(self, payload: Any, node: str) -> int:
        """Keep the states of clients of a server that ends; return how many."""
        if self.ends:
            return 0
        coming: dict[KeptState, Mapping[str, Any]] = {}
        kept: set[KeptState] = set()
        try:
            for told in payload:
                state = self._receive(told["pid"], told["namespace"], told, None)
                if state is not None:  # or else its client is here and asks itself
                    coming[state] = told
            if coming:
                answer = self._take(self._bus.link, node, list(coming), None)
                for state, told in coming.items():
                    with suppress(Unrecoverable):  # it has come back there, or elsewhere
                        self._go_on(state, told, answer, node)
                        kept.add(state)
        finally:
            for state in coming.keys() - kept:
                self._states.give_up(state)
        return len(kept)

    # ---------------------------------------------------------------------------------------- the client is elsewhere

    def find(self, payload: Any, node: str) -> Any:
        """Answer another server that asks for a client's state."""
        try:
            self._refuse_unnumbered(self._bus.link)
            client = self._states.leave(payload["pid"], payload["namespace"], payload["offset"])
        except OnItsWay:
            return _ON_ITS_WAY
        except Unrecoverable as error:
            return {"refused": str(error)}
        return None if client is None else _place_of(client)

    def give(self, payload: Any, node: str, seq: int) -> Callable[[], Any]:
        """Release states between two messages, as soon as all were heard that the other server has heard.

        Called by the task that listens.

        :returns: what waits for that and returns the answer; called in a worker.
        """
        link = self._bus.link
        done = self._mode.create_event()
        lock = self._mode.create_lock()
        claim = _Claim(self._states, link, self._flights, payload, node, seq, done, lock, self._clock)
        if not claim.settle():
            link.claims.append(claim.settle)
        return claim.answer


def _place_of(client: RecoverableClient) -> dict[str, Any]:
    """Return what another server has to know of a client before it takes its state."""
    return {"sid": client.sid, "rooms": list(client.rooms or ()), "user": client.user}


def _batches(lost: Sequence[tuple[KeptState, int]], limit: int) -> Iterator[list[KeptState]]:
    """Divide states into as many messages as they take; one that is too large for that has one of its own."""
    batch: list[KeptState] = []
    size = 0
    for state, its_size in lost:
        if batch and (size + its_size > limit // 2 or len(batch) == BATCH):
            yield batch
            batch, size = [], 0
        batch.append(state)
        size += its_size
    if batch:
        yield batch


class _Claim:
    """The question of one server for some states."""

    def __init__(
        self,
        states: States,
        link: Link,
        flights: Flights,
        payload: Any,
        node: str,
        seq: int,
        done: Event,
        lock: Lock,
        clock: Callable[[], float],
    ) -> None:
        self._states = states
        self._link = link
        self._flights = flights
        self._payload = payload
        self._node = node
        self._seq = seq
        self._done = done
        self._lock = lock  # of settle() and answer(): one of them decides
        self._clock = clock
        self._listening_s = link.listening_s
        self._asked_at = clock()
        self._given_up = False
        self._released: list[tuple[KeptState, list[Any]]] = []
        self._heard: dict[str, Any] = {}
        self._own = 0
        self._under_way: frozenset[Flight] = frozenset()

    def settle(self) -> bool:
        """Release the states if all that the other has heard was heard here; return whether there is nothing to do."""
        with self._lock:
            return self._given_up or self._done.is_set() or self._settle()

    def _settle(self) -> bool:
        link = self._link
        theirs = {self._node: (self._seq, (), 0, 0.0)}  # what it has sent itself, up to its question
        heard, waited_s = {**self._payload["heard"], **theirs}, self._clock() - self._asked_at
        if not link.peers.covers(heard, link.node, self._listening_s, waited_s):
            return False
        for pid in self._payload["pids"]:
            client = self._states.holder(pid)
            if client is not None:
                rooms = list(client.rooms or ())
                state = self._states.release(pid, client)
                if state is not None:
                    self._released.append((state, rooms))
        self._under_way = self._flights.under_way()
        self._own = link.outbox.seq
        self._heard = link.peers.heard(self._clock(), LATE_S)
        self._done.set()
        return True

    def answer(self) -> Any:
        """Return what the other server is to know."""
        if not self._done.wait(CATCH_UP_S):
            with self._lock:
                self._given_up = not self._done.is_set()
            if self._given_up:
                return {"refused": "messages lost"}
        if not self._flights.wait(self._under_way, DELIVER_S):
            return {"refused": "messages lost"}
        packets: dict[str, Any] = {}
        origins: set[Origin] = set()
        presented = self._payload["presented"]
        states = {
            state.pid: self._answer_for(
                state, rooms, None if presented is None else Presented(*presented), packets, origins
            )
            for state, rooms in self._released
        }
        node = self._link.node
        extra = [
            origin.seq
            for origin in origins
            if origin.node == node and origin.seq is not None and origin.seq > self._own
        ]
        covers = {"heard": self._heard, "own": [self._own, extra], "asked": self._seq}
        return {"states": states, "packets": packets, "covers": covers}

    def _answer_for(
        self,
        state: KeptState,
        rooms: list[Any],
        presented: Presented | None,
        packets: dict[str, Any],
        origins: set[Origin],
    ) -> Any:
        try:
            released = state.released(presented, self._is_theirs)
        except Unrecoverable as error:
            return {"refused": str(error)}
        origins.update(released.origins)
        for event in released.sent:
            if event.repeatable and event.outgoing is not None:
                packets[event.offset] = list(event.outgoing.packets)
        return {
            "client": self._states.pack(state.client),
            "rooms": rooms,
            "sent": [(event.offset, event.repeatable) for event in released.sent],
            "complete": released.complete,
            "covers": state.covers,
        }

    def _is_theirs(self, origin: Origin) -> bool:
        """Return whether an event is one of the other server's, for which the client was in its rooms there."""
        return origin.node == self._node and origin.seq is not None and origin.seq > self._seq


def _is_had(found: Any) -> bool:
    """Return whether an answer to :data:`FIND` is that of the server that has the state."""
    return found not in (None, _ON_ITS_WAY)


def _covered(told: Mapping[str, Any]) -> Callable[[Origin], bool]:
    """Return what says of a message that a server, which had a state, has noted what came with it."""
    node, asker, asked = told["node"], told["asker"], told["asked"]
    most, extra = told["own"]
    more = frozenset(extra)
    heard = {
        name: (first, highest, frozenset(missing))
        for name, (highest, missing, first, _) in told["heard"].items()
    }

    def covered(origin: Origin) -> bool:
        seq = origin.seq
        if seq is None:
            return False
        if origin.node == node:
            return seq <= most or seq in more
        if origin.node == asker:
            return bool(seq <= asked)
        known = heard.get(origin.node)
        return known is not None and known[0] <= seq <= known[1] and seq not in known[2]

    return covered


def _uncover(state: KeptState) -> None:
    state.covered, state.covers = None, []


def _raise_refused(answer: Mapping[str, Any]) -> None:
    if "refused" in answer:
        raise Unrecoverable(answer["refused"])
