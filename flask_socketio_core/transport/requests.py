"""What requests of open sessions do, whether this worker's web server has received them or another's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..common.reasons import Reason
from ..errors import ProtocolError
from .packets import EIO_CLOSE
from .payload import decode_payload, encode_payload
from .polling import OvertakenPolls, PollingTransport
from .wsgi import BAD_REQUEST, UNKNOWN_SID, Refusal

if TYPE_CHECKING:
    from .server import EngineIOServer
    from .session import Session


class Requests:
    """Find sessions and give them what their clients send. Nothing here blocks.

    :param server: whose sessions they are.
    """

    def __init__(self, server: EngineIOServer) -> None:
        self._server = server
        self.overtaken = OvertakenPolls()

    def find(self, sid: str, method: str) -> Session | None:
        """Return an open session; ``None`` if the request is a poll that came behind its client's farewell.

        :raises Refusal: if there is none.
        """
        session = self._server.sessions.get(sid)
        if session is not None and self._server.overdue(session):
            session.close(Reason.PING_TIMEOUT)
        if session is not None and not session.closed:
            return session
        if method == "GET" and self.overtaken.take(sid, self._server.clock()):
            return None
        raise Refusal(UNKNOWN_SID)

    def polling(self, session: Session) -> PollingTransport:
        """Return what answers a session's polls.

        :raises Refusal: if it was upgraded.
        """
        transport = session.transport
        if not isinstance(transport, PollingTransport):
            raise Refusal(BAD_REQUEST, "this session is on WebSocket already")
        return transport

    def begin_post(self, session: Session) -> None:
        """Receive a request's body from now on; set ``session.posting`` to ``False`` afterwards.

        :raises ProtocolError: if another one is being received.
        """
        with session.lock:
            overlap, session.posting = session.posting, True
        if overlap:
            raise ProtocolError("another request of this session is still being received")

    def take(self, session: Session, transport: PollingTransport, body: bytes) -> None:
        """Give a session the packets of a request's body.

        :raises ProtocolError: if they break the protocol.
        """
        packets = decode_payload(body, self._server.options.max_packets_per_payload)
        for packet in packets:
            if packet == EIO_CLOSE and not transport.polled:
                self.overtaken.expect(session.sid, self._server.clock())
            session.receive(packet)
        session.allowance -= len(packets)
        if session.allowance < 0:
            session.overdrawn()

    def answer(self, session: Session, packets: list[str | bytes]) -> bytes:
        """Return the body of the response to a poll.

        :param packets: what :meth:`PollingTransport.end_poll` returned.
        :raises Refusal: if there are none.
        """
        self.overtaken.take(session.sid, 0.0)
        if packets:
            return encode_payload(packets)
        if session.closed:
            raise Refusal(UNKNOWN_SID)  # as if it came now: the client starts over
        raise Refusal(BAD_REQUEST, "this session is on WebSocket already")

    def violate(self, session: Session, error: ProtocolError) -> None:
        """End a session whose client broke the protocol."""
        self._server.report(error, f"session {session.sid}")
        session.violate(error)
