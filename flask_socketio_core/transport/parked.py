"""Polls that wait without a thread: their connections are in the reactor, and are answered there.

Where the web server can be given a connection back, it is kept for the next request. That is the same poll again, most
of the time, and is served here as well; any other request is the web server's.
"""

from __future__ import annotations

import _socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from .packets import EIO_NOOP
from .polling import UPGRADE_WAIT_S
from .reactor import EPOLLIN, EPOLLOUT
from .repetition import MOST_HEAD_BYTES
from .wsgi import (
    COMPRESSED_BYTES,
    GIVE_WAY_S,
    Refusal,
    compress,
    refusal_bytes,
    response_bytes,
)

if TYPE_CHECKING:
    from ..common.headers import Headers
    from ..contracts import KeepAlive
    from .polling import PollingTransport
    from .reactor import Reactor
    from .repetition import Repetition
    from .requests import Requests
    from .server import EngineIOServer
    from .session import Session

LINGER_S = 2.0
"""How long a client may take to close a connection that was answered, seconds."""

MOST_LINGERING_BYTES = 65_536
"""So much is read, and dropped, of what a client sends behind the request, until the connection is closed."""

NOOP = EIO_NOOP.encode()

WAITING: Final = "waiting"
WRITING: Final = "writing"
KEPT: Final = "kept"
LINGERING: Final = "lingering"


class Responder(Protocol):
    """Who gets a poll's answer. All but :meth:`come_again` is for the loop's task only."""

    def respond(self, body: bytes) -> None:
        """Answer, once."""

    def refuse(self, refusal: Refusal) -> None:
        """Answer that the request is refused, instead."""

    def when_gone(self, callback: Callable[[], object]) -> None:
        """Call back if nobody waits for the answer any longer."""

    def expire(self, due_s: float, callback: Callable[[], object]) -> None:
        """Call back at this time, a clock reading in seconds, unless it was answered."""

    def come_again(self, callback: Callable[[], object]) -> None:
        """Call back in the loop's task, soon; any task may ask for that."""


class WaitingPoll:
    """A poll that waits for something to answer, wherever the answer goes. Belongs to the loop's task."""

    __slots__ = ("_over", "_probing", "_requests", "_responder", "_session", "_transport")

    def __init__(
        self, requests: Requests, responder: Responder, session: Session, transport: PollingTransport
    ) -> None:
        self._requests = requests
        self._responder = responder
        self._session = session
        self._transport = transport
        self._probing = False
        self._over = False

    def begin(self, now_s: float, longest_s: float) -> None:
        """Answer as soon as there is something; before anybody else knows of the responder, or in the loop's task.

        :param now_s: clock reading, seconds.
        :param longest_s: when there is nothing, answer after so many seconds.
        :raises ProtocolError: if another poll is waiting.
        """
        self._probing = self._transport.begin_poll(self._session, self)
        self._responder.when_gone(self._leave)
        if self._transport.has_answer(self._session):
            self.answer()
        else:
            self._responder.expire(now_s + (UPGRADE_WAIT_S if self._probing else longest_s), self.answer)

    def set(self) -> None:
        """Learn, from any task, that there is something to answer."""
        self._responder.come_again(self.answer)

    def answer(self) -> None:
        """Answer, once."""
        if self._over:
            return
        self._over = True
        packets = self._transport.end_poll(self._session, self._probing)
        try:
            body = self._requests.answer(self._session, packets)
        except Refusal as refusal:
            self._responder.refuse(refusal)
        else:
            self._responder.respond(body)

    def _leave(self) -> None:
        """Be answered no more; unless the session ended as the server does, before the loop came to it."""
        if self._session.closed:
            self.answer()
        elif not self._over:
            self._over = True
            self._transport.withdraw_poll(self)


@dataclass(frozen=True, slots=True)
class Keeping:
    """How a connection is kept for further requests.

    :param keep_alive: for which time, and who gets it for a request that is another one.
    :param poll: knows its poll again; ``None`` if each is for the web server.
    :param peer: address of the other end, which may be a proxy's that has requests of several clients on it.
    :param parking: begins the poll that has come again; in the loop's task.
    """

    keep_alive: KeepAlive
    poll: Repetition | None
    peer: str
    parking: NextPolls


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What is known of the response to a poll while it waits.

    :param headers: as far as they do not depend on the body.
    :param encodings: what the request's ``Accept-Encoding`` says.
    :param on_refused: learns of a refusal; must not block.
    """

    headers: Headers
    encodings: str
    on_refused: Callable[[Refusal], object] | None = None


class KnownPoll:
    """A session's poll, which is known on other connections than the last one, too.

    :param poll: knows it again.
    """

    __slots__ = ("__weakref__", "poll", "response", "sid")

    def __init__(self, sid: str, poll: Repetition, response: Response) -> None:
        self.sid = sid
        self.poll = poll
        self.response = response


class NextPolls(Protocol):
    """Who begins the polls that come on a connection which is kept; all in the loop's task."""

    def go_on(self, connection: ParkedConnection, session: Session) -> None:
        """Answer a poll that has come again on the connection of the last one."""

    def find(self, keeping: Keeping, data: bytes) -> KnownPoll | None:
        """Return the poll of another session that has come on a connection, as a proxy may send it there."""

    def take(self, sock: _socket.socket, known: KnownPoll, keeping: Keeping) -> None:
        """Answer such a poll; the socket is the callee's, whatever happens."""


class ParkedConnection:
    """A client's connection with a poll, which is answered on it.

    It is :data:`WAITING` for the answer, and :data:`WRITING` what the socket did not take at once. Then it is either
    :data:`KEPT` for the next request, or closed: :data:`LINGERING` until the client has closed its end, too, because a
    connection that is closed with unread bytes is reset, and the answer may be lost. What comes behind the request is
    not served: a client that sends more on a connection than it has answers for does so again on another one (RFC
    9112, section 9.3.2).

    The session's lock guards it.

    :param sock: the raw, non-blocking socket.
    :param keeping: ``None`` to have it closed behind the answer.
    """

    __slots__ = (
        "_alarm_s",
        "_drained",
        "_due_s",
        "_events",
        "_half_closed",
        "_in_haste",
        "_keeping",
        "_late",
        "_on_expired",
        "_on_gone",
        "_reactor",
        "_response",
        "_rest",
        "_server",
        "_session",
        "_sock",
        "_state",
        "_waits",
        "fd",
        "slot",
    )

    what: str = "a poll"

    def __init__(
        self,
        server: EngineIOServer,
        reactor: Reactor,
        session: Session,
        sock: _socket.socket,
        response: Response,
        keeping: Keeping | None = None,
    ) -> None:
        self._server = server
        self._reactor = reactor
        self._session = session
        self._sock = sock
        self._response = response
        self._keeping = keeping
        self._in_haste = False
        self._state: str = WAITING
        self._events = EPOLLIN
        self._rest = memoryview(b"")
        self._drained = 0
        self._half_closed = False
        self._on_gone: Callable[[], object] | None = None
        self._on_expired: Callable[[], object] | None = None
        self._waits: Callable[[], object] | None = None
        self._due_s: float | None = None
        self._alarm_s: float | None = None
        self._late = False
        self.fd = sock.fileno()
        self.slot = -1

    def start(self) -> None:
        """Be served by the loop.

        :raises OSError: if that cannot be; call :meth:`end` then.
        """
        with self._session.lock:
            self._reactor.add(self, self._events)
            if self._waits is not None:
                self._reactor.come_again(self)
        self._reactor.watch()

    # a responder

    def when_gone(self, callback: Callable[[], object]) -> None:
        """Call back if the client goes away before it is answered."""
        self._on_gone = callback

    def expire(self, due_s: float, callback: Callable[[], object]) -> None:
        """Call back in the loop's task at this time, a clock reading in seconds, unless it was answered."""
        self._on_expired = callback
        with self._session.lock:
            sooner = self._is_due(due_s)
        if sooner:
            self._server.reschedule(self)

    def come_again(self, callback: Callable[[], object]) -> None:
        """Call back in the loop's task, soon; any task may ask for that."""
        with self._session.lock:
            self._waits = callback
            self._reactor.come_again(self)

    def respond(self, body: bytes) -> None:
        """Answer, once; a large answer is compressed by a worker."""
        options = self._server.options
        compresses = (
            len(body) >= options.compression_threshold
            and options.http_compression
            and self._response.encodings
            and not self._in_haste
        )
        if not compresses:
            self._write(200, self._response.headers, body)
        elif len(body) <= COMPRESSED_BYTES:
            self._respond_compressed(body)
        else:
            self._server.mode.spawn(partial(self._respond_compressed, body))

    def _respond_compressed(self, body: bytes) -> None:
        give_way = partial(self._server.mode.sleep, GIVE_WAY_S)
        body, encoding = compress(body, self._response.encodings, give_way)
        more = [("Content-Encoding", encoding)] if encoding else []
        self._write(200, [*self._response.headers, *more], body)

    def refuse(self, refusal: Refusal) -> None:
        """Answer that the request is refused, and close the connection behind that."""
        self._keeping = None
        response = self._response
        if response.on_refused is not None:
            response.on_refused(refusal)
        self._begin_to_write(refusal_bytes(refusal, response.headers))

    def _write(self, status: int, headers: Headers, body: bytes) -> None:
        if self._keeping is not None and (not self._server.accepting or is_full(self._server, self._reactor)):
            self._keeping = None
        self._begin_to_write(response_bytes(status, headers, body, closes=self._keeping is None))

    def _begin_to_write(self, response: bytes) -> None:
        """Begin to write a response, from any task."""
        with self._session.lock:
            if self.fd < 0 or self._state != WAITING:
                return
            self._state = WRITING
            self._rest = memoryview(response)
            self._go_on()
            due_s = self._server.clock() + self._patience_s()
            sooner = self._is_due(due_s)
        if sooner:
            self._server.reschedule(self)

    def _patience_s(self) -> float:
        """Return how long the client may take for what it has to do next, seconds."""
        if self._state == LINGERING:
            return LINGER_S
        if self._state == KEPT and self._keeping is not None:
            return self._keeping.keep_alive.longest_s
        return self._server.longest_poll_s

    def _go_on(self) -> None:
        """Write what the socket takes; the session's lock is held.

        A client that has read all of it may poll again at once, and one that has not must not: both is decided under
        this lock.
        """
        try:
            self._rest = self._rest[self._sock.send(self._rest) :]
            if not self._rest and self._keeping is None:
                self._sock.shutdown(_socket.SHUT_WR)
        except BlockingIOError:
            pass
        except OSError:
            self._rest = memoryview(b"")  # the client is gone; the loop sees that, too
            self._keeping = None
        self._session.unread_bytes = (3 * len(self._rest) + 3) // 4  # as on a WebSocket, without base64
        if self._rest:
            self._wait_for(EPOLLOUT)
        else:
            self._rest = memoryview(b"")  # the response need not be kept
            self._state = LINGERING if self._keeping is None else KEPT
            self._wait_for(EPOLLIN)

    def _wait_for(self, events: int) -> None:
        if events != self._events:
            self._events = events
            self._reactor.wait_for(self.fd, events)

    # the loop's task only

    def on_readable(self) -> None:
        """Notice that the client is gone, or sends more; half of a connection may be closed without being gone."""
        if self._state == KEPT and self._keeping is not None:
            self._serve_next(self._keeping)
            return
        with self._session.lock:
            if self.fd < 0:
                return
            if self._state == KEPT:
                return  # it was answered this moment, by another task: the loop comes again
            waits, data = self._state == WAITING, b""
            try:
                if self._state == LINGERING:
                    data = self._sock.recv(MOST_LINGERING_BYTES)
                    self._drained += len(data)
                    gone = not data or self._drained > MOST_LINGERING_BYTES
                else:
                    data = self._sock.recv(1, _socket.MSG_PEEK)
                    gone = not data and self._half_closed
                    self._half_closed = not data
                    if waits:
                        self._keeping = None
                    self._wait_for(0 if waits else EPOLLOUT)  # that it is gone is told all the same
            except BlockingIOError:
                return
            except OSError:
                gone = True
        if gone:
            self.end()
        elif data and waits and self._on_expired is not None:
            self._on_expired()

    def _serve_next(self, keeping: Keeping) -> None:
        """Take what comes after the answer: the poll again, or something for the web server."""
        with self._session.lock:
            if self.fd < 0:
                return
            try:
                data = self._sock.recv(MOST_HEAD_BYTES, _socket.MSG_PEEK)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            again = keeping.poll is not None and keeping.poll.matches(data)
            known = None if again or not data else keeping.parking.find(keeping, data)
            if again or known is not None:
                self._sock.recv(len(data))
            if again:
                self._state = WAITING
            elif data:
                self._reactor.remove(self.fd)
                self.fd = -1
        if again:
            keeping.parking.go_on(self, self._session)
            return
        if not data:
            self.end()
            return
        self._server.unschedule(self)
        if known is None:
            keeping.keep_alive.give_back(self._sock)
        else:
            keeping.parking.take(self._sock, known, keeping)

    def on_writable(self) -> None:
        """Write what is left of the answer."""
        with self._session.lock:
            if self.fd < 0 or self._state != WRITING:
                return
            self._go_on()
            written = self._state != WRITING
            sooner = written and self._is_due(self._server.clock() + self._patience_s())
        if sooner:
            self._server.reschedule(self)

    def on_more(self) -> None:
        """Go on with what waited, or give it up."""
        if self._state != WAITING:
            if not self._late:
                return
            if self._state == KEPT:
                self.on_readable()  # what has just come is served
            if self._late:
                self.end()
            return
        callback = self._on_expired if self._late else self._waits
        if callback is not None:
            callback()

    def end(self) -> None:
        """Close the connection; who is about to be answered because the session is closed still is."""
        on_gone, self._on_gone = self._on_gone, None
        if on_gone is not None and self._state == WAITING:
            self._in_haste = True
            on_gone()
        with self._session.lock:
            if self.fd < 0:
                return
            self._reactor.remove(self.fd)
            self.fd = -1
            self._sock.close()
            if self._state == WRITING:
                self._session.unread_bytes = 0
        self._server.unschedule(self)

    def forget(self) -> None:
        """Close the descriptor, in a forked child."""
        self.fd = -1
        self._sock.close()

    # time

    def _is_due(self, due_s: float) -> bool:
        """Take too long from this time on; return whether the timer would come too late for that. The lock is held.

        A connection that is kept has another time with each poll and each answer, nearly all of which are never
        reached: the timer comes at the earliest of them, and again at the one that holds by then.
        """
        self._due_s, self._late = due_s, False
        sooner = self._alarm_s is None or due_s < self._alarm_s
        if sooner:
            self._alarm_s = due_s
        return sooner

    def next_due(self) -> float | None:
        """Return when it takes too long."""
        return self._due_s

    def on_due(self, now_s: float) -> float | None:
        """Answer the poll, or give the connection up: the loop does both."""
        with self._session.lock:
            self._alarm_s = None
            if self._due_s is not None and self._due_s > now_s:
                self._alarm_s = self._due_s
                return self._due_s
            self._late = True
            self._reactor.come_again(self)
        return None


def is_full(server: EngineIOServer, reactor: Reactor) -> bool:
    """Whether there is no descriptor for another connection of ours."""
    limit = server.most_descriptors
    return limit is not None and reactor.descriptors >= limit
