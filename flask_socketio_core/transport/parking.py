"""Which polls wait without a thread, on whose connections, and which of them are known when they come again."""

from __future__ import annotations

import _socket
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from ..errors import ProtocolError
from .parked import NOOP, Keeping, KnownPoll, ParkedConnection, Response, WaitingPoll, is_full
from .polling import PollingTransport
from .repetition import END, digest_as_sent, digest_of
from .wsgi import Refusal, answer_raw, refusal_of, response_bytes

if TYPE_CHECKING:
    from ..contracts import KeepAlive
    from .reactor import Reactor
    from .repetition import Repetition
    from .requests import Requests
    from .server import EngineIOServer
    from .session import Session


class Parking:
    """Answer polls on connections that belong to us alone."""

    def __init__(self, server: EngineIOServer, reactor: Reactor, requests: Requests) -> None:
        self._server = server
        self._reactor = reactor
        self._requests = requests
        self._known: WeakValueDictionary[tuple[bytes, str], KnownPoll] = WeakValueDictionary()

    def is_full(self) -> bool:
        """Whether there is no descriptor for another one."""
        return is_full(self._server, self._reactor)

    def park(
        self,
        session: Session,
        sock: _socket.socket,
        first_bytes: bytes,
        response: Response,
        keep_alive: KeepAlive | None = None,
        poll: Repetition | None = None,
    ) -> None:
        """Answer a GET request when its session has something. It takes the socket, whatever happens.

        :param session: an open one.
        :param sock: a raw, non-blocking one.
        :param first_bytes: what was read behind the request.
        :param keep_alive: how the connection is kept for further requests; ``None`` to close it behind the answer.
        :param poll: knows the poll if it comes again; ``None`` if each is for the web server.
        :raises OSError: if it cannot be served.
        """
        # Who has sent more than this request is answered now, and shall send the rest again.
        hurries = bool(first_bytes.strip(b"\r\n"))
        keeping = None
        if keep_alive is not None and not hurries:
            keeping = Keeping(keep_alive, poll, _address(sock), self)
            self._know(session, response, keeping)
        self._park(session, sock, response, keeping, 0.0 if hurries else self._server.longest_poll_s)

    def _park(
        self,
        session: Session,
        sock: _socket.socket,
        response: Response,
        keeping: Keeping | None,
        longest_s: float,
    ) -> None:
        connection = ParkedConnection(self._server, self._reactor, session, sock, response, keeping)
        try:
            self._begin(connection, session, longest_s)
            connection.start()
        except BaseException:
            connection.end()
            raise

    def _know(self, session: Session, response: Response, keeping: Keeping) -> None:
        """Know a session's poll again as long as the session polls."""
        transport = session.transport
        if keeping.poll is not None and isinstance(transport, PollingTransport):
            known = KnownPoll(session.sid, keeping.poll, response)
            transport.known_poll = self._known[keeping.poll.first, keeping.peer] = known

    def find(self, keeping: Keeping, data: bytes) -> KnownPoll | None:
        """Return the poll of another session that has come on a connection, as a proxy may send it there."""
        if keeping.poll is None or not data.endswith(END):
            return None
        as_sent = digest_as_sent(data), keeping.peer
        known = self._known.get(as_sent)
        if known is None and (digest := digest_of(data)) is not None:
            known = self._known.get((digest, keeping.peer))
            if known is not None:
                self._known[as_sent] = known
                known.poll.learn(as_sent[0])
        return known

    def take(self, sock: _socket.socket, known: KnownPoll, keeping: Keeping) -> None:
        """Answer a poll on the connection of another session's last one; in the loop's task."""
        try:
            session = self._requests.find(known.sid, "GET")
        except Refusal as refusal:
            if known.response.on_refused is not None:
                known.response.on_refused(refusal)
            answer_raw(sock, refusal, known.response.headers)
            return
        if session is None:
            sock.send(response_bytes(200, known.response.headers, NOOP))
            sock.close()
            return
        # What knows the poll is kept with the session: to make it anew would take longer than all the rest.
        keeping = Keeping(keeping.keep_alive, known.poll, keeping.peer, self)
        self._park(session, sock, known.response, keeping, self._server.longest_poll_s)

    def go_on(self, connection: ParkedConnection, session: Session) -> None:
        """Answer a poll that has come again on the connection of the last one; in the loop's task."""
        try:
            found = self._requests.find(session.sid, "GET")
        except Refusal as refusal:
            connection.refuse(refusal)
            return
        if found is None:
            connection.respond(NOOP)
        else:
            self._begin(connection, found, self._server.longest_poll_s)

    def _begin(self, connection: ParkedConnection, session: Session, longest_s: float) -> None:
        try:
            poll = WaitingPoll(self._requests, connection, session, self._requests.polling(session))
            poll.begin(self._server.clock(), longest_s)
        except ProtocolError as error:
            self._requests.violate(session, error)
            connection.refuse(refusal_of(error))
        except Refusal as refusal:
            connection.refuse(refusal)


def _address(sock: _socket.socket) -> str:
    """Return the address of the other end; all connections to a Unix socket have the same."""
    try:
        peer: Any = sock.getpeername()
    except OSError:  # it is gone
        return ""
    return str(peer[0]) if isinstance(peer, tuple) else ""
