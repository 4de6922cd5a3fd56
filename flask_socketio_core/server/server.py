"""The Socket.IO server of one process: what it tells its clients, and where they are.

It knows no transport, no Flask and no message queue. What one client sends is its connection's matter; the application
is called through :class:`~flask_socketio_core.server.interface.Application`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ..common.reasons import DisconnectReason, Reason
from ..contracts.clients import Load
from ..contracts.fork import register_at_fork
from ..transport.server import EngineIOServer
from .connection import Connection
from .each_ack import EachAck
from .interface import EVERYWHERE
from .lines import choose_logger
from .phase import Phase
from .shared import Shared

if TYPE_CHECKING:
    import logging

    from ..common.options import Options
    from ..contracts import AsyncMode
    from ..contracts.clients import AckCallback, Emission
    from ..transport.packets import Outgoing
    from ..transport.session import Session
    from .clients import Client
    from .connection import Job
    from .interface import Application, Group
    from .packets import Codec
    from .recoverable import Event, Origin
    from .recovery import Recoveries
    from .rooms import Rooms

LOGGER = "flask_socketio_core.server"

UPGRADES_S = 1.0
"""How long a process that ends waits for clients that are about to leave polling, seconds."""

LISTENING_POLL_S = 0.05
"""How often a server that ends asks whether connections still come in, seconds."""

LISTENING_MOST_S = 1.5
"""How long it waits for that at most, seconds; gunicorn takes one."""

CONNECTED = Phase.CONNECTED


class Server:
    """The clients of one process.

    :param application: what clients do is told to it.
    :param options: the checked options.
    :param mode: the selected async mode.
    :param clock: monotonic clock, seconds.
    """

    def __init__(
        self,
        application: Application,
        options: Options,
        mode: AsyncMode,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.mode = mode
        self.eio = self._make_eio(application, options, clock, choose_logger(options.logger, LOGGER))
        """The Engine.IO server, whose sessions carry the clients."""
        self._shared = Shared(application, options, mode, self.eio)
        self._observers = application.observers
        self._recorder: Callable[[Emission, Origin | None], object] | None = None
        # One question for each emit, where neither is in use.
        self._emits_specially = self._shared.recoveries is not None
        register_at_fork(after_in_child=self.forget)

    def _make_eio(
        self,
        application: Application,
        options: Options,
        clock: Callable[[], float],
        logger: logging.Logger,
    ) -> EngineIOServer:
        return EngineIOServer(
            options, self.mode, self._listen, application.observers, logger=logger, clock=clock
        )

    def _listen(self, session: Session) -> Connection:
        return Connection(session, self._shared)

    def forget(self) -> None:
        """Have no clients in a forked child: they are the parent's."""
        self._shared.forget()
        self.eio.forget()

    # what the Flask side sees of it, besides

    @property
    def logger(self) -> logging.Logger:
        """The logger of the engine."""
        return self.eio.logger

    @property
    def codec(self) -> Codec:
        """What encodes its packets."""
        return self._shared.codec

    @property
    def accepting(self) -> bool:
        """Whether new connections come in; ``False`` once the server is ending."""
        return self.eio.accepting

    @accepting.setter
    def accepting(self, accepting: bool) -> None:
        self.eio.accepting = accepting

    @property
    def sid_address(self) -> str:
        """Of this server, for the sids of its clients; see :func:`~flask_socketio_core.common.sids.new_sid`."""
        return self._shared.sid_address

    @sid_address.setter
    def sid_address(self, address: str) -> None:
        self._shared.sid_address = address

    @property
    def sessions(self) -> dict[str, Session]:
        """The open sessions by their Engine.IO sid."""
        return self.eio.sessions

    def client_of(self, engine_sid: str, namespace: str) -> Client | None:
        """Return the client of a session on a namespace, ``None`` if there is none."""
        session = self.eio.sessions.get(engine_sid)
        connection = session.listener if session is not None else None
        return connection.clients.get(namespace) if isinstance(connection, Connection) else None

    def clients_of(self, engine_sid: str) -> list[Client]:
        """Return the clients of a session that are connected, one for each of its namespaces."""
        session = self.eio.sessions.get(engine_sid)
        connection = session.listener if session is not None else None
        clients = list(connection.clients.values()) if isinstance(connection, Connection) else []
        return [client for client in clients if client.phase is CONNECTED]

    def load(self) -> Load:
        """Return what this process has to do for its clients; takes time with each connection."""
        sessions = list(self.eio.sessions.values())
        connections = dict.fromkeys(("polling", "websocket"), 0)
        for session in sessions:
            name = session.transport.name
            connections[name] = connections.get(name, 0) + 1
        full = [session for session in sessions if session.has_waiting]
        rooms = list(self._rooms.items())
        busy, waiting = self._count_jobs(sessions)
        return Load(
            connections=connections,
            clients={namespace: len(found) for namespace, found in rooms if len(found)},
            rooms={namespace: count for namespace, found in rooms if (count := found.count())},
            outbox_connections=len(full),
            outbox_packets=sum(session.waiting_packets for session in full),
            outbox_bytes=sum(session.waiting_bytes for session in full),
            max_workers=self._shared.options.max_workers,
            busy_workers=busy,
            waiting_handlers=waiting,
            recovery=None if self._shared.recoveries is None else self._shared.recoveries.load(),
        )

    def _count_jobs(self, sessions: Iterable[Session]) -> tuple[int, int]:
        """Return how many handlers have a worker, and how many of open connections wait for one."""
        shared = self._shared
        found = (session.listener for session in sessions)
        connections = [listener for listener in found if isinstance(listener, Connection)]
        if not shared.ordered:
            return shared.workers.busy, sum(len(connection.waiting or ()) for connection in connections)
        backlogs = [len(connection.backlog) for connection in connections]
        busy = sum(1 for length in backlogs if length)
        return busy + shared.disconnecting, sum(backlogs) - busy

    @property
    def _rooms(self) -> dict[str, Rooms]:
        return self._shared.namespaces.rooms

    # Emitter and LocalServer

    def emit(self, emission: Emission, origin: Origin | None = None) -> None:
        """Send an event to clients of this process; see :meth:`LocalServer.emit`."""
        if self._emits_specially and self._emit_specially(emission, origin):
            return
        event, args, namespace, to, skip, on_ack, volatile, _, exclude, _ = emission
        rooms = self._rooms.get(namespace)
        clients = rooms.select(to, skip, exclude) if rooms is not None else []
        outgoing: Outgoing | None = None
        if on_ack is not None:
            outgoing = self._emit_with_ack(event, args, clients, on_ack)
        elif clients:
            outgoing = self._shared.codec.encode_event(event, args, namespace, None)
            for client in clients:
                if client.phase is CONNECTED:  # what Client.send does, without the call
                    client.session.send(outgoing, volatile)
                else:
                    client.send(outgoing, volatile)
        if self._observers.observes_deliveries:
            self._tell_delivered(emission, len(clients), outgoing)

    @property
    def recorder(self) -> Callable[[Emission, Origin | None], object] | None:
        """What is called instead of :meth:`emit` with what is kept in a history of a room."""
        return self._recorder

    @recorder.setter
    def recorder(self, recorder: Callable[[Emission, Origin | None], object] | None) -> None:
        self._recorder = recorder
        self._emits_specially = recorder is not None or self._shared.recoveries is not None

    def _emit_specially(self, emission: Emission, origin: Origin | None) -> bool:
        """Send what is kept in a history, or what clients get when they are back; ``False`` if it is neither."""
        recoveries = self._shared.recoveries
        if emission.keep is not None and self._recorder is not None:
            self._recorder(emission, origin)
        elif recoveries is None or emission.on_ack is not None:
            return False
        elif origin is None and recoveries.elsewhere is not None:
            flight = recoveries.elsewhere.begin()
            try:
                self._emit_recoverably(emission, recoveries, None)
            finally:
                recoveries.elsewhere.end(flight)
        else:
            self._emit_recoverably(emission, recoveries, origin)
        return True

    @property
    def recoveries(self) -> Recoveries | None:
        """What clients come back to, if they can."""
        return self._shared.recoveries

    def _emit_recoverably(self, emission: Emission, recoveries: Recoveries, origin: Origin | None) -> None:
        """Send an event so that clients who lose their connection, or have lost it, get it when they are back."""
        event, args, namespace, to, skip, _, volatile, _, exclude, _ = emission
        shared = self._shared
        rooms = shared.namespaces.rooms.get(namespace)
        clients = rooms.select_with_lost(to, skip, exclude) if rooms is not None else []
        encode = shared.codec.encode_event
        plain: Outgoing | None = None
        numbered: Outgoing | None = None
        logged: Event  # set with it
        for client in clients:
            state = client.recovery
            if state is None:
                if plain is None:
                    plain = encode(event, args, namespace, None)
                client.send(plain, volatile)
                continue
            if numbered is None:
                offset = f"{recoveries.epoch}-{next(recoveries.numbers)}"
                numbered = encode(event, (*args, offset), namespace, None)
                logged = recoveries.keep(offset, numbered, namespace, volatile, origin)
            log = state.sent
            # One lock and one call, as without recovery; for all others State.deliver() takes more.
            if (
                client.phase is CONNECTED
                and log is not None
                and state.covered is None
                and (client.session.send_noted(numbered, volatile, log, logged) or volatile)
            ):
                continue
            state.deliver(logged, numbered, volatile)
        if self._observers.observes_deliveries:
            connected = sum(client.phase is not Phase.GONE for client in clients)
            self._tell_delivered(emission, connected, plain or numbered)

    def _tell_delivered(self, emission: Emission, recipients: int, outgoing: Outgoing | None) -> None:
        if self._observers.observes_deliveries:
            self._observers.delivered(
                event=emission.event,
                namespace=emission.namespace,
                to=emission.to,
                args=emission.args,
                recipients=recipients,
                size_bytes=0 if outgoing is None else outgoing.size,
            )

    def _emit_with_ack(
        self, event: str, args: tuple[Any, ...], clients: list[Client], on_ack: AckCallback
    ) -> Outgoing | None:
        """Send an event that is to be acknowledged; return what the last client is sent."""
        outgoing = None
        for client in clients:
            ack_id = client.expect_ack(on_ack, event)
            if ack_id is not None:
                try:
                    outgoing = self._shared.codec.encode_event(event, args, client.namespace, ack_id)
                except BaseException:
                    client.forget_acks(on_ack)
                    raise
                client.send(outgoing)
        return outgoing

    def ask_each(
        self,
        emission: Emission,
        on_asked: Callable[[list[str]], object],
        on_ack: Callable[[str, tuple[Any, ...]], object],
        on_gone: Callable[[str], object],
    ) -> Callable[[], object]:
        """Send an event that each client acknowledges by itself; see :meth:`LocalServer.ask_each`."""
        event, args, namespace, to, skip, _, _, _, exclude, _ = emission
        rooms = self._rooms.get(namespace)
        clients = rooms.select(to, skip, exclude) if rooms is not None else []
        on_asked([client.sid for client in clients])
        each = EachAck(event, on_ack, on_gone)
        outgoing: Outgoing | None = None
        try:
            for client in clients:
                ack_id = each.expect(client)
                if ack_id is not None:
                    outgoing = self._shared.codec.encode_event(event, args, namespace, ack_id)
                    client.send(outgoing)
        except BaseException:
            each.forget()
            raise
        self._tell_delivered(emission, len(clients), outgoing)
        return each.forget

    def forget_acks(self, to: str, namespace: str, on_ack: AckCallback) -> None:
        """Wait no longer for what :meth:`emit` asked for; see :meth:`LocalServer.forget_acks`."""
        rooms = self._rooms.get(namespace)
        for client in rooms.members(to) if rooms is not None else ():
            if owed := client.forget_acks(on_ack):
                self._shared.tell_expired(owed, client)

    def enter_room(self, sid: str, room: str, namespace: str = "/") -> None:
        """Put a client of this process into a room; see :meth:`Emitter.enter_room`."""
        client = self._find(sid, namespace) or self._find_lost(sid, namespace)
        if client is None:
            raise ValueError(
                f"cannot enter room {room!r}: sid {sid!r} is not connected to namespace {namespace!r}"
            )
        self._enter(client, room)

    def _enter(self, client: Client, room: Any) -> None:
        rooms = self._rooms.get(client.namespace)
        if (
            rooms is not None
            and rooms.enter(client, room)
            and self._observers.observes("socketio_room_entered")
        ):
            self._observers.room_entered(sid=client.sid, namespace=client.namespace, room=room)

    def leave_room(self, sid: str, room: str, namespace: str = "/") -> None:
        """Take a client of this process out of a room."""
        client = self._find(sid, namespace) or self._find_lost(sid, namespace)
        if client is not None:
            self._leave(client, room)

    def _leave(self, client: Client, room: Any) -> None:
        rooms = self._rooms.get(client.namespace)
        if rooms is not None and rooms.leave(client, room):
            self._shared.tell_left((room,), client)

    def select(self, group: Group) -> list[Client]:
        """Return those of a group that are clients of this process."""
        return [
            client
            for rooms in self._rooms_of(group.namespace)
            for client in rooms.select(group.to, frozenset(), group.exclude)
        ]

    def _select_with_lost(self, group: Group) -> list[Client]:
        return [
            client
            for rooms in self._rooms_of(group.namespace)
            for client in rooms.select_with_lost(group.to, frozenset(), group.exclude)
        ]

    def _rooms_of(self, namespace: str) -> list[Rooms]:
        if namespace == EVERYWHERE:
            return list(self._rooms.values())
        rooms = self._rooms.get(namespace)
        return [] if rooms is None else [rooms]

    def move(self, group: Group, enter: Sequence[Any], leave: Sequence[Any]) -> None:
        """Take clients of this process out of rooms and put them into others; see :meth:`Emitter.move`."""
        refused: ValueError | None = None
        for client in self._select_with_lost(group):
            for room in leave:
                self._leave(client, room)
            for room in enter:
                try:
                    self._enter(client, room)
                except ValueError as error:
                    refused = error
        if refused is not None:
            raise refused

    def kick(self, group: Group, reason: DisconnectReason, *, close: bool) -> None:
        """Disconnect clients of this process; see :meth:`Emitter.kick`."""
        ended = set()
        for found in self._select_with_lost(group):
            client = self._on_newest_connection(found)
            if client is None:
                ended.add(found.session)
            elif close:
                client.connection.dismiss(reason)
            else:
                client.connection.disconnect(client, reason, None)
        recoveries = self._shared.recoveries
        if close and ended and recoveries is not None:
            for found in recoveries.lost_with(ended):  # in its other namespaces
                client = self._on_newest_connection(found)
                if client is not None:
                    client.connection.dismiss(reason)

    def _on_newest_connection(self, client: Client) -> Client | None:
        """Return a client as it is connected now; ``None`` if it is away, and have nothing kept of it then."""
        recoveries, current = self._shared.recoveries, client
        while current.phase is Phase.GONE:
            newer = None if recoveries is None else recoveries.close(current)
            if newer is None:
                return None
            current = newer  # it has come back at this very moment
        return current

    def close_room(self, room: str, namespace: str = "/") -> None:
        """Take every client of this process out of a room."""
        rooms = self._rooms.get(namespace)
        if rooms is not None:
            for client in rooms.close(room):
                self._shared.tell_left((room,), client)

    def disconnect(
        self,
        sid: str,
        namespace: str = "/",
        reason: DisconnectReason = Reason.KICKED,
        run: Callable[[Job], object] | None = None,
    ) -> None:
        """Disconnect a client of this process; one whose connect handler still runs is refused.

        :param reason: for its disconnect handler.
        :param run: runs the disconnect handler; ``None`` for a worker, as when the client leaves by itself.
        """
        found = self._find(sid, namespace) or self._find_lost(sid, namespace)
        client = None if found is None else self._on_newest_connection(found)
        if client is not None:
            client.connection.disconnect(client, reason, run)

    def has(self, sid: str, namespace: str) -> bool:
        """Return whether a client is connected to this process or may come back to it."""
        return self.is_connected(sid, namespace) or self._find_lost(sid, namespace) is not None

    def is_connected(self, sid: str, namespace: str) -> bool:
        """Return whether an accepted or pending client of this process has that sid."""
        client = self._find(sid, namespace)
        return client is not None and client.phase is not Phase.GONE

    def is_here(self, sid: str) -> bool:
        """Return whether a client of this process has that sid, on whatever namespace; or one that may come back."""
        return any(
            rooms.get(sid) is not None or (rooms.lost is not None and rooms.lost.get(sid) is not None)
            for rooms in list(self._rooms.values())
        )

    def rooms(self, sid: str, namespace: str = "/") -> list[str]:
        """Return the rooms of a client of this process, its own sid first.

        :raises KeyError: if it is not connected here.
        """
        client = self.client(sid, namespace)
        rooms = self._rooms.get(namespace)
        return [sid] if rooms is None else rooms.of(client)

    def members(self, room: str | None, namespace: str = "/") -> list[str]:
        """Return the sids of this process's clients in a room; ``None`` for the whole namespace."""
        rooms = self._rooms.get(namespace)
        return [client.sid for client in rooms.members(room)] if rooms is not None else []

    def room_names(self, namespace: str = "/") -> list[str]:
        """Return the rooms of a namespace in which clients of this process are; their sids are not among them."""
        rooms = self._rooms.get(namespace)
        return rooms.names() if rooms is not None else []

    def room_sizes(self, namespace: str = "/") -> dict[Any, int]:
        """Return how many clients of this process are in each room; see :class:`LocalServer`."""
        sizes: Counter[Any] = Counter()
        for rooms in self._rooms_of(namespace):
            sizes.update(rooms.sizes())
        return sizes

    def namespaces(self) -> list[str]:
        """Return the namespaces that have clients in this process."""
        return [namespace for namespace, rooms in list(self._rooms.items()) if len(rooms)]

    def client(self, sid: str, namespace: str = "/") -> Client:
        """Return a client of this process.

        :raises KeyError: if it is not connected here.
        """
        client = self._find(sid, namespace)
        if client is None:
            raise KeyError(f"sid {sid!r} is not connected to namespace {namespace!r} in this process")
        return client

    def on_client_gone(self, sid: str, namespace: str, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back when a client of this process leaves, at once if it is not here; see :class:`LocalServer`."""
        client = self._find(sid, namespace)
        if client is None:
            callback()
            return lambda: None
        client.on_gone(callback)
        return partial(client.withdraw, callback)

    def transport(self, sid: str, namespace: str = "/") -> str:
        """Return ``"polling"`` or ``"websocket"``.

        :raises KeyError: if it is not connected here.
        """
        return self.client(sid, namespace).session.transport.name

    def shutdown(self, timeout_s: float = 3.0, listens: Callable[[], bool] = lambda: False) -> int:
        """Close every session and wait for the disconnect handlers; see :meth:`LocalServer.shutdown`.

        :param listens: says whether connections go on coming in, from the web server's side; as long as they do, within
            the time-out, they are served, and closed at the end.
        """
        clock = self.eio.clock
        begun_s = clock()
        self.accepting = listens()
        running = self._close_sessions(timeout_s)
        if self.accepting:
            while listens() and clock() - begun_s < min(timeout_s, LISTENING_MOST_S):
                self.mode.sleep(LISTENING_POLL_S)
            self.accepting = False
            running = self._close_sessions(max(timeout_s - (clock() - begun_s), 0))
        return running

    def _close_sessions(self, timeout_s: float) -> int:
        self.eio.close_sessions()
        begun_s = self.eio.clock()
        # Not before: the first handlers may be through while the last ones have not begun.
        running = self._shared.wait_for_disconnects(timeout_s)
        self.eio.finish_upgrades(min(max(timeout_s - (self.eio.clock() - begun_s), 0), UPGRADES_S))
        self.eio.finish_telling(max(timeout_s - (self.eio.clock() - begun_s), 0))
        return running

    def _find(self, sid: str, namespace: str) -> Client | None:
        return self._shared.namespaces.find(sid, namespace)

    def _find_lost(self, sid: str, namespace: str) -> Client | None:
        return self._shared.namespaces.find_lost(sid, namespace)
