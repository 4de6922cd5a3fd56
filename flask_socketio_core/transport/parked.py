"""Polls that wait without a thread: their connections are in the reactor, and are answered there."""

from __future__ import annotations

import _socket
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from ..errors import ProtocolError
from .polling import UPGRADE_WAIT_S
from .reactor import EPOLLIN, EPOLLOUT
from .wsgi import (
    BAD_REQUEST,
    COMPRESSED_BYTES,
    GIVE_WAY_S,
    Refusal,
    compress,
    refusal_bytes,
    response_bytes,
)

if TYPE_CHECKING:
    from ..common.headers import Headers
    from .polling import PollingTransport
    from .reactor import Reactor
    from .requests import Requests
    from .server import EngineIOServer
    from .session import Session

LINGER_S = 2.0
"""How long a client may take to close a connection that was answered, seconds."""

MOST_LINGERING_BYTES = 65_536
"""So much is read, and dropped, of what a client sends behind the request, until the connection is closed."""

WAITING: Final = "waiting"
WRITING: Final = "writing"
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


class ParkedConnection:
    """A client's connection with one request, which is answered on it and closes it.

    It is :data:`WAITING` for the answer, :data:`WRITING` what the socket did not take at once, and :data:`LINGERING`
    until the client has closed its end, too: a connection that is closed with unread bytes is reset, and the answer may
    be lost. What comes behind the request is not served: a client that sends more on a connection than it has answers
    for does so again on another one (RFC 9112, section 9.3.2).

    The session's lock guards it.

    :param sock: the raw, non-blocking socket.
    :param headers: of the response, as far as they do not depend on the body.
    :param encodings: what the request's ``Accept-Encoding`` says.
    :param on_refused: learns of a refusal; must not block.
    """

    __slots__ = (
        "_drained",
        "_due_s",
        "_encodings",
        "_events",
        "_half_closed",
        "_headers",
        "_late",
        "_on_expired",
        "_on_gone",
        "_on_refused",
        "_reactor",
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
        headers: Headers,
        encodings: str,
        on_refused: Callable[[Refusal], object] | None = None,
    ) -> None:
        self._server = server
        self._reactor = reactor
        self._session = session
        self._sock = sock
        self._headers = headers
        self._encodings = encodings
        self._on_refused = on_refused
        self._state: str = WAITING
        self._events = EPOLLIN
        self._rest = memoryview(b"")
        self._drained = 0
        self._half_closed = False
        self._on_gone: Callable[[], object] | None = None
        self._on_expired: Callable[[], object] | None = None
        self._waits: Callable[[], object] | None = None
        self._due_s: float | None = None
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
        self._schedule(due_s)

    def come_again(self, callback: Callable[[], object]) -> None:
        """Call back in the loop's task, soon; any task may ask for that."""
        with self._session.lock:
            self._waits = callback
            self._reactor.come_again(self)

    def respond(self, body: bytes) -> None:
        """Answer, once; a large answer is compressed by a worker."""
        options = self._server.options
        if not (self._encodings and options.http_compression and len(body) >= options.compression_threshold):
            self._write(response_bytes(200, self._headers, body))
        elif len(body) <= COMPRESSED_BYTES:
            self._respond_compressed(body)
        else:
            self._server.mode.spawn(partial(self._respond_compressed, body))

    def _respond_compressed(self, body: bytes) -> None:
        give_way = partial(self._server.mode.sleep, GIVE_WAY_S)
        body, encoding = compress(body, self._encodings, give_way)
        more = [("Content-Encoding", encoding)] if encoding else []
        self._write(response_bytes(200, [*self._headers, *more], body))

    def refuse(self, refusal: Refusal) -> None:
        """Answer that the request is refused."""
        if self._on_refused is not None:
            self._on_refused(refusal)
        self._write(refusal_bytes(refusal, self._headers))

    def _write(self, response: bytes) -> None:
        """Begin to write a response, from any task."""
        with self._session.lock:
            if self.fd < 0 or self._state != WAITING:
                return
            self._state = WRITING
            self._rest = memoryview(response)
            self._go_on()
            lingers = self._state == LINGERING
        self._schedule(self._server.clock() + (LINGER_S if lingers else self._server.longest_poll_s))

    def _go_on(self) -> None:
        """Write what the socket takes; the session's lock is held.

        A client that has read all of it may poll again at once, and one that has not must not: both is decided under
        this lock.
        """
        try:
            self._rest = self._rest[self._sock.send(self._rest) :]
            if not self._rest:
                self._sock.shutdown(_socket.SHUT_WR)
        except BlockingIOError:
            pass
        except OSError:
            self._rest = memoryview(b"")  # the client is gone; the loop sees that, too
        self._session.unread_bytes = (3 * len(self._rest) + 3) // 4  # as on a WebSocket, without base64
        if self._rest:
            self._wait_for(EPOLLOUT)
        else:
            self._rest = memoryview(b"")  # the response need not be kept
            self._state = LINGERING
            self._wait_for(EPOLLIN)

    def _wait_for(self, events: int) -> None:
        if events != self._events:
            self._events = events
            self._reactor.wait_for(self.fd, events)

    # the loop's task only

    def on_readable(self) -> None:
        """Notice that the client is gone, or sends more; half of a connection may be closed without being gone."""
        with self._session.lock:
            if self.fd < 0:
                return
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
                    self._wait_for(0 if waits else EPOLLOUT)  # that it is gone is told all the same
            except BlockingIOError:
                return
            except OSError:
                gone = True
        if gone:
            self.end()
        elif data and waits and self._on_expired is not None:
            self._on_expired()

    def on_writable(self) -> None:
        """Write what is left of the answer."""
        with self._session.lock:
            if self.fd < 0 or self._state != WRITING:
                return
            self._go_on()
            lingers = self._state == LINGERING
        if lingers:
            self._schedule(self._server.clock() + LINGER_S)

    def on_more(self) -> None:
        """Go on with what waited, or give it up."""
        if self._state != WAITING:
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
            self._encodings = ""  # there is no time for it
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

    def _schedule(self, due_s: float) -> None:
        self._due_s, self._late = due_s, False
        self._server.reschedule(self)

    def next_due(self) -> float | None:
        """Return when it takes too long."""
        return self._due_s

    def on_due(self, now_s: float) -> float | None:
        """Answer the poll, or give the connection up: the loop does both."""
        with self._session.lock:
            self._late = True
            self._reactor.come_again(self)
        return None


class Parking:
    """Answer polls on connections that belong to us alone."""

    def __init__(self, server: EngineIOServer, reactor: Reactor, requests: Requests) -> None:
        self._server = server
        self._reactor = reactor
        self._requests = requests

    def is_full(self) -> bool:
        """Whether there is no descriptor for another one."""
        limit = self._server.most_descriptors
        return limit is not None and self._reactor.descriptors >= limit

    def park(
        self,
        session: Session,
        sock: _socket.socket,
        first_bytes: bytes,
        headers: Headers,
        encodings: str,
        on_refused: Callable[[Refusal], object] | None = None,
    ) -> None:
        """Answer a GET request when its session has something. It takes the socket, whatever happens.

        :param session: an open one.
        :param sock: a raw, non-blocking one.
        :param first_bytes: what was read behind the request.
        :param headers: of the response, as far as they do not depend on the body.
        :param encodings: what the request's ``Accept-Encoding`` says.
        :param on_refused: learns of a refusal; must not block.
        :raises OSError: if it cannot be served.
        """
        connection = ParkedConnection(
            self._server, self._reactor, session, sock, headers, encodings, on_refused
        )
        try:
            self._begin(connection, session, first_bytes)
            connection.start()
        except BaseException:
            connection.end()
            raise

    def _begin(self, connection: ParkedConnection, session: Session, first_bytes: bytes) -> None:
        # Who has sent more than this request is answered now, and shall send the rest again.
        longest_s = 0.0 if first_bytes.strip(b"\r\n") else self._server.longest_poll_s
        try:
            poll = WaitingPoll(self._requests, connection, session, self._requests.polling(session))
            poll.begin(self._server.clock(), longest_s)
        except ProtocolError as error:
            self._requests.violate(session, error)
            connection.refuse(Refusal(BAD_REQUEST, str(error), status=error.status))
        except Refusal as refusal:
            connection.refuse(refusal)
