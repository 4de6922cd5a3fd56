"""What a plugin is told of clients, and of what is sent to them."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from .histories import HistoryLoad, OnceLoad
    from .servers import Cause

__all__ = [
    "AckCallback",
    "CallAnswers",
    "Client",
    "ClientCause",
    "Emission",
    "Load",
    "RecoveryLoad",
    "address_of",
]

AckCallback = Callable[..., None]
"""Called once with what the client acknowledged, as positional arguments."""


class Emission(NamedTuple):
    """An event that is sent to clients. Each addressed client receives it once.

    :param to: rooms and sids; ``None`` for every client of the namespace.
    :param skip: sids that do not receive it.
    :param on_ack: called with a client's answer, on the hub: must not block. Among several servers, ``to`` must be
        one sid or room.
    :param volatile: drop it for a client that cannot be written to at once.
    :param local: only to clients of this process.
    :param exclude: rooms whose members do not receive it, and sids.
    :param keep: an id of it, if it is kept in the history of a room; the core sets it.
    """

    event: str
    args: tuple[Any, ...] = ()
    namespace: str = "/"
    to: tuple[Any, ...] | None = None
    skip: frozenset[str] = frozenset()
    on_ack: AckCallback | None = None
    volatile: bool = False
    local: bool = False
    exclude: frozenset[Any] = frozenset()
    keep: str | None = None


ClientCause = Literal["silent", "gone", "dropped"]
"""Why a client has not answered:

- ``silent``: not within the time-out
- ``gone``: it has left since, or its server ended or was killed; or nobody is connected under a sid that was named
- ``dropped``: its answer is larger than what can be carried or kept, or cannot be read
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallAnswers:
    """What came back from the clients that ``SocketIO.call_all()`` has asked.

    :param answers: what each has acknowledged, by its sid: a value, a tuple of several, ``None`` for none.
    :param missing: why the others that were asked have not, by sid.
    :param servers: why it is not known of all clients of a server whom it has asked, by the server's id. Those that are
        ``unable`` have an older version: their clients hear the event and acknowledge nothing.
    :param more: clients beyond 100,000; what becomes of them is not kept.
    :param cut_off: this process did not hear the others when it asked, so that there may be some that it does not know.
    """

    answers: Mapping[str, Any]
    missing: Mapping[str, ClientCause]
    servers: Mapping[str, Cause] = field(default_factory=dict)
    more: int = 0
    cut_off: bool = False

    @property
    def complete(self) -> bool:
        """Whether everybody who was asked has answered, as far as can be known.

        Clients of python-socketio's processes are not: they hear the event, and nobody says that they were asked.
        """
        return not (self.missing or self.servers or self.more or self.cut_off)


class Client(Protocol):
    """One client on one namespace, as the application sees it."""

    @property
    def sid(self) -> str:
        """The Socket.IO session id, unique over all namespaces."""

    @property
    def namespace(self) -> str:
        """The namespace this client is connected to."""

    @property
    def engine_sid(self) -> str:
        """The Engine.IO session id, shared by all namespaces of one connection."""

    @property
    def environ(self) -> dict[str, Any]:
        """WSGI environ of the connection's first request, without the server's own objects. Shared: copy to change."""

    @property
    def recovered(self) -> bool:
        """Whether it has lost its connection and is back, with the same sid, rooms, data and user.

        It has missed nothing then. Always ``False`` without the option ``recovery``.
        """

    @property
    def missed(self) -> int:
        """How many events it was sent again when it came back, which it had missed; 0 if it has not."""

    @property
    def connected_at(self) -> float:
        """When it asked to join the namespace, seconds since the epoch."""

    @property
    def data(self) -> dict[str, Any]:
        """A dictionary of the application's own, to be read and changed in place, for what JSON can carry: it is what
        is told of a client to other servers. Empty at first.

        A dictionary that is set is copied and checked; what is put into it later is checked when it is carried.

        :raises InvalidData: when it is set to what JSON cannot carry; says where.
        :raises TypeError: when it is set to what is no dictionary.
        """

    @data.setter
    def data(self, data: dict[str, Any]) -> None: ...

    @property
    def user(self) -> str | None:
        """What identifies the user: text, or a number, which is kept as text. ``None``, as at first, for nobody.

        Setting it puts the client into the room of that user, :func:`~flask_socketio_core.user`, and out of that of
        another one.

        :raises TypeError: when it is set to something else.
        :raises ValueError: when it is set to empty text, or to more than ``max_name_length`` allows.
        """

    @user.setter
    def user(self, user: str | int | None) -> None: ...

    @property
    def expires_at(self) -> float | None:
        """When what let the client in ends to be valid, seconds since the epoch, as a JWT's ``exp``; ``None``, as at
        first, for never.

        The *connection* is closed then, with all its namespaces and with the reason ``EXPIRED``, in a way after which
        official clients connect again and present what they have by then. A time that is over closes it at once.

        :raises TypeError: when it is set to something that is no number.
        :raises ValueError: when it is not finite, or so large that it counts milliseconds.
        """

    @expires_at.setter
    def expires_at(self, expires_at: float | None) -> None: ...

    app_data: Any
    """Whatever the application wants to keep with the connection, for all its namespaces; ``None`` at first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryLoad:
    """What a process keeps for clients that may come back, and what has come of it since it began.

    :param clients: clients that could come back, connected ones included.
    :param lost_clients: those who have lost their connection.
    :param events: events that may have to be sent again; of volatile ones only the offset.
    :param events_bytes: what these take in memory, bytes.
    :param evicted_events: events that were forgotten because of ``max_bytes`` or ``max_namespace_bytes``.
    :param recovered: clients that have come back.
    :param expired: clients that have not come back in time.
    :param displaced: clients whose state was forgotten because of ``max_clients``.
    :param failed: clients that have come back and had to start anew, by the reason: ``"unknown"`` (it was not kept, or
        not for so long, or another server has it), ``"too many events"``, ``"events forgotten"``, ``"messages lost"``,
        ``"senders without numbers"``, ``"no answer"``, ``"login ended"``; see ``docs/recovery.md``.
    """

    clients: int
    lost_clients: int
    events: int
    events_bytes: int
    evicted_events: int
    recovered: int
    expired: int
    displaced: int
    failed: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a process has to do for its clients at the moment.

    :param connections: open connections by the transport that carries them, ``"polling"`` and ``"websocket"``.
    :param clients: clients by namespace; namespaces without any are not in it.
    :param rooms: rooms with clients by namespace, those of a single sid left out; likewise.
    :param outbox_connections: connections whose client has not read everything yet.
    :param outbox_packets: packets that wait for these clients; one that was written in part is none.
    :param outbox_bytes: their size, and what is left of those written in part, bytes.
    :param max_workers: the option of that name.
    :param busy_workers: handlers that run or have a worker coming. Of clients that have left, with handlers in order
        (``async_handlers="ordered"``), their disconnect handlers only.
    :param waiting_handlers: events and the like that wait for a worker, or for those of their client before them.
    :param recovery: what is kept for clients that may come back; ``None`` without the option ``recovery``.
    :param history: what is kept of rooms with a history; ``None`` without one.
    :param once: what has come of events that are handled once; ``None`` before the first.
    """

    connections: Mapping[str, int]
    clients: Mapping[str, int]
    rooms: Mapping[str, int]
    outbox_connections: int
    outbox_packets: int
    outbox_bytes: int
    max_workers: int
    busy_workers: int
    waiting_handlers: int
    recovery: RecoveryLoad | None = None
    history: HistoryLoad | None = None
    once: OnceLoad | None = None


def address_of(environ: Mapping[str, Any]) -> str | None:
    """Return what the clients of one address are counted under; ``None`` if there is none, as behind a Unix socket.

    It is the WSGI server's ``REMOTE_ADDR``, or the one that ``ProxyFix`` has put in its place; of IPv6 the network
    of the first 64 bits: whoever has one address there has all of the rest.
    """
    text = environ.get("REMOTE_ADDR")
    return _counted(text) if text else None


@lru_cache(maxsize=1024)
def _counted(text: str) -> str:
    for host in (text, text.rpartition(":")[0].strip("[]")):  # some proxies add the port
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            continue
        if address.version == 4:
            return str(address)
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return text
