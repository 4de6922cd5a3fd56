"""Pass requests on to the worker that has the session, and serve those that others pass on."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from ...contracts.detach import detach
from ...errors import ProtocolError
from ..packets import EIO_NOOP
from ..parked import Response, WaitingPoll
from ..payload import encode_payload
from ..wsgi import BAD_REQUEST, UNKNOWN_SID, Refusal, answer_raw, refusal_of, response_bytes
from .asking import Asking, Unanswered
from .messages import POLL, POST, QUEUE, WEBSOCKET, Answer, BrokenMessage, Request
from .receiving import Receiver
from .workers import Workers

if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable

    from ...contracts import SocketLocation
    from ...contracts.detach import Detached
    from ..parking import Parking
    from ..polling import PollingTransport
    from ..requests import Requests
    from ..server import EngineIOServer
    from ..session import Session
    from ..websocket import WebSocketEntrance
    from .receiving import Received

PATIENCE_S = 10.0
"""How much longer than the longest poll another worker may take, seconds."""
LOOK_S = 0.01
"""How often a worker that ends looks whether it was answered, seconds."""


class Passing:
    """This worker among the others of its web server.

    :param group: name of the workers that belong together.
    :param queue_of: returns the URL by which an application's workers are joined; ``""`` if it is not theirs.
    :raises OSError: if there is no place to meet in.
    """

    def __init__(
        self,
        group: str,
        server: EngineIOServer,
        entrance: WebSocketEntrance,
        requests: Requests,
        parking: Parking,
        queue_of: Callable[[str], str],
    ) -> None:
        self._server = server
        self._entrance = entrance
        self._requests = requests
        self._queue_of = queue_of
        self._parking = parking
        self.workers = Workers(group, server.mode.create_lock())
        self._waiting: set[Asking] = set()
        self._leaves = False
        self._receiver = Receiver(
            self.workers.sock, server, entrance.reactor, lambda: self._leaves, self._serve
        )

    def start(self) -> None:
        """Be asked from now on."""
        try:
            self._receiver.start()
        except BaseException:
            self.workers.close()
            raise

    def leave(self) -> None:
        """Be asked no more: sessions of this worker are unknown to the others from now on.

        The others are asked as before, but no client waits here for an answer any longer.
        """
        self._leaves = True
        self.workers.leave()
        for asking in list(self._waiting):
            asking.hurry()

    def finish(self, timeout_s: float) -> None:
        """Give the others so many seconds to answer what they were asked."""
        until_s = self._server.clock() + timeout_s
        while self._waiting and self._server.clock() < until_s:
            self._server.mode.sleep(LOOK_S)

    def close(self) -> None:
        """Close what the others connect to, when the reactor has been closed; only the copy of it in a forked child."""
        self.workers.close()

    # asking

    def owner_of(self, sid: str) -> str | None:
        """Return the socket's path of the worker that has a session; ``None`` if that is none of the others."""
        try:
            return self.workers.owner_of(sid)
        except OSError as error:
            self._server.report(error, "looking for the other workers")
            return None

    def connect(self, owner: str) -> Asking:
        """Connect to the worker that has a session.

        :param owner: its socket's path, as :meth:`Workers.owner_of` returns it.
        :raises Refusal: if that is not possible; the client starts anew if it has ended.
        """
        try:
            return Asking(owner, self._entrance.reactor, self._server.mode)
        except (ConnectionRefusedError, FileNotFoundError):
            self.workers.remove(owner)
        except OSError as error:
            self._server.report(error, "asking another worker")
            raise Refusal(BAD_REQUEST, "the worker of this session takes no requests", status=503) from error
        raise Refusal(UNKNOWN_SID)

    def ask(self, owner: str, request: Request, body: bytes, longest_s: float) -> bytes:
        """Have another worker serve a request, and return the body of the response to it.

        :param longest_s: how long that may take, seconds.
        :raises Refusal: if it refuses, or does not answer.
        """
        asking = self.connect(owner)
        self._waiting.add(asking)
        try:
            answer, body = asking.ask(
                request,
                body,
                max_body_bytes=2 * self._server.options.outbox_max_bytes
                + self._server.options.max_http_buffer_size,
                timeout_s=longest_s + PATIENCE_S,
                hurries=self._leaves,
            )
        except Unanswered as error:
            raise Refusal(UNKNOWN_SID) from error
        finally:
            self._waiting.discard(asking)
        if answer.code is not None:
            headers = [("Connection", "close")] if answer.closes else None
            raise Refusal((answer.code, answer.message), status=answer.status, headers=headers)
        return body

    def hand_over(self, owner: str, request: Request, location: SocketLocation) -> Detached:
        """Take a client's connection from its web server and give it to another worker.

        :returns: what the web server is to be told.
        :raises Refusal: if that worker cannot be reached; the web server still has the connection.
        :raises OSError: if there is no descriptor left, likewise.
        """
        asking = self.connect(owner)
        try:
            detached = detach(location)
        except BaseException:
            asking.close()
            raise
        try:
            asking.hand_over(request, detached.first_bytes, detached.sock)
        except OSError:
            answer_raw(detached.sock, Refusal(UNKNOWN_SID), request.headers)
        return detached

    # being asked; in the loop's task

    def _serve(self, received: Received, request: Request, body: bytes, sock: _socket.socket | None) -> None:
        try:
            if request.kind == WEBSOCKET:
                if sock is None:  # there was no descriptor left for it
                    raise BrokenMessage("an upgrade came without its connection")
                self._upgrade(request, body, sock)
                received.end()
            elif request.kind == POST:
                self._post(received, request, body)
            elif request.kind == POLL and (sock is not None or request.headers):
                if sock is None:  # likewise; nobody would get what the session has for its client
                    raise BrokenMessage("a poll came without its connection")
                self._park(request, body, sock)
                received.end()
            elif request.kind == POLL:
                self._poll(received, request)
            elif request.kind == QUEUE:
                received.reply(Answer(), self._queue_of(request.sid).encode())
            else:
                raise Refusal(BAD_REQUEST, f"a request of kind {request.kind!r}")
        except Refusal as refusal:
            if sock is not None:
                answer_raw(sock, refusal, request.headers)
                received.end()
            else:
                received.refuse(refusal)
        except BaseException:
            if sock is not None:
                sock.close()
            raise

    def _upgrade(self, request: Request, first_bytes: bytes, sock: _socket.socket) -> None:
        session = self._requests.find(request.sid, request.method)
        if session is None:
            raise Refusal(UNKNOWN_SID)
        self._entrance.take_over(session, request, first_bytes, sock)

    def _park(self, request: Request, first_bytes: bytes, sock: _socket.socket) -> None:
        session = self._requests.find(request.sid, request.method)
        if session is None:
            with suppress(OSError):  # the client is gone as well
                sock.send(response_bytes(200, request.headers, encode_payload([EIO_NOOP])))
            sock.close()
        elif self._parking.is_full():
            raise Refusal(BAD_REQUEST, "this worker has no descriptor left for another poll", status=503)
        else:
            response = Response(headers=list(request.headers), encodings=request.encodings)
            self._parking.park(session, sock, first_bytes, response)

    def _poll(self, received: Received, request: Request) -> None:
        session = self._requests.find(request.sid, request.method)
        if session is None:
            received.reply(Answer(), encode_payload([EIO_NOOP]))
            return
        transport = self._requests.polling(session)
        try:
            poll = WaitingPoll(self._requests, received, session, transport)
            poll.begin(self._server.clock(), self._server.longest_poll_s)
        except ProtocolError as error:
            raise self._violated(session, error) from error

    def _post(self, received: Received, request: Request, body: bytes) -> None:
        session = self._requests.find(request.sid, request.method)
        if session is None:
            raise Refusal(UNKNOWN_SID)
        transport = self._requests.polling(session)
        if request.error:
            error = ProtocolError(request.error)
            self._requests.violate(session, error)
            received.reply(Answer())  # the other worker has the refusal with its status and headers
            return
        try:
            self._requests.begin_post(session)
        except ProtocolError as error:
            raise self._violated(session, error) from error
        _HeldPost(self, received, session, transport, body).go_on()

    def take(self, session: Session, transport: PollingTransport, body: bytes) -> None:
        """Give a session what its client has sent.

        :raises Refusal: if it broke the protocol.
        """
        try:
            self._requests.take(session, transport, body)
        except ProtocolError as error:
            raise self._violated(session, error) from error

    def _violated(self, session: Session, error: ProtocolError) -> Refusal:
        self._requests.violate(session, error)
        return refusal_of(error)


class _HeldPost:
    """A POST request that is taken when its session is not held (any more)."""

    def __init__(
        self, passing: Passing, received: Received, session: Session, transport: PollingTransport, body: bytes
    ) -> None:
        self._passing = passing
        self._received = received
        self._session = session
        self._transport = transport
        self._body = body
        self._over = False
        received.when_gone(self._end)

    def set(self) -> None:
        """Learn, from any task, that the session is released or closed."""
        self._received.come_again(self.go_on)

    def go_on(self) -> None:
        """Take it, if the session lets us; the loop's task only."""
        if self._over or self._transport.waits_while_held(self._session, self):
            return
        self._end()
        try:
            self._passing.take(self._session, self._transport, self._body)
        except Refusal as refusal:
            self._received.refuse(refusal)
        else:
            self._received.reply(Answer())

    def _end(self) -> None:
        self._over = True
        self._session.posting = False
