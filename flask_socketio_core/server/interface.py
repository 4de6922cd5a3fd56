"""The narrow interface between the engine and everything above it.

Inwards, the engine tells one :class:`Application` what clients do. Outwards, everything that sends goes through one
:class:`Emitter`: :class:`~flask_socketio_core.server.server.Server` for this process alone, or the cluster, which
wraps a server and a message queue. A delivery that came from a bus and one from this process take the same path.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ..common.reasons import DisconnectReason, Reason
from ..contracts.clients import Client
from ..transport.observers import Observers as EngineObservers
from .recoverable import OnItsWay as OnItsWay
from .recoverable import Presented as Presented  # noqa: TC001  # for the cluster, which makes some
from .recoverable import Unrecoverable as Unrecoverable

if TYPE_CHECKING:
    import logging

    from ..contracts.clients import AckCallback, Emission, Load, RecoveryLoad
    from ..errors import InvalidData
    from .recoverable import Origin as Origin
    from .recoverable import Released


waited: ContextVar[float] = ContextVar("flask_socketio_core.waited", default=0.0)
"""How long the event that is being handled has waited for a worker, seconds; set only if somebody observes events."""


class Observers(EngineObservers, Protocol):
    """Whom to tell; see the lower half of it. The attributes are asked for each event, so they are no calls."""

    observes_events: bool
    observes_acks: bool
    observes_deliveries: bool

    def ack(self, *, sid: str, namespace: str, event: str, latency_s: float) -> None:
        """Tell of an acknowledgement of a client."""

    def ack_expired(self, *, sid: str, namespace: str, event: str, waited_s: float) -> None:
        """Tell of an acknowledgement that nobody waits for any longer."""

    def recovered(self, *, sid: str, namespace: str, missed: int) -> None:
        """Tell of a client that has come back to its state."""

    def recovery_failed(self, *, sid: str, namespace: str, reason: str) -> None:
        """Tell of a client that has come back and found no state, or an incomplete one."""

    def client_refused(self, *, sid: str | None, namespace: str, engine_sid: str, refusal: Any) -> None:
        """Tell of a client that may not join a namespace."""

    def room_entered(self, *, sid: str, namespace: str, room: Any) -> None:
        """Tell of a client that is in a room now."""

    def room_left(self, *, sid: str, namespace: str, room: Any) -> None:
        """Tell of a client that is in a room no longer."""

    def delivered(
        self,
        *,
        event: str,
        namespace: str,
        to: tuple[Any, ...] | None,
        args: tuple[Any, ...],
        recipients: int,
        size_bytes: int,
    ) -> None:
        """Tell of an event that was handed to clients of this process."""


class KeptClient(Client, Protocol):
    """A client of this process, as python-socketio's methods see it."""

    user_session: dict[str, Any] | None
    """python-socketio's session of the client, which is not Flask's; ``None`` as long as nobody asked for it."""


class Carrier(Protocol):
    """What carries a connection at the moment."""

    @property
    def name(self) -> str:
        """``"polling"`` or ``"websocket"``."""


class OpenSession(Protocol):
    """An Engine.IO session of this process, as Flask-SocketIO's attributes show it."""

    @property
    def sid(self) -> str:
        """The Engine.IO session id."""

    @property
    def environ(self) -> dict[str, Any]:
        """WSGI environ of its first request."""

    @property
    def transport(self) -> Carrier:
        """What carries it."""

    @property
    def probe(self) -> object | None:
        """The WebSocket that it is being moved to, if it is."""

    @property
    def closed(self) -> bool:
        """Whether it has ended."""

    @property
    def has_waiting(self) -> bool:
        """Return whether packets wait for the client to read."""

    @property
    def waiting_packets(self) -> int:
        """How many do."""

    def close(self, reason: str) -> object:
        """End it, with all its namespaces."""


AckReply = Callable[["tuple[Any, ...] | None"], object]
"""Called with what to acknowledge, positional values, or ``None`` to acknowledge nothing (no handler)."""


class Application(Protocol):
    """What the engine calls. All methods but :meth:`host_refusal` and :meth:`accepts` run in a worker and may block.

    Those that run handlers answer through a ``reply``, which is called once: before they return, or later and from any
    thread, with the worker free meanwhile. Until then the handler counts as running: the events behind it wait where
    they are handled in order, and the shutdown waits for disconnect handlers. What follows from a reply happens in the
    thread that gives it, :meth:`on_connected` and :meth:`on_invalid_ack` included. A second reply is a
    ``RuntimeError``; a handler that never replies is one that never returns; one that raises is answered for.
    """

    @property
    def observers(self) -> Observers:
        """Whom to tell what happens."""

    def host_refusal(self, environ: dict[str, Any]) -> str | None:
        """Say why a request's ``Host`` is refused, or ``None`` if it is not. Called for every HTTP request."""

    def accepts(self, namespace: str) -> bool:
        """Return whether clients may connect to a namespace. Called on the hub: must not block."""

    def on_connect(self, client: Client, auth: Any, reply: Callable[[bool | BaseException], object]) -> None:
        """Run the connect handlers.

        :param auth: what the client sent with CONNECT, or ``None``.
        :param reply: ``False`` refuses the client; so does a ``ConnectionRefusedError``, python-socketio's, with the
            data to send, or Python's own.
        :raises ConnectionRefusedError: the same as a reply.
        """

    def on_recovered(self, client: Client, before: Client) -> None:
        """Learn that a client is back which was another one's connection; :meth:`on_connect` follows.

        On the hub, or in a worker if it comes from another server.
        """

    def pack_session(self, client: Client) -> str | None:
        """Return a client's managed session as text, for another server; ``None`` if it has none.

        :raises TypeError: if it cannot be written as text.
        """

    def unpack_session(self, client: Client, packed: str | None) -> None:
        """Let a client that is away have the session that it has had at another server."""

    def on_connected(self, client: Client) -> None:
        """Learn that an accepted client's CONNECT packet was sent."""

    def on_event(self, client: Client, event: str, args: tuple[Any, ...], reply: AckReply) -> None:
        """Run an event's handler, and reply with what it acknowledges."""

    def on_invalid_ack(
        self, client: Client, event: str, args: tuple[Any, ...], error: InvalidData, reply: AckReply
    ) -> None:
        """Learn that what an event was answered with cannot be sent; reply with what can be."""

    def on_disconnect(self, client: Client, reason: str, reply: Callable[[], object]) -> None:
        """Run the disconnect handlers of an accepted client, once; reply then. Its rooms can be read until that."""


EVERYWHERE = "*"
"""Stands for all namespaces; no client can connect to one of that name."""


class Group(NamedTuple):
    """Some clients of a namespace.

    :param namespace: :data:`EVERYWHERE` for all.
    :param to: rooms and sids; ``None`` for all.
    :param exclude: rooms whose members are none of them, and sids.
    """

    namespace: str = "/"
    to: tuple[Any, ...] | None = None
    exclude: frozenset[Any] = frozenset()


class Emitter(Protocol):
    """What can be told to clients, wherever they are connected."""

    def emit(self, emission: Emission) -> None:
        """Send an event to clients."""

    def enter_room(self, sid: str, room: str, namespace: str = "/") -> None:
        """Put a client into a room. Unknown clients are ignored unless the server is alone.

        :raises ValueError: if the room is another client's sid, on whatever server, or the client is known to be not
            connected; of a client of this process, also if the name is too long or it is in too many rooms.
        """

    def leave_room(self, sid: str, room: str, namespace: str = "/") -> None:
        """Take a client out of a room; nothing happens if it is not there."""

    def close_room(self, room: str, namespace: str = "/") -> None:
        """Take every client out of a room.

        :raises ValueError: if the room is a client's sid, on whatever server.
        """

    def disconnect(self, sid: str, namespace: str = "/", reason: DisconnectReason = Reason.KICKED) -> None:
        """Disconnect a client from a namespace; nothing happens if it is not connected.

        :param reason: for its disconnect handler.
        """

    def move(self, group: Group, enter: Sequence[Any], leave: Sequence[Any]) -> None:
        """Take clients out of rooms and put them into others.

        :raises ValueError: if a room to enter is a client's sid, on whatever server; of clients of this process, also
            if the name is too long or one of them is in too many rooms. The others have entered it then.
        """

    def kick(self, group: Group, reason: DisconnectReason, *, close: bool) -> None:
        """Disconnect clients; their disconnect handlers run in workers.

        :param close: end their connections, with all namespaces.
        """


class LocalServer(Emitter, Protocol):
    """A server's view of its own clients, for the cluster and the facade."""

    @property
    def sid_address(self) -> str:
        """Of this server, for the sids of its clients; see :func:`~flask_socketio_core.common.sids.new_sid`."""

    @sid_address.setter
    def sid_address(self, address: str) -> None: ...

    def is_connected(self, sid: str, namespace: str) -> bool:
        """Return whether an accepted or pending client of this process has that sid on that namespace."""

    def is_here(self, sid: str) -> bool:
        """Return whether a client of this process has that sid, on whatever namespace; or one that may come back."""

    def has(self, sid: str, namespace: str) -> bool:
        """Return whether a client is connected to this process, or has lost its connection and may come back to it."""

    def emit(self, emission: Emission, origin: Origin | None = None) -> None:
        """Send an event to clients of this process.

        :param origin: the message that it comes with; ``None`` if no other server hears it.
        """

    def rooms(self, sid: str, namespace: str = "/") -> list[str]:
        """Return the rooms of a client of this process, its own sid included.

        :raises KeyError: if it is not connected here.
        """

    def members(self, room: str | None, namespace: str = "/") -> list[str]:
        """Return the sids of this process's clients in a room; ``None`` for the whole namespace."""

    def select(self, group: Group) -> Sequence[Client]:
        """Return those of a group that are clients of this process."""

    def room_sizes(self, namespace: str = "/") -> Mapping[Any, int]:
        """Return how many clients of this process are in each room, without their sids.

        :param namespace: :data:`EVERYWHERE` for all: rooms of one name are counted together.
        """

    def namespaces(self) -> list[str]:
        """Return the namespaces that have clients in this process."""

    def client(self, sid: str, namespace: str = "/") -> Client:
        """Return a client of this process.

        :raises KeyError: if it is not connected here.
        """

    def on_client_gone(self, sid: str, namespace: str, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back (on the hub, must not block) when a client of this process leaves; at once if it is not here.

        :returns: a function that withdraws the callback; it may be called at any time.
        """

    def ask_each(
        self,
        emission: Emission,
        on_asked: Callable[[list[str]], object],
        on_ack: Callable[[str, tuple[Any, ...]], object],
        on_gone: Callable[[str], object],
    ) -> Callable[[], object]:
        """Send an event to clients of this process that each acknowledges by itself.

        The callbacks may be called on the hub and before this returns: they must not block.

        :param on_asked: called first, with the sids of all who are asked.
        :param on_ack: called with a sid and what that client has acknowledged.
        :param on_gone: called with the sid of a client that has left without.
        :returns: what to call when nobody waits for them any more.
        """

    def forget_acks(self, to: str, namespace: str, on_ack: AckCallback) -> None:
        """Wait no longer for an answer; the callback may still be called if it is on its way.

        :param to: the sid or room that was given to :meth:`emit`.
        """

    def transport(self, sid: str, namespace: str = "/") -> str:
        """Return ``"polling"`` or ``"websocket"``.

        :raises KeyError: if it is not connected here.
        """

    def shutdown(self, timeout_s: float = 3.0) -> int:
        """Close every session with a CLOSE packet and wait for the disconnect handlers; refuse new sessions.

        :param timeout_s: how long to wait for the handlers, seconds.
        :returns: how many handlers are still running.
        """


class RecoverableClient(Client, Protocol):
    """A client that has lost its connection, or is back."""

    @property
    def rooms(self) -> Collection[Any] | None:
        """The rooms that it is in, that of its user included."""

    @property
    def has_left(self) -> bool:
        """Whether its connection has ended."""

    def keep_user(self, user: str | None) -> None:
        """Note whose it is; the rest is done."""


class KeptState(Protocol):
    """What such a client comes back to."""

    covered: Callable[[Origin], bool] | None
    """Says of a message from the queue that what came with it was noted already, at another server."""

    @property
    def client(self) -> RecoverableClient:
        """Who has it, or had it last."""

    covers: list[Any]
    """What that follows from, for the next server."""

    @property
    def pid(self) -> str:
        """What its client presents."""

    def released(self, presented: Presented | None, leave_out: Callable[[Origin], bool]) -> Released:
        """Return what another server needs to go on; nothing more is noted here.

        :param presented: what the client has presented there; ``None`` if it has not come yet.
        :param leave_out: says what that server has noted itself.
        :raises Unrecoverable: if it is incomplete.
        """


class States(Protocol):
    """The states of the clients of this process, for other servers; see ``server/recovery.py``."""

    elsewhere: Any

    def load(self) -> RecoveryLoad:
        """Return what is kept, and what has come of it."""

    def leave(self, pid: str, namespace: str, offset: str | None) -> RecoverableClient | None:
        """Have the client that has a state leave, for it is back at another server; ``None`` if there is none.

        :raises Unrecoverable: if that server cannot have it, or not yet.
        """

    def holder(self, pid: str) -> RecoverableClient | None:
        """Return the client that has a state."""

    def release(self, pid: str, client: Any) -> KeptState | None:
        """Take a client that has left out of its rooms, and its state out of what is kept here."""

    def pack(self, client: Any) -> dict[str, Any]:
        """Return what another server has to know of a client."""

    def receive(
        self, pid: str, namespace: str, sid: str, rooms: Iterable[Any], asker: Any
    ) -> KeptState | None:
        """Note what is emitted to a client whose state another server has still; ``None`` if it is to come otherwise.

        :param asker: who is back and asks for it; ``None`` for one of a server that ends.
        """

    def take_over(
        self,
        state: Any,
        packed: Mapping[str, Any],
        sent: Iterable[tuple[str, bool]],
        packets: Mapping[str, tuple[str | bytes, ...]],
        complete: bool,
        covered: Callable[[Origin], bool],
    ) -> None:
        """Keep a state that another server has released."""

    def resume(
        self, state: Any, old: Any, client: Any, offset: str | None, ask: Callable[[], object]
    ) -> None:
        """Let a client that is back have a state that was taken over.

        :param old: who stands for it until then.
        """

    def give_up(self, state: Any) -> None:
        """Note nothing more for a client whose state was not brought here."""

    @property
    def some_come(self) -> bool:
        """Whether states are on their way here."""

    def lost_states(self) -> Sequence[tuple[KeptState, int]]:
        """Return the states of all clients that have lost their connection, with about what they take, bytes."""

    def look_again(self, client: Any, presented: Presented, ask: Callable[[], object], until: float) -> None:
        """Look again, in a moment, for a state that is being given from one server to another one, perhaps this one."""

    def not_found(self, client: Any, pid: str, reason: str, ask: Callable[[], object]) -> None:
        """Have a client begin anew that no other server has a state of."""


class OwnServer(LocalServer, Protocol):
    """The Flask side's view of the server of its process."""

    accepting: bool
    """Whether new connections come in; ``False`` once the server is ending."""

    recorder: Callable[[Emission, Origin | None], object] | None
    """Called with each emission that has an id to be kept, in place of sending it: it sends it without."""

    @property
    def recoveries(self) -> States | None:
        """What clients come back to, if they can."""

    @property
    def logger(self) -> logging.Logger:
        """The logger of the engine."""

    @property
    def sessions(self) -> Mapping[str, OpenSession]:
        """The open sessions by their Engine.IO sid."""

    def load(self) -> Load:
        """Return what this process has to do for its clients."""

    def client_of(self, engine_sid: str, namespace: str) -> Client | None:
        """Return the client of a session on a namespace, ``None`` if there is none."""

    def clients_of(self, engine_sid: str) -> Sequence[Client]:
        """Return the clients of a session that are connected, one for each of its namespaces."""

    def room_names(self, namespace: str = "/") -> list[str]:
        """Return the rooms of a namespace in which clients of this process are, without their sids."""

    def client(self, sid: str, namespace: str = "/") -> KeptClient:
        """Return a client of this process.

        :raises KeyError: if it is not connected here.
        """

    def disconnect(
        self,
        sid: str,
        namespace: str = "/",
        reason: DisconnectReason = Reason.KICKED,
        run: Callable[[Callable[[], object]], object] | None = None,
    ) -> None:
        """Disconnect a client of this process.

        :param reason: for its disconnect handler.
        :param run: runs the disconnect handler; ``None`` for a worker, as when the client leaves by itself.
        """
