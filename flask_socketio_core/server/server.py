"""The Socket.IO server of one process: sessions, clients, rooms, acks.

It knows no transport, no Flask and no message queue. Transports open sessions and feed them; the application is
called through :class:`~flask_socketio_core.server.interface.Application`.
"""

from __future__ import annotations

import json
import logging
import math
import secrets
import time
from collections.abc import Callable
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from ..common.quoting import printable
from ..common.reasons import Reason
from ..common.repeats import Repeats, kind_of
from ..common.sendable import carries_all
from ..common.sids import new_sid
from ..common.tracebacks import log_error
from ..errors import InvalidData, PayloadTooLarge, ProtocolError, WrongSerializer, refusals
from ..transport.addresses import Addresses
from ..transport.descriptors import most_connections, raise_limit
from ..transport.fork import forget_after_fork
from ..transport.packets import EIO_OPEN, Outgoing
from ..transport.session import GOING_AWAY, Session, SessionSettings, Transport
from ..transport.timer import Wheel
from .clients import Client, Phase
from .lines import choose_logger
from .mailbox import Mailbox
from .packets import ACK, CONNECT, DISCONNECT, EVENT, Codec, Decoder
from .pending import SMALL_MESSAGE, PendingBytes
from .rooms import Rooms
from .workers import Workers

if TYPE_CHECKING:
    from ..common.options import Options
    from ..contracts import AsyncMode, Event, Handle
    from ..contracts.clients import AckCallback, Emission
    from ..transport.addresses import Place, TooMany
    from ..transport.timer import Timed
    from ..transport.wsgi import Refusal
    from .interface import Application

Job = Callable[[], object]

LOGGER = "flask_socketio_core.server"

INVALID_NAMESPACE = {"message": "Invalid namespace"}
"""What a client is told about a namespace that does not exist. Source: Socket.IO's server."""

REFUSED = {"message": "Connection rejected by server"}
REFUSED_PLAINLY = {"message": "Connection refused by server"}
"""What a client is told when a connect handler returned ``False``, or disconnected it. Source: python-socketio."""

ATTACHED_FACTOR = 10
"""Most bytes in all attachments of one packet, as a multiple of ``max_http_buffer_size``; the reference server allows
ten attachments."""

FAREWELL_PATIENCE_S = 1.0
"""How long the disconnect handlers of a client that left wait behind what it has sent, if its handlers do not return,
seconds."""

LISTENING_POLL_S = 0.05
"""How often a server that ends asks whether connections still come in, seconds."""

LISTENING_MOST_S = 1.5
"""How long it waits for that at most, seconds; gunicorn takes one."""

STOOD_STILL_S = 0.1
"""A timer that is later than this comes of a process that stood still, or whose loop was blocked, seconds."""

CATCH_UP_S = 1.0
"""How long what clients sent meanwhile may then take to be read, seconds; less with short heartbeats."""

CONNECTED = Phase.CONNECTED


class Server:
    """Sessions and clients of one process.

    :param application: what clients do is told to it.
    :param options: the checked options.
    :param mode: the selected async mode.
    :param clock: monotonic clock, seconds.
    """

    reason = Reason

    def __init__(
        self,
        application: Application,
        options: Options,
        mode: AsyncMode,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.options = options
        self.mode = mode
        self.clock = clock
        self.codec = Codec(
            serializer=options.serializer,
            json=options.json,
            max_attachments=options.max_attachments,
            max_attached_bytes=ATTACHED_FACTOR * options.max_http_buffer_size,
        )
        self.settings = SessionSettings(
            ping_interval=options.ping_interval,
            ping_timeout=options.ping_timeout,
            connect_timeout=options.connect_timeout,
            monitor=options.monitor_clients,
            outbox_max_bytes=options.outbox_max_bytes,
            outbox_max_packets=options.outbox_max_packets,
            outbox_policy=options.outbox_policy,
            max_pending_acks=options.max_pending_acks,
            ack_timeout=options.ack_timeout,
            max_packets_per_s=options.max_packets_per_s,
        )
        self.logger = choose_logger(options.logger, LOGGER)
        self.session_type: Callable[..., Session] = Session
        self.accepting = True
        self._application = application
        self._new_rooms = partial(Rooms, max_rooms=options.max_rooms, max_name_length=options.max_name_length)
        self._start_empty()
        shortest = min(
            options.ping_interval, options.ping_timeout, options.connect_timeout, options.upgrade_timeout
        )
        self._wheel = Wheel(max(shortest / 50, 0.002))
        self._catch_up_s = min(CATCH_UP_S, shortest / 4)
        forget_after_fork(self)
        self._ordered = options.async_handlers is not True
        self._most_pending = options.max_pending_events
        self._few_pending = options.max_pending_events // 2
        self._some_pending = min(options.max_pending_events, 2)  # fewer need not be looked at
        self._most_pending_bytes = options.max_pending_bytes
        self._few_pending_bytes = options.max_pending_bytes // 2
        self.repeats = Repeats(clock)
        self._idle: Event | None = None

    @cached_property
    def most_connections(self) -> int | None:
        """How many there may be, ``None`` for any number.

        The first connection asks, and the process's limit of descriptors is raised only then.
        """
        raise_limit()
        limits = [limit for limit in (self.options.max_connections, most_connections()) if limit is not None]
        return min(limits, default=None)

    def _start_empty(self) -> None:
        self._lock = self.mode.create_lock()
        self._pending = PendingBytes(
            self.mode.create_lock(),
            self.options.max_total_pending_bytes,
            packed=carries_all(self.options.serializer),
        )
        self.addresses = Addresses(
            self.mode.create_lock(),
            self.clock,
            self.options.max_connections_per_address,
            self.options.max_handshakes_per_address,
        )
        self._workers = Workers(
            self.mode.spawn,
            self.mode.create_lock(),
            self.options.max_workers,
            self.options.max_handlers_per_client,
        )
        self._rooms: dict[str, Rooms] = {}
        self.sessions: dict[str, Session] = {}
        self._timer: Handle | None = None
        self._timer_due_s = math.inf  # when the timer is due, while there is one
        self._timer_number = 0
        self._catching_up = False
        self._farewells = 0

    def forget(self) -> None:
        """Have no clients in a forked child: they are the parent's."""
        self._wheel = Wheel(self._wheel.width_s)
        timer = self._timer
        self._start_empty()
        if timer is not None:
            timer.cancel()

    # sessions

    def add_session(
        self, environ: dict[str, Any], transport: Transport, place: Place | None = None
    ) -> Session:
        """Start a session over a transport; see :meth:`make_session`."""
        session = self.make_session(environ, transport, place)
        self.add(session)
        return session

    def make_session(
        self, environ: dict[str, Any], transport: Transport, place: Place | None = None
    ) -> Session:
        """Make a session that :meth:`add` starts.

        :param environ: environ of the first request, without the server's own objects; kept.
        :param place: what it takes of its address's share; left when it ends.
        """
        session = self.session_type(
            new_engine_sid(),
            environ,
            self,
            transport,
            self.mode.create_lock(),
            Decoder(self.codec),
            self.clock(),
        )
        session.place = place
        if self._ordered:
            session.mailbox = Mailbox(self.mode.spawn, self.mode.create_lock())
        return session

    def add(self, session: Session) -> None:
        """Start a session; from now on the server may close it."""
        with self._lock:
            self.sessions[session.sid] = session
        self.reschedule(session)

    def open_packet(self, session: Session, *, upgrades: bool) -> Outgoing:
        """Return the OPEN packet that tells a client about its session.

        Source: engine.io-protocol v4, "Handshake".
        """
        options = self.options
        handshake = {
            "sid": session.sid,
            "upgrades": ["websocket"] if upgrades else [],
            "pingInterval": round((options.ping_interval + options.ping_interval_grace) * 1000),
            "pingTimeout": round(options.ping_timeout * 1000),
            "maxPayload": options.max_http_buffer_size,
        }
        return Outgoing((EIO_OPEN + json.dumps(handshake, separators=(",", ":")),))

    def on_closed(self, session: Session, reason: str) -> None:
        """Forget a session and run the disconnect handlers of its clients."""
        with self._lock:
            self.sessions.pop(session.sid, None)
            self._wheel.remove(session)
        if session.place is not None:
            session.place.leave()
        self._read_unread(self._pending.forget(session))
        for client in list(session.clients.values()):
            self._client_left(client, reason)
        self._hurry_farewells(session)

    def on_refused(self, environ: dict[str, Any], refusal: Refusal) -> None:
        """Learn that a request is answered with an error."""

    def on_overflow(self, session: Session, packets: int, size_bytes: int) -> None:
        """Log an overflow and tell the application, from a worker."""
        self.mode.spawn(partial(self._report_overflow, session.sid, packets, size_bytes))

    def _report_overflow(self, engine_sid: str, packets: int, size_bytes: int) -> None:
        options = self.options
        more = self.repeats.take("overflow")
        if more is not None:
            self.logger.warning(
                "session %s does not read: %d packets of %d bytes wait (outbox_max_packets=%d, outbox_max_bytes=%d), "
                "policy %s%s",
                engine_sid,
                packets,
                size_bytes,
                options.outbox_max_packets,
                options.outbox_max_bytes,
                options.outbox_policy,
                more,
            )
        self._application.on_outbox_overflow(engine_sid, packets, size_bytes)

    def on_too_fast(self, session: Session) -> None:
        """Log, from a worker, that nothing is read from a session for a while."""
        more = self.repeats.take("too fast")
        if more is not None:
            self.mode.spawn(
                partial(
                    self.logger.warning,
                    "session %s sends more than max_packets_per_s=%g: nothing is read from it for a while%s",
                    session.sid,
                    self.options.max_packets_per_s,
                    more,
                )
            )

    def on_rested(self, session: Session) -> None:
        """Read on from a session that has sent too much too fast, unless its handlers cannot keep up either."""
        self._read_on(session)

    def on_connect_timeout(self, session: Session) -> None:
        """Log, from a worker, that a connect handler takes longer than a client may be without a namespace."""
        more = self.repeats.take("connect timeout")
        if more is None:
            return
        names = ", ".join(printable(repr(namespace)) for namespace in list(session.clients))
        self.mode.spawn(
            partial(
                self.logger.warning,
                "session %s ends: the connect handler of %s has not returned within connect_timeout=%g s%s",
                session.sid,
                names,
                self.options.connect_timeout,
                more,
            )
        )

    def log_full(self, limit: int) -> None:
        """Log that the server takes no more connections."""
        more = self.repeats.take("full")
        if more is not None:
            self.logger.warning(
                "%d connections: new ones are answered 503 (max_connections=%s, the rest is the limit of "
                "descriptors)%s",
                limit,
                self.options.max_connections,
                more,
            )

    def log_too_many(self, address: str, error: TooMany) -> None:
        """Log that a client was refused because its address has what it may have."""
        more = self.repeats.take(error.kind)
        if more is not None:
            self.logger.warning("refused a client from %s: %s%s", printable(address), error, more)

    # time

    def reschedule(self, item: Timed) -> None:
        """Put a session, or anything else that has a due time, into the one timer."""
        due_s = item.next_due()
        if due_s is None:
            return
        with self._lock:
            self._wheel.schedule(item, due_s)
        self._arm(due_s)

    def unschedule(self, item: Timed) -> None:
        """Take something out of the timer."""
        timer = None
        with self._lock:
            self._wheel.remove(item)
            if self._wheel.next_due_s() is None:
                timer, self._timer = self._timer, None
                self._timer_due_s = math.inf
                self._timer_number += 1
        if timer is not None:
            timer.cancel()

    def _arm(self, due_s: float) -> None:
        """Have the timer go off in time, from whatever thread; there is one at most, or they would go on for ever."""
        due_s += self._wheel.width_s
        with self._lock:
            if due_s >= self._timer_due_s:
                return
            old, self._timer = self._timer, None
            self._timer_due_s = due_s
            self._timer_number += 1
            number = self._timer_number
        if old is not None:
            old.cancel()
        try:
            timer = self.mode.call_later(max(due_s - self.clock(), 0), partial(self._tick, number))
        except BaseException:  # no thread left: the next one tries again
            with self._lock:
                if number == self._timer_number:
                    self._timer_due_s = math.inf
            raise
        with self._lock:
            current = number == self._timer_number
            if current:
                self._timer = timer
        if not current:
            timer.cancel()

    def overdue(self, session: Session) -> bool:
        """Say whether a client has not answered its ping in time, before the timer finds out.

        Not right after this process stood still: the answer may wait unread.
        """
        now_s = self.clock()
        late = self._catching_up or now_s - self._timer_due_s > STOOD_STILL_S
        return not late and session.overdue(now_s)

    def _tick(self, number: int) -> None:
        now_s = self.clock()
        with self._lock:
            if number != self._timer_number:
                return  # another one has taken its place
            # Nobody is closed for a silence in which nobody listened: first what came meanwhile is read.
            late = not self._catching_up and now_s - self._timer_due_s > STOOD_STILL_S
            self._catching_up = late
            self._timer = None
            self._timer_due_s = math.inf
            self._timer_number += 1
            due = [] if late else self._wheel.take_due(now_s)
        if late:
            self._arm(now_s + self._catch_up_s)
            return
        for item in due:
            try:
                next_s = item.on_due(now_s)
            except Exception as error:  # noqa: BLE001  # one session's fault must not stop the clock of the others
                self.report(error, "the timer")
                continue
            if next_s is not None:
                with self._lock:  # what is due may have changed since
                    self._wheel.schedule(item, item.next_due() or next_s)
        with self._lock:
            next_due_s = self._wheel.next_due_s()
        if next_due_s is not None:
            self._arm(next_due_s)

    # packets from clients

    def on_message(self, session: Session, message: str | bytes, admitted: bool = False) -> None:
        """Take one Socket.IO packet.

        :param admitted: it is counted as pending already, or too small for that.
        :raises ProtocolError: if it breaks the protocol.
        """
        if (
            (len(message) > SMALL_MESSAGE or session.unread)
            and not admitted
            and not self._pending.admit(session, message)
        ):
            session.hold()
            if self._caught_up(session):  # it was read in the meantime
                session.release()
            return
        packet = session.decoder.decode(message)
        if packet is None:
            if session.arriving_bytes:
                session.arriving_since_s = self.clock()
            return
        kind, namespace, ack_id, data = packet
        if kind == EVENT:
            client = session.clients.get(namespace)
            if client is None:
                self._on_stray(session, namespace)
                if session.arriving_bytes:
                    self._forget_arrived(session)
                return
            job: Job = partial(self._run_event, client, ack_id, data)
            if session.arriving_bytes:
                job = CountedJob(job, self, session)
            if client.phase is CONNECTED:
                self._run(session, job)
            elif client.hold_event(job):
                self._limit(session)
            elif client.phase is CONNECTED:  # it was let in at this very moment
                self._run(session, job)
        elif kind == ACK:
            self._on_ack(session, namespace, ack_id, data)
        elif kind == CONNECT:
            self._on_connect(session, namespace, data)
        elif kind == DISCONNECT:
            client = session.clients.get(namespace)
            if client is not None:
                self._client_left(client, Reason.CLIENT_DISCONNECT)
        else:
            raise ProtocolError(f"unexpected Socket.IO packet of type {kind}")
        if session.arriving_bytes:
            self._forget_arrived(session)

    def _forget_arrived(self, session: Session) -> None:
        """Count what has just arrived as pending no longer: nobody goes on with it."""
        self.give_back(session, self._pending.take(session))

    def give_back(self, session: Session, cost: int) -> None:
        """Count bytes of a session as pending no longer, and read on where that was waited for."""
        ready = self._pending.give_back(session, cost)
        self._read_on(session)
        self._read_unread(ready)

    def take_arrived(self, session: Session) -> int:
        """Return how many pending bytes the packet stands for that has just arrived."""
        return self._pending.take(session)

    def _read_unread(self, session: Session | None) -> None:
        if session is not None:
            self.mode.spawn(partial(self._run_unread, session))

    def _run_unread(self, session: Session) -> None:
        """Take the messages that had to wait because of what the process had pending."""
        while (message := self._pending.next_unread(session)) is not None:
            try:
                self.on_message(session, message, admitted=True)
            except Exception as error:  # noqa: BLE001  # as in the shells: it ends this connection only
                self.report(error, f"session {session.sid}")
                session.violate(error if isinstance(error, ProtocolError) else ProtocolError(str(error)))
            self._pending.was_read(session)
        self._read_unread(self._pending.next_ready())
        self._read_on(session)

    def _on_stray(self, session: Session, namespace: str) -> None:
        """Learn of an event for a namespace that the session is not in."""

    def _run(self, session: Session, job: Callable[[], object]) -> None:
        """Run a job that calls :meth:`_finish` at its end; read no more while too many of a session are unfinished."""
        session.backlog.append(None)  # before the start: the job may end at once
        try:
            if session.mailbox is None:
                self._workers.start(session, job)
            else:
                session.mailbox.put(job)
        except BaseException:  # no thread left; it ends the connection
            if isinstance(job, CountedJob):
                job.give_back()
            raise
        if len(session.backlog) >= self._some_pending or session.pending_bytes:
            self._limit(session)

    def _limit(self, session: Session) -> None:
        """Read no more from a client that has too many jobs unfinished."""
        count = len(session.backlog) + session.early
        if count >= self._most_pending or session.pending_bytes >= self._most_pending_bytes:
            session.hold()
            if self._caught_up(session):  # the handlers were faster, and saw nothing to release
                session.release()

    def _caught_up(self, session: Session) -> bool:
        return (
            len(session.backlog) + session.early <= self._few_pending
            and session.pending_bytes - session.arriving_bytes <= self._few_pending_bytes
            and not session.unread
            and not session.rests
        )

    def _read_on(self, session: Session) -> None:
        """Read on from a session whose handlers have caught up."""
        if session.held and self._caught_up(session):
            session.release()

    def _finish(self, session: Session) -> None:
        session.backlog.pop()
        if session.mailbox is None:
            self._workers.ended(session)
        if session.held:
            self._read_on(session)

    def _run_event(self, client: Client, ack_id: int | None, data: list[Any]) -> None:
        try:
            event, args = data[0], tuple(data[1:])
            answer = self._application.on_event(client, event, args)
            if ack_id is not None and answer is not None:
                try:
                    outgoing = self.codec.encode_ack(answer, client.namespace, ack_id)
                except InvalidData as error:
                    self._acknowledge_otherwise(client, event, args, ack_id, error)
                else:
                    client.send(outgoing)
        finally:
            self._finish(client.session)

    def _acknowledge_otherwise(
        self, client: Client, event: str, args: tuple[Any, ...], ack_id: int, error: InvalidData
    ) -> None:
        """Let the application say what to acknowledge instead of something that cannot be sent."""
        answer = self._application.on_invalid_ack(client, event, args, error)
        if answer is not None:
            try:
                outgoing = self.codec.encode_ack(answer, client.namespace, ack_id)
            except InvalidData as another:
                self.report(
                    another, f"what the error handler of event {printable(repr(event))} answered {client.sid}"
                )
            else:
                client.send(outgoing)

    def _on_ack(self, session: Session, namespace: str, ack_id: int | None, data: list[Any]) -> None:
        client = session.clients.get(namespace)
        callback = client.take_ack(ack_id) if client is not None and ack_id is not None else None
        if callback is not None:
            callback(*data)

    def _on_connect(self, session: Session, namespace: str, auth: Any) -> None:
        present = session.clients.get(namespace)
        if present is not None and present.phase is not Phase.GONE:
            return  # a repeated CONNECT changes nothing; one who left may come back while its farewell still runs
        if not self._application.accepts(namespace):
            session.send(self.codec.encode_connect_error(INVALID_NAMESPACE, namespace))
            return
        most = self.options.max_name_length
        if len(namespace) > most:
            text = f"name of {len(namespace)} characters, the server allows {most} (max_name_length)"
            session.send(self.codec.encode_connect_error({"message": text}, namespace))
            return
        most = self.options.max_namespaces
        if present is None and len(session.clients) >= most:
            text = f"too many namespaces on one connection, the server allows {most} (max_namespaces)"
            session.send(self.codec.encode_connect_error({"message": text}, namespace))
            return
        client = Client(new_sid(), namespace, session)
        with session.lock:
            if session.closed:
                return
            session.clients[namespace] = client
        with self._lock:
            rooms = self._rooms.get(namespace)
            if rooms is None:
                rooms = self._rooms[namespace] = self._new_rooms(self.mode.create_lock())
            rooms.add(client)
        if self.options.always_connect:
            client.accept(self.codec.encode_connect(client.sid, namespace))
        job: Job = partial(self._run_connect, client, auth)
        if session.arriving_bytes:
            job = CountedJob(job, self, session)
        self._run(session, job)

    def _run_connect(self, client: Client, auth: Any) -> None:
        try:
            self._ask(client, auth)
        except BaseException:  # a green library's Timeout, say: nobody let the client in
            self._refuse(client, REFUSED)
            raise
        finally:
            self._finish(client.session)

    def _ask(self, client: Client, auth: Any) -> None:
        """Have the connect handler decide about a client."""
        refusal: Any = REFUSED
        welcome = False
        try:
            welcome = self._application.on_connect(client, auth)
        except ConnectionRefusedError:
            refusal = REFUSED_PLAINLY
        except refusals() as error:
            refusal = error.error_args
        if not welcome:
            self._refuse(client, refusal)
        elif client.confirm():
            self._let_in(client)
        else:  # it left while its connect handler ran, which has let it in
            self._bid_farewell(client)
            self._hurry_farewells(client.session)

    def _let_in(self, client: Client) -> None:
        if client.accept(self.codec.encode_connect(client.sid, client.namespace)):
            for job in client.take_early():
                self._run(client.session, job)
        self._application.on_connected(client)

    def _refuse(self, client: Client, refusal: Any) -> None:
        left = client.leave(Reason.SERVER_DISCONNECT) is not None
        self._forget(client)  # before the client learns of it and tries again
        if not left:
            return
        try:
            answer = self._encode_refusal(client.namespace, refusal)
        except (TypeError, ValueError) as error:
            self.report(
                error,
                f"what a connect handler on namespace '{printable(client.namespace)}' refused a client with",
            )
            answer = self._encode_refusal(client.namespace, REFUSED)
        client.session.send(answer)

    def _encode_refusal(self, namespace: str, refusal: Any) -> Outgoing:
        if self.options.always_connect:
            return self.codec.encode_disconnect(namespace)  # which has no room for the refusal
        return self.codec.encode_connect_error(refusal, namespace)

    def _client_left(self, client: Client, reason: str) -> None:
        if client.leave(reason) and client.accepted:
            self._bid_farewell(client)

    def _bid_farewell(self, client: Client, run: Callable[[Job], object] | None = None) -> None:
        """Have the disconnect handler of a client run that was let in and has left."""
        with self._lock:
            self._farewells += 1
        farewell = partial(self._run_farewell, client)
        if run is None:
            self._run(client.session, farewell)
        else:
            client.session.backlog.append(None)
            if client.session.mailbox is None:
                self._workers.begin()
            run(farewell)

    def _hurry_farewells(self, session: Session) -> None:
        """Have the disconnect handlers of a closed session run, although its other handlers may never return."""
        if session.closed and session.waiting is not None:
            self.mode.call_later(
                FAREWELL_PATIENCE_S, partial(self._workers.hurry, session, self._is_farewell)
            )

    def _is_farewell(self, job: Job) -> bool:
        return isinstance(job, partial) and job.func == self._run_farewell

    def _run_farewell(self, client: Client) -> None:
        try:
            self._application.on_disconnect(client, client.reason)
        finally:
            self._forget(client)
            with self._lock:
                self._farewells -= 1
                done = self._idle if not self._farewells else None
            if done is not None:
                done.set()
            self._finish(client.session)

    def _forget(self, client: Client) -> None:
        session = client.session
        for job in client.take_early():
            if isinstance(job, CountedJob):
                job.give_back()
        self._read_on(session)
        with session.lock:
            if client.session.clients.get(client.namespace) is client:
                del client.session.clients[client.namespace]
        with self._lock:
            rooms = self._rooms.get(client.namespace)
            if rooms is not None:
                rooms.remove(client)
                if not rooms:
                    del self._rooms[
                        client.namespace
                    ]  # with namespaces="*", clients make up as many as they like

    # Emitter and LocalServer

    def emit(self, emission: Emission) -> None:
        """Send an event to clients of this process; see :meth:`Emitter.emit`."""
        event, args, namespace, to, skip, on_ack, volatile, _ = emission
        rooms = self._rooms.get(namespace)
        clients = rooms.select(to, skip) if rooms is not None else []
        if on_ack is not None:
            self._emit_with_ack(event, args, clients, on_ack)
        elif clients:
            outgoing = self.codec.encode_event(event, args, namespace, None)
            for client in clients:
                if client.phase is CONNECTED:  # what Client.send does, without the call
                    client.session.send(outgoing, volatile)
                else:
                    client.send(outgoing, volatile)

    def _emit_with_ack(
        self, event: str, args: tuple[Any, ...], clients: list[Client], on_ack: AckCallback
    ) -> None:
        for client in clients:
            ack_id = client.expect_ack(on_ack)
            if ack_id is not None:
                try:
                    outgoing = self.codec.encode_event(event, args, client.namespace, ack_id)
                except BaseException:
                    client.forget_acks(on_ack)
                    raise
                client.send(outgoing)

    def forget_acks(self, to: str, namespace: str, on_ack: AckCallback) -> None:
        """Wait no longer for what :meth:`emit` asked for; see :meth:`LocalServer.forget_acks`."""
        rooms = self._rooms.get(namespace)
        for client in rooms.members(to) if rooms is not None else ():
            client.forget_acks(on_ack)

    def enter_room(self, sid: str, room: str, namespace: str = "/") -> None:
        """Put a client of this process into a room; see :meth:`Emitter.enter_room`."""
        client = self._find(sid, namespace)
        if client is None:
            raise ValueError(
                f"cannot enter room {room!r}: sid {sid!r} is not connected to namespace {namespace!r}"
            )
        rooms = self._rooms.get(namespace)
        if rooms is not None:
            rooms.enter(client, room)

    def leave_room(self, sid: str, room: str, namespace: str = "/") -> None:
        """Take a client of this process out of a room."""
        client = self._find(sid, namespace)
        rooms = self._rooms.get(namespace)
        if client is not None and rooms is not None:
            rooms.leave(client, room)

    def close_room(self, room: str, namespace: str = "/") -> None:
        """Take every client of this process out of a room."""
        rooms = self._rooms.get(namespace)
        if rooms is not None:
            rooms.close(room)

    def disconnect(self, sid: str, namespace: str = "/", run: Callable[[Job], object] | None = None) -> None:
        """Disconnect a client of this process; one whose connect handler still runs is refused.

        :param run: runs the disconnect handler; ``None`` for a worker, as when the client leaves by itself.
        """
        client = self._find(sid, namespace)
        # It leaves before it learns of it and comes back.
        before = None if client is None else client.leave(Reason.SERVER_DISCONNECT)
        if client is None or before is None:
            return
        if before is Phase.PENDING:  # clients wait for a CONNECT or its refusal, and ignore anything else
            client.session.send(self.codec.encode_connect_error(REFUSED, namespace))
        else:
            client.session.send(self.codec.encode_disconnect(namespace))
        if client.accepted:  # or else its connect handler still runs
            self._bid_farewell(client, run)

    def is_connected(self, sid: str, namespace: str) -> bool:
        """Say whether an accepted or pending client of this process has that sid."""
        client = self._find(sid, namespace)
        return client is not None and client.phase is not Phase.GONE

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
        begun_s = self.clock()
        self.accepting = listens()
        running = self._close_sessions(timeout_s)
        if self.accepting:
            while listens() and self.clock() - begun_s < min(timeout_s, LISTENING_MOST_S):
                self.mode.sleep(LISTENING_POLL_S)
            self.accepting = False
            running = self._close_sessions(max(timeout_s - (self.clock() - begun_s), 0))
        return running

    def _close_sessions(self, timeout_s: float) -> int:
        idle = self.mode.create_event()
        with self._lock:
            sessions = list(self.sessions.values())
        for session in sessions:
            session.close(Reason.SERVER_DISCONNECT, code=GOING_AWAY)
        with self._lock:
            running = self._farewells
            if running:  # not before: the first ones may be through while the last ones have not begun
                self._idle = idle
        if running:
            idle.wait(timeout_s)
        with self._lock:
            self._idle = None
            return self._farewells

    def _find(self, sid: str, namespace: str) -> Client | None:
        rooms = self._rooms.get(namespace)
        return rooms.get(sid) if rooms is not None else None

    def report(self, error: BaseException, where: str) -> None:
        """Log an error from a worker: log handlers may block, and the hub must not.

        What a peer did wrong is no error of ours, and no reason to let it fill the log:
        each kind is told once a minute.
        """
        more = self.repeats.take(kind_of(error))
        if more is None:
            return
        if isinstance(error, ProtocolError):
            # These may be an honest client's, whose author looks for the limit or the option.
            honest = isinstance(error, (PayloadTooLarge, WrongSerializer))
            level = logging.WARNING if honest else logging.INFO
            self.mode.spawn(partial(self.logger.log, level, "%s: %s%s", where, error, more))
        else:
            self.mode.spawn(partial(log_error, self.logger, error, "unexpected error in %s%s", where, more))


class CountedJob:
    """A job whose data is counted as pending until it has run.

    :param session: its packet has just arrived.
    """

    __slots__ = ("_cost", "_job", "_server", "_session")

    def __init__(self, job: Job, server: Server, session: Session) -> None:
        self._job: Job | None = job
        self._server = server
        self._session = session
        self._cost = server.take_arrived(session)

    def __call__(self) -> None:
        """Run it."""
        job, self._job = self._job, None
        assert job is not None
        try:
            job()
        finally:
            del job  # and its data
            self.give_back()

    def give_back(self) -> None:
        """Count it no longer."""
        cost, self._cost = self._cost, 0
        self._server.give_back(self._session, cost)


def new_engine_sid() -> str:
    """Return an Engine.IO session id: 20 characters safe in URLs, 120 random bits."""
    return secrets.token_urlsafe(15)
