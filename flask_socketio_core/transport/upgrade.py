"""The upgrade of a polling session to WebSocket, while it is being tried.

==============  ==================================================================
received        does
==============  ==================================================================
``2probe``      answers ``3probe`` and lets the pending poll be answered
``5``           moves the session to this connection; if it has ended meanwhile, ends the connection
anything else   closes this connection; the session stays on polling
==============  ==================================================================

A client that was answered ``3probe`` stops to poll, and goes on with ``5`` whatever happens to the session meanwhile.
What would it notice? Not that the WebSocket is closed before: engine.io-client takes the upgrade for failed then, and
does not poll again either; it would stand still until its ping time-out, 45 s by default. So it is let finish.

Source: engine.io-protocol v4, "Upgrade"; engine.io-client, ``socket.ts`` (``_probe``) and ``polling.ts`` (``pause``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ..errors import ProtocolError
from .packets import CLOSE_PACKET, EIO_PING, EIO_UPGRADE, PROBE_ANSWER
from .session import Transport

if TYPE_CHECKING:
    from ..contracts import Lock
    from .detached import Target
    from .packets import Outgoing
    from .server import EngineIOServer
    from .session import Session

PROBE = EIO_PING + "probe"

MOST_FRAMES = 100
"""Most WebSocket frames of one upgrade, which takes two, and perhaps some pings."""


class WebSocketTransport(Transport, Protocol):
    """A WebSocket of either shell."""

    target: Target | None

    def answer(self, outgoing: Outgoing) -> bool:
        """Send one small packet outside of any session, while an upgrade is tried."""


class UpgradeProbe:
    """A WebSocket that asks to take over a polling session.

    :param server: keeps the time-out.
    :param session: the session to be moved.
    :param connection: the WebSocket.
    :param lock: guards the connection until the session's lock does.
    """

    __slots__ = (
        "_connection",
        "_due_s",
        "_probed",
        "_server",
        "_session",
        "allowance",
        "lock",
        "sid",
        "slot",
    )

    has_waiting = False

    def __init__(
        self, server: EngineIOServer, session: Session, connection: WebSocketTransport, lock: Lock
    ) -> None:
        self._server = server
        self._session = session
        self._connection = connection
        self._probed = False
        self.allowance = MOST_FRAMES
        # One too many is accepted and closed at once, as the protocol has it, not refused by HTTP status.
        wanted = session.transport.name == "polling" and session.probe is None
        self._due_s = server.clock() + (server.options.upgrade_timeout if wanted else 0)
        self.lock = lock
        connection.target = self  # before the timer, which may close the connection
        self.sid = session.sid
        self.slot = -1
        server.reschedule(self)

    def receive(self, packet: str | bytes) -> None:
        """Take one packet of the handshake.

        :raises ProtocolError: if it is not the expected one.
        """
        if packet == PROBE and not self._probed and self._session.begin_upgrade(self._connection):
            self._probed = True
            self._server.upgrading.add(self)
            self.send(PROBE_ANSWER)
        elif packet == EIO_UPGRADE and self._probed:
            self._end()  # before the session may be closed over it
            self._connection.target = self._session
            if not self._session.upgrade(self._connection):
                self._connection.target = self
                if self._session.dismissed:
                    self.send(CLOSE_PACKET)
                self.give_up(self._session.close_code)
        else:
            raise ProtocolError(
                f"unexpected packet {packet[:20]!r} while session {self.sid} is being upgraded"
            )

    def overdrawn(self) -> None:
        """Give the upgrade up, there are too many frames that have nothing to do with it."""
        self.give_up(1008)

    def violate(self, error: ProtocolError) -> None:
        """Give the upgrade up; the session stays where it is."""
        self.give_up(error.close_code)

    def lost(self, reason: str) -> None:
        """Give the upgrade up: the WebSocket is gone."""
        self.give_up(0)

    def next_due(self) -> float | None:
        """Return when the upgrade has taken too long."""
        return self._due_s

    def on_due(self, now_s: float) -> float | None:
        """Give the upgrade up, it has taken too long."""
        self.give_up(1000)
        return None

    def send(self, outgoing: Outgoing, volatile: bool = False) -> bool:
        """Answer on the WebSocket itself; the session's packets still go over polling."""
        return self._connection.answer(outgoing)

    def flush(self) -> bool:
        """Say that nothing waits."""
        return True

    def _end(self) -> None:
        self._server.unschedule(self)
        self._server.upgrading.discard(self)

    def give_up(self, code: int) -> None:
        """Close the WebSocket, unless the session has moved to it; a session that goes on stays where it is.

        :param code: for the peer; 0 for none.
        """
        self._end()
        if self._session.abandon_upgrade(self._connection):
            self._connection.close(code)
