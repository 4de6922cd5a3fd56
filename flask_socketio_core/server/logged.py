"""A server and sessions that tell what happens: the options ``logger`` and ``engineio_logger``.

They are classes of their own, chosen when the server is made, so that a server without them pays nothing. The facts
are those of python-socketio's and python-engineio's log lines at INFO, but for what may be a secret: CONNECT's auth is
never shown, and of packets only the beginning.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ..common.quoting import printable
from ..common.reasons import DisconnectReason, Reason, shown
from ..transport.packets import EIO_MESSAGE, EIO_OPEN
from ..transport.server import EngineIOServer
from ..transport.session import Session
from .connection import Connection
from .jobs import ConnectJob, EventJob
from .lines import Lines, choose_logger
from .packets import CONNECT
from .server import Server

if TYPE_CHECKING:
    import logging

    from ..common.options import Options
    from ..contracts import AsyncMode
    from ..contracts.clients import Emission
    from ..transport.packets import Outgoing
    from ..transport.session import Log, Transport
    from ..transport.wsgi import Refusal
    from .clients import Client
    from .connection import Job
    from .interface import Application
    from .lines import Tell
    from .recoverable import Origin
    from .shared import Shared

ENGINE_LOGGER = "flask_socketio_core.engineio"

CONNECT_MESSAGE = f"{EIO_MESSAGE}{CONNECT}"
"""How a packet begins that asks to connect, and may contain a password or a token."""

PACKETS = {"0": "OPEN", "1": "CLOSE", "2": "PING", "3": "PONG", "4": "MESSAGE", "5": "UPGRADE", "6": "NOOP"}
"""Names of Engine.IO packet types. Source: engine.io-protocol v4, "Protocol"."""


class LoggedServer(Server):
    """A server that writes lines about what it does."""

    def __init__(
        self, application: Application, options: Options, mode: AsyncMode, *, clock: Callable[[], float]
    ) -> None:
        self._lines = Lines(mode)
        engine_logger = choose_logger(options.engineio_logger, ENGINE_LOGGER)
        self._tell_engine = self._lines.teller(engine_logger, on=options.engineio_logger is not False)
        super().__init__(application, options, mode, clock=clock)
        self._tell = self._lines.teller(self.logger, on=options.logger is not False)
        self._tell_engine("server for async_mode=%s", mode.name)

    def _make_eio(
        self,
        application: Application,
        options: Options,
        clock: Callable[[], float],
        logger: logging.Logger,
    ) -> EngineIOServer:
        if options.engineio_logger is False:
            return super()._make_eio(application, options, clock, logger)
        return LoggedEngineIOServer(
            self._tell_engine,
            options,
            self.mode,
            self._listen,
            application.observers,
            logger=logger,
            clock=clock,
        )

    def _listen(self, session: Session) -> Connection:
        return LoggedConnection(self._tell, session, self._shared)

    def forget(self) -> None:
        """Have no clients in a forked child, and no lines to write."""
        self._lines.forget()
        super().forget()

    def emit(self, emission: Emission, origin: Origin | None = None) -> None:
        """Tell of an event that is sent to clients of this process."""
        self._tell_emission(emission)
        super().emit(emission, origin)

    def ask_each(
        self,
        emission: Emission,
        on_asked: Callable[[list[str]], object],
        on_ack: Callable[[str, tuple[Any, ...]], object],
        on_gone: Callable[[str], object],
    ) -> Callable[[], object]:
        """Tell of an event that clients of this process are sent and acknowledge."""
        self._tell_emission(emission)
        return super().ask_each(emission, on_asked, on_ack, on_gone)

    def _tell_emission(self, emission: Emission) -> None:
        to, event, namespace = emission.to, printable(str(emission.event)), printable(emission.namespace)
        rooms = "all" if to is None else printable(", ".join(map(str, to))) or "nobody"
        self._tell("emitting event '%s' to %s [%s]", event, rooms, namespace)

    def _enter(self, client: Client, room: Any) -> None:
        self._tell("%s is entering room %s [%s]", client.sid, printable(str(room)), _place(client))
        super()._enter(client, room)

    def _leave(self, client: Client, room: Any) -> None:
        self._tell("%s is leaving room %s [%s]", client.sid, printable(str(room)), _place(client))
        super()._leave(client, room)

    def close_room(self, room: str, namespace: str = "/") -> None:
        """Tell of a room that is closed."""
        self._tell("room %s is closing [%s]", printable(str(room)), printable(namespace))
        super().close_room(room, namespace)

    def disconnect(
        self,
        sid: str,
        namespace: str = "/",
        reason: DisconnectReason = Reason.KICKED,
        run: Callable[[Job], object] | None = None,
    ) -> None:
        """Tell of a client that the application disconnects."""
        self._tell("disconnecting %s [%s]", sid, printable(namespace))
        super().disconnect(sid, namespace, reason, run)

    def shutdown(self, timeout_s: float = 3.0, listens: Callable[[], bool] = lambda: False) -> int:
        """Tell of the end, and have the last lines written."""
        self._tell("shutting down with %d sessions", len(self.sessions))
        running = super().shutdown(timeout_s, listens)
        self._lines.flush()
        return running


class LoggedEventJob(EventJob):
    """Has an event handled, and tells of it."""

    __slots__ = ()

    connection: LoggedConnection

    def run(self) -> bool:
        """Tell of the event before it is handled."""
        client = self.client
        self.connection.tell(
            "received event '%s' from %s [%s]", printable(self.event), client.sid, _place(client)
        )
        return super().run()


class LoggedConnectJob(ConnectJob):
    """Has it decided whether a client is let in, and tells of it."""

    __slots__ = ()

    connection: LoggedConnection

    def ask(self) -> None:
        """Tell of the client before its handler runs."""
        client = self.client
        self.connection.tell(
            "client %s of session %s connects [%s]", client.sid, client.engine_sid, _place(client)
        )
        super().ask()


class LoggedConnection(Connection):
    """A connection that writes lines about what its clients do.

    :param tell: writes a line.
    """

    __slots__ = ("tell",)

    event_job = LoggedEventJob
    connect_job = LoggedConnectJob

    def __init__(self, tell: Tell, session: Session, shared: Shared) -> None:
        super().__init__(session, shared)
        self.tell = tell

    def _on_connect(self, namespace: str, auth: Any) -> None:
        if not self.shared.application.accepts(namespace):
            self.tell("session %s is refused: invalid namespace [%s]", self.session.sid, printable(namespace))
        super()._on_connect(namespace, auth)

    def _let_in(self, client: Client) -> None:
        self.tell("client %s is connected [%s]", client.sid, _place(client))
        super()._let_in(client)

    def _refuse(self, client: Client, refusal: Any) -> None:
        self.tell("client %s is refused [%s]", client.sid, _place(client))
        super()._refuse(client, refusal)

    def _on_stray(self, namespace: str) -> None:
        self.tell(
            "received an event from session %s, which is not connected [%s]",
            self.session.sid,
            printable(namespace),
        )

    def _on_ack(self, namespace: str, ack_id: int | None, data: list[Any]) -> None:
        client = self.clients.get(namespace)
        sid = f"a session without client, {self.session.sid}," if client is None else client.sid
        self.tell("received ack %s from %s [%s]", ack_id, sid, printable(namespace))
        super()._on_ack(namespace, ack_id, data)

    def _start_disconnect(self, client: Client, run: Callable[[Job], object] | None = None) -> None:
        reason = shown(client.reason)
        self.tell("client %s is disconnected: %s [%s]", client.sid, reason, _place(client))
        super()._start_disconnect(client, run)


class LoggedEngineIOServer(EngineIOServer):
    """An Engine.IO server that writes lines about its sessions.

    :param tell: writes a line.
    """

    def __init__(self, tell: Tell, options: Options, *args: Any, **keywords: Any) -> None:
        super().__init__(options, *args, **keywords)
        self._tell = tell
        # What another serializer's text contains, and where, is not known here.
        self.session_type = partial(LoggedSession, tell, options.serializer == "default")

    def add(self, session: Session) -> None:
        """Tell of a session that starts."""
        address = printable(str(session.environ.get("REMOTE_ADDR", "an unknown address")))
        self._tell("%s: opened over %s from %s", session.sid, session.transport.name, address)
        super().add(session)

    def open_packet(self, session: Session, *, upgrades: bool) -> Outgoing:
        """Tell of the first packet, which is sent in several ways."""
        packet = super().open_packet(session, upgrades=upgrades)
        self._tell("%s: sending packet OPEN %s", session.sid, str(packet.packets[0])[1:])
        return packet

    def remove(self, session: Session) -> None:
        """Tell of a session that ended."""
        reason = shown(session.close_reason)
        self._tell("%s: closed over %s: %s", session.sid, session.transport.name, reason)
        super().remove(session)

    def on_refused(self, environ: dict[str, Any], refusal: Refusal) -> None:
        """Tell of a request that is answered with an error."""
        method, address = environ["REQUEST_METHOD"], environ.get("REMOTE_ADDR", "an unknown address")
        self._tell(
            "refused %s from %s: %d %s", printable(method), printable(address), refusal.status, refusal
        )


class LoggedSession(Session):
    """A session that writes a line for each packet and each change of transport.

    :param tell: writes a line.
    :param shows: show what messages contain, not only their size.
    """

    __slots__ = ("_shows", "_tell")

    def __init__(self, tell: Tell, shows: bool, *args: Any) -> None:
        super().__init__(*args)
        self._tell = tell
        self._shows = shows

    def receive(self, packet: str | bytes) -> None:
        """Tell of a packet from the client."""
        if not self.closed:
            secret = packet[:2] == CONNECT_MESSAGE and isinstance(packet, str)
            shown = _without_auth(str(packet)) if secret and self._shows else self._shown(packet)
            self._tell("%s: received packet %s", self.sid, shown)
        super().receive(packet)

    def send(self, outgoing: Outgoing, volatile: bool = False) -> bool:
        """Tell of packets to the client."""
        self._tell_sent(outgoing)
        return super().send(outgoing, volatile)

    def send_noted(self, outgoing: Outgoing, volatile: bool, log: Log, entry: Any) -> bool:
        """Tell of packets to the client."""
        self._tell_sent(outgoing)
        return super().send_noted(outgoing, volatile, log, entry)

    def send_locked(self, outgoing: Outgoing) -> bool:
        """Tell of packets to the client."""
        self._tell_sent(outgoing)
        return super().send_locked(outgoing)

    def _tell_sent(self, outgoing: Outgoing) -> None:
        if self.closed:
            return
        for packet in outgoing.packets:
            if packet[:1] != EIO_OPEN:  # the server has told of that one
                self._tell("%s: sending packet %s", self.sid, self._shown(packet))

    def _shown(self, packet: str | bytes) -> str:
        """Return a packet's type and the beginning of its data."""
        if isinstance(packet, bytes):
            return f"MESSAGE <{len(packet)} bytes>"
        kind, data = packet[:1], packet[1:]
        if kind == EIO_MESSAGE and not self._shows:
            return f"MESSAGE <{len(data)} characters>"
        return f"{PACKETS.get(kind, '?')} {printable(data)}".rstrip()

    def begin_upgrade(self, probe: Transport) -> bool:
        """Tell of a client that asks to be moved."""
        begun = super().begin_upgrade(probe)
        self._tell(
            "%s: request to upgrade to %s%s",
            self.sid,
            probe.name,
            "" if begun else ", which cannot be followed now",
        )
        return begun

    def abandon_upgrade(self, probe: Transport) -> bool:
        """Tell of an upgrade that was given up."""
        tried = self.probe is probe
        abandoned = super().abandon_upgrade(probe)
        if tried and abandoned:
            self._tell("%s: upgrade to %s failed, still over %s", self.sid, probe.name, self.transport.name)
        return abandoned

    def upgrade(self, transport: Transport) -> bool:
        """Tell of a client that was moved."""
        moved = super().upgrade(transport)
        if moved:
            self._tell("%s: upgraded to %s", self.sid, transport.name)
        return moved


def _place(client: Client) -> str:
    return printable(client.namespace)


def _without_auth(packet: str) -> str:
    """Return what is shown of a CONNECT packet: the namespace, and how long the rest is."""
    text = packet[len(CONNECT_MESSAGE) :]
    namespace, comma, auth = text.partition(",") if text[:1] == "/" else ("", "", text)
    shown = printable(f"MESSAGE 0{namespace.partition('?')[0]}{comma}")
    return f"{shown} <auth of {len(auth)} characters>" if auth else shown
