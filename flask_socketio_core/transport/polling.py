"""The polling transport: what waits for a client goes out with its next GET request."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from ..common.reasons import Reason
from ..errors import ProtocolError
from .packets import EIO_CLOSE, EIO_NOOP

if TYPE_CHECKING:
    from ..contracts import AsyncMode
    from ..websocket_protocol.deflate import Deflate
    from .session import Session

MOST_PACKETS = 16
"""Most packets in one response: python-engineio's client refuses more (``Payload.max_decode_packets``)."""

UPGRADE_WAIT_S = 0.05
"""How long a poll that comes during an upgrade may wait for it to complete, seconds.

It may have overtaken the packet that completes the upgrade, and is an error after that. Engine.IO's own server answers
such a poll within 0.1 s.
"""


OVERTAKEN_S = 1.0
"""How long after a CLOSE packet the poll that it overtook is still answered, seconds."""


class OvertakenPolls:
    """Polls that arrive behind the CLOSE packet which was to release them.

    A client that leaves has a poll and a POST on their way at the same time, on two connections, and threads may take
    them in either order. The poll is answered with NOOP as if it had been there, instead of status 400. Not
    thread-safe beyond what a dictionary is: the worst outcome is the answer to a client that has left.
    """

    __slots__ = ("_until_s",)

    def __init__(self) -> None:
        self._until_s: dict[str, float] = {}

    def expect(self, sid: str, now_s: float) -> None:
        """Answer one poll of a session that is about to be closed by its client."""
        for old, until_s in list(self._until_s.items()):
            if until_s > now_s:
                break  # they are in the order of their time
            self._until_s.pop(old, None)
        self._until_s[sid] = now_s + OVERTAKEN_S

    def take(self, sid: str, now_s: float) -> bool:
        """Return whether a poll is to be answered, once."""
        return self._until_s.pop(sid, 0.0) > now_s


class Poster(Protocol):
    """Who waits to have a request's body received."""

    def set(self) -> None:
        """Learn that it is time to look again. Must not block."""


class Poller(Protocol):
    """Who waits for something to answer a poll with."""

    def set(self) -> None:
        """Learn that there is something, or may be. Must not block."""


class PollingTransport:
    """A woken transport. At most one poll waits at a time.

    Source: engine.io-protocol v4, "HTTP long-polling".
    """

    __slots__ = ("_poller", "_poster", "known_poll")

    name: str = "polling"
    write: Callable[[bytes], int] | None = None
    deflate: Deflate | None = None

    def __init__(self) -> None:
        self._poller: Poller | None = None
        self._poster: Poster | None = None
        self.known_poll: object = None
        """By which a poll is known when it comes again; nobody else keeps it."""

    @property
    def polled(self) -> bool:
        """Whether a poll waits."""
        return self._poller is not None

    def wake(self) -> None:
        """Answer the poll that waits, if any."""
        poller = self._poller
        if poller is not None:
            poller.set()

    def close(self, code: int) -> None:
        """Answer the requests that wait, if any; there is no connection to close."""
        self.wake()
        self.release()

    def hold(self) -> None:
        """Do nothing: the next POST request looks for itself, see :meth:`wait_while_held`."""

    def release(self) -> None:
        """Let the POST request that waits be received, if any."""
        poster = self._poster
        if poster is not None:
            poster.set()

    def wait_while_held(self, session: Session, mode: AsyncMode) -> None:
        """Leave a request's body unread until the handlers of those before have caught up."""
        poster = mode.create_event()
        while self.waits_while_held(session, poster):
            poster.wait()
            poster.clear()

    def waits_while_held(self, session: Session, poster: Poster) -> bool:
        """Return whether a request's body has to wait; then ``poster`` is told when to look again."""
        self._poster = poster
        if session.held and not session.closed and session.transport is self:
            return True
        self._poster = None
        return False

    def poll(self, session: Session, mode: AsyncMode, timeout_s: float) -> list[str | bytes]:
        """Wait until something is to be sent and return it; nothing if the session was upgraded, or if it ended and
        its client shall come back.

        :param timeout_s: longest wait, seconds; NOOP is returned after it.
        :raises ProtocolError: if another poll is waiting.
        """
        poller = mode.create_event()
        probing = self.begin_poll(session, poller)
        try:
            if not self.has_answer(session):
                poller.wait(UPGRADE_WAIT_S if probing else timeout_s)
        finally:
            packets = self.end_poll(session, probing)
        return packets

    def begin_poll(self, session: Session, poller: Poller) -> bool:
        """Have ``poller`` told from now on when there is something to answer.

        :returns: whether an upgrade was under way: then the answer takes :data:`UPGRADE_WAIT_S` at most.
        :raises ProtocolError: if another poll is waiting, or the answer to the last one was not read.
        """
        with session.lock:
            probing = session.probe is not None  # if it is not, begin_upgrade() finds us waiting
            overlap = self._poller is not None or session.unread_bytes > 0
            if not overlap:
                self._poller = poller
        if overlap:
            raise ProtocolError("another poll of this session is waiting")
        return probing

    def withdraw_poll(self, poller: Poller) -> None:
        """Tell it no more: who has asked is gone."""
        if self._poller is poller:
            self._poller = None

    def has_answer(self, session: Session) -> bool:
        """Return whether there is something to answer now."""
        return session.has_waiting or session.closed

    def is_quiet(self, session: Session) -> bool:
        """Return whether a poll would have to wait, and not only for the end of an upgrade."""
        return not self.polled and not self.has_answer(session) and session.probe is None

    def end_poll(self, session: Session, probing: bool) -> list[str | bytes]:
        """Return what a poll is answered; see :meth:`poll`.

        :param probing: what :meth:`begin_poll` returned.
        """
        self._poller = None
        if probing and session.transport is not self:
            return []
        packets = session.take_packets(self, None if session.closed else MOST_PACKETS)
        if session.dismissed or session.close_reason == Reason.TRANSPORT_ERROR:
            packets.append(EIO_CLOSE)
        elif session.closed and session.close_reason != Reason.CLIENT_DISCONNECT:
            return packets
        return packets or [EIO_NOOP]
