"""The Engine.IO server of one process: its sessions, their timer, and how many there may be.

It knows no transport and nothing of what is in the messages: transports open sessions and feed them, and each session
hands its messages to a listener.
"""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Callable
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Protocol

from ..common.quoting import printable
from ..common.reasons import Reason
from ..common.repeats import Repeats, kind_of
from ..common.tracebacks import log_error
from ..errors import PayloadTooLarge, ProtocolError, WrongSerializer
from .addresses import Addresses
from .descriptors import most_connections, raise_limit
from .packets import EIO_OPEN, Outgoing
from .serial import Serial
from .session import GOING_AWAY, Session, SessionSettings
from .timer import Timer
from .wsgi import stored_environ

if TYPE_CHECKING:
    from ..common.headers import Headers
    from ..common.options import Options
    from ..contracts import AsyncMode
    from .addresses import Place, TooMany
    from .observers import Observers
    from .session import Listener, Transport
    from .timer import Timed
    from .wsgi import Refusal

UPGRADE_POLL_S = 0.01


class Upgrade(Protocol):
    """A WebSocket that a session is about to be moved to; see ``upgrade.py``."""

    def give_up(self, code: int) -> None:
        """Close the WebSocket, unless the session has moved to it; a session that goes on stays where it is."""


class EngineIOServer:
    """The sessions of one process. Nothing here blocks.

    :param options: the checked options.
    :param mode: the selected async mode.
    :param listen: makes the listener of a new session.
    :param observers: whom to tell what happens.
    :param logger: logs what is noteworthy.
    :param clock: monotonic clock, seconds.
    """

    def __init__(
        self,
        options: Options,
        mode: AsyncMode,
        listen: Callable[[Session], Listener],
        observers: Observers,
        *,
        logger: logging.Logger,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.options = options
        self.mode = mode
        self.logger = logger
        self.clock = clock
        self.settings = SessionSettings(
            ping_interval=options.ping_interval,
            ping_timeout=options.ping_timeout,
            connect_timeout=options.connect_timeout,
            monitor=options.monitor_clients,
            outbox_max_bytes=options.outbox_max_bytes,
            outbox_max_packets=options.outbox_max_packets,
            outbox_policy=options.outbox_policy,
            max_packets_per_s=options.max_packets_per_s,
        )
        self.session_type: Callable[..., Session] = Session
        self.repeats = Repeats(clock)
        self.new_sid: Callable[[], str] = new_engine_sid
        """Makes a session's id."""
        self.accepting = True
        """``False`` once the server is ending."""
        self._listen = listen
        self._observers = observers
        self._told = Serial(mode)
        shortest_s = min(
            options.ping_interval, options.ping_timeout, options.connect_timeout, options.upgrade_timeout
        )
        self._timer = Timer(mode, clock, shortest_s, self.report)
        self._start_empty()

    def _start_empty(self) -> None:
        self._lock = self.mode.create_lock()
        self.sessions: dict[str, Session] = {}
        """The open sessions by their sid."""
        self.upgrading: set[Upgrade] = set()
        """The WebSockets that sessions are about to be moved to."""
        self.addresses = Addresses(
            self.mode.create_lock(),
            self.clock,
            self.options.max_connections_per_address,
            self.options.max_handshakes_per_address,
        )

    def forget(self) -> None:
        """Have no sessions in a forked child: they are the parent's."""
        self.new_sid = new_engine_sid
        self._start_empty()
        self._told.forget()
        self._timer.forget()

    @cached_property
    def most_connections(self) -> int | None:
        """How many there may be, ``None`` for any number.

        The first connection asks, and the process's limit of descriptors is raised only then.
        """
        raise_limit()
        limits = [limit for limit in (self.options.max_connections, most_connections()) if limit is not None]
        return min(limits, default=None)

    @cached_property
    def most_descriptors(self) -> int | None:
        """How many descriptors all connections that are ours alone may take, ``None`` for any number."""
        raise_limit()
        return most_connections()

    @property
    def longest_poll_s(self) -> float:
        """How long a poll waits for something to answer, seconds.

        Without monitoring nobody else would ever answer a quiet client's.
        """
        return self.options.ping_interval + self.options.ping_timeout

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
        lock, now_s = self.mode.create_lock(), self.clock()
        session = self.session_type(self.new_sid(), environ, self, transport, lock, now_s)
        session.listener = self._listen(session)
        session.place = place
        return session

    def add(self, session: Session) -> None:
        """Start a session; from now on the server may close it."""
        if self._observers.observes("socketio_session_opened"):
            self._observers.session_opened(
                engine_sid=session.sid,
                transport=session.transport.name,
                address=_address(session),
                environ=dict(session.environ),
            )
        with self._lock:
            self.sessions[session.sid] = session
        self.reschedule(session)

    def remove(self, session: Session) -> None:
        """Forget a session that has ended."""
        with self._lock:
            self.sessions.pop(session.sid, None)
        self._timer.remove(session)
        if session.place is not None:
            session.place.leave()
        if self._observers.observes("socketio_session_closed"):
            self.tell(
                partial(
                    self._observers.session_closed,
                    engine_sid=session.sid,
                    transport=session.transport.name,
                    address=_address(session),
                    reason=session.close_reason,
                )
            )

    def close_sessions(self) -> None:
        """Close all sessions of a process that ends; their clients shall come back, to another one."""
        with self._lock:
            sessions = list(self.sessions.values())
        for session in sessions:
            session.close(Reason.SHUTDOWN, code=GOING_AWAY)

    def finish_upgrades(self, timeout_s: float) -> None:
        """Let clients that are about to leave polling come to where they hear that their session has ended.

        :param timeout_s: how long, seconds.
        """
        until = self.clock() + timeout_s
        while self.upgrading and self.clock() < until:
            self.mode.sleep(UPGRADE_POLL_S)
        for probe in tuple(self.upgrading):
            probe.give_up(GOING_AWAY)

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

    # time

    def reschedule(self, item: Timed) -> None:
        """Put a session, or anything else that has a due time, into the one timer."""
        self._timer.schedule(item)

    def unschedule(self, item: Timed) -> None:
        """Take something out of the timer."""
        self._timer.unschedule(item)

    def overdue(self, session: Session) -> bool:
        """Return whether a client has not answered its ping in time, before the timer finds out.

        Not right after this process stood still: the answer may wait unread.
        """
        return not self._timer.is_late() and session.overdue(self.clock())

    # what is noteworthy

    def tell(self, job: Callable[[], object]) -> None:
        """Tell observers something from a worker, in the order in which it happened."""
        self._told.put(job)

    @property
    def adds_headers(self) -> bool:
        """Whether plugins add headers to responses."""
        return self._observers.adds_headers

    def response_headers(self, first: bool, environ: dict[str, Any], headers: Headers) -> Headers:
        """Return a response's headers with what plugins add.

        :param first: whether it is the first response of a session.
        """
        if not self._observers.adds_headers:
            return headers
        return self._observers.response_headers(environ=stored_environ(environ), headers=headers, first=first)

    def teller_of_refusal(self, environ: dict[str, Any]) -> Callable[[Refusal], object] | None:
        """Return what tells, without blocking, that a request was refused after all; ``None`` if nobody listens.

        :param environ: the request's.
        """
        if not self._observers.observes("socketio_refused"):
            return None
        kept = stored_environ(environ)
        return lambda refusal: self.tell(partial(self.on_refused, kept, refusal))

    def finish_telling(self, timeout_s: float) -> None:
        """Wait until observers were told what has happened so far.

        :param timeout_s: how long, seconds.
        """
        self._told.flush(timeout_s)

    def on_upgraded(self, session: Session, before: str) -> None:
        """Tell of a session that was moved."""
        if self._observers.observes("socketio_transport_changed"):
            self.tell(
                partial(
                    self._observers.transport_changed,
                    engine_sid=session.sid,
                    transport=session.transport.name,
                    before=before,
                )
            )

    def on_refused(self, environ: dict[str, Any], refusal: Refusal) -> None:
        """Tell of a request that is answered with an error."""
        if self._observers.observes("socketio_refused"):
            self._observers.refused(
                environ=stored_environ(environ),
                status=refusal.status,
                code=refusal.code,
                message=str(refusal),
            )

    def on_overflow(self, session: Session, packets: int, size_bytes: int) -> None:
        """Log an overflow and tell it, from a worker."""
        self.mode.spawn(partial(self._report_overflow, session.sid, packets, size_bytes))

    def _report_overflow(self, sid: str, packets: int, size_bytes: int) -> None:
        options = self.options
        more = self.repeats.take("overflow")
        if more is not None:
            self.logger.warning(
                "session %s does not read: %d packets of %d bytes wait (outbox_max_packets=%d, outbox_max_bytes=%d), "
                "policy %s%s",
                sid,
                packets,
                size_bytes,
                options.outbox_max_packets,
                options.outbox_max_bytes,
                options.outbox_policy,
                more,
            )
        self._observers.outbox_overflow(
            sid=sid, policy=options.outbox_policy, packets=packets, size_bytes=size_bytes
        )

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


def _address(session: Session) -> str:
    return str(session.environ.get("REMOTE_ADDR") or "")


def new_engine_sid() -> str:
    """Return an Engine.IO session id: 20 characters safe in URLs, 120 random bits."""
    return secrets.token_urlsafe(15)
