"""Attributes of ``socketio.server.manager``, python-socketio's ``Manager`` in Flask-SocketIO."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ...common.values import full_namespace
from .left_out import INTERNAL, LeftOut
from .live import LiveMapping

if TYPE_CHECKING:
    from ...common.keywords import Recipients, Room
    from ..interfaces import Facade

CHANGE_ROOMS = "it is a view; use socketio.server.enter_room(), leave_room() and close_room()"
CHANGED = dict.fromkeys(("clear", "pop", "popitem", "setdefault", "update"), CHANGE_ROOMS)


class ManagerAttributes(LeftOut):
    """What applications touch of ``socketio.server.manager`` besides its public methods."""

    PATH = "socketio.server.manager"
    LEFT_OUT: ClassVar[Mapping[str, str]] = {
        "callbacks": "an acknowledgement's callback is forgotten with its client",
        "can_disconnect": "use is_connected()",
        "connect": "clients connect by themselves; tests use socketio.test_client()",
        "eio_to_sid": "use sid_from_eio_sid(eio_sid, namespace)",
        "pending_connect": "use is_connected()",
        "pending_disconnect": "use is_connected()",
        "is_pre_connected": "use is_connected()",
        "is_sid_room": "use is_connected(sid=room, namespace=...)",
        "json": "pass json= to SocketIO()",
        "logger": "use socketio.server.logger",
        "pre_connect": "clients connect by themselves; tests use socketio.test_client()",
        "trigger_callback": INTERNAL,
        "pre_disconnect": "use socketio.server.disconnect()",
        "basic_enter_room": "use socketio.server.enter_room()",
        "basic_leave_room": "use socketio.server.leave_room()",
        "basic_close_room": "use socketio.server.close_room()",
        "basic_disconnect": "use socketio.server.disconnect()",
        "redis": "the message queue's plugin has the connection; socketio.health() says how it is",
        "set_server": "SocketIO() does that",
        "initialize": "the first request does that",
    }

    if TYPE_CHECKING:
        _facade: Facade

    @property
    def rooms(self) -> NamespacesOfRooms:
        """By namespace and room, the Engine.IO sid of each client of this process; the room ``None`` is everybody.

        Instead: ``get_namespaces()``, ``get_participants()``, ``socketio.server.rooms(sid)``.
        """
        return NamespacesOfRooms(self._facade)

    @property
    def server(self) -> Facade:
        """The same as ``socketio.server``. Instead: that."""
        return self._facade

    @property
    def write_only(self) -> bool:
        """Whether this process only sends. Instead: it does if ``SocketIO()`` was given no application."""
        return self._facade._binding.server is None

    @property
    def channel(self) -> str:
        """The option of that name. Instead: an argument of ``SocketIO()``."""
        return self._facade._binding.options.channel

    def eio_sid_from_sid(self, sid: str, namespace: str) -> str | None:
        """Return the Engine.IO sid of a client, or ``None`` if it is not connected to this process.

        Instead: ``get_participants(namespace, sid)``, which has both.
        """
        try:
            return self._facade._server.client(sid, full_namespace(namespace)).engine_sid
        except KeyError:
            return None

    def sid_from_eio_sid(self, eio_sid: str, namespace: str) -> str | None:
        """Return the sid that a connection of this process has on a namespace, or ``None``.

        Instead: ``get_participants(namespace, None)``, which has both.
        """
        client = self._facade._server.client_of(eio_sid, full_namespace(namespace))
        return client.sid if client is not None else None

    def disconnect(self, sid: str, namespace: str, **ignored: Any) -> None:
        """Disconnect a client. Instead: ``socketio.server.disconnect(sid, namespace)``."""
        self._facade.disconnect(sid, namespace, ignore_queue=bool(ignored.get("ignore_queue")))

    def emit(
        self,
        event: str,
        data: Any,
        namespace: str,
        room: Recipients = None,
        skip_sid: Any = None,
        callback: Callable[..., Any] | None = None,
        to: Recipients = None,
        **ignored: Any,
    ) -> None:
        """Send an event to clients. Instead: ``socketio.emit()``."""
        self._facade.emit(event, data, to, room, skip_sid, namespace, callback)

    def enter_room(self, sid: str, namespace: str, room: Room, eio_sid: str | None = None) -> None:
        """Put a client into a room. Instead: ``socketio.server.enter_room(sid, room, namespace)``."""
        self._facade.enter_room(sid, room, namespace)

    def leave_room(self, sid: str, namespace: str, room: Room) -> None:
        """Take a client out of a room. Instead: ``socketio.server.leave_room(sid, room, namespace)``."""
        self._facade.leave_room(sid, room, namespace)

    def close_room(self, room: Room, namespace: str) -> None:
        """Take everybody out of a room. Instead: ``socketio.close_room(room, namespace)``."""
        self._facade.close_room(room, namespace)


class NamespacesOfRooms(LeftOut, LiveMapping[str, "RoomsOfNamespace"]):
    """``manager.rooms``: the rooms of each namespace that has clients."""

    PATH = "socketio.server.manager.rooms"
    LEFT_OUT = CHANGED

    def __init__(self, facade: Facade) -> None:
        self._facade = facade

    def __getitem__(self, namespace: str) -> RoomsOfNamespace:
        if namespace not in self._facade._server.namespaces():
            raise KeyError(namespace)
        return RoomsOfNamespace(self._facade, namespace)

    def __iter__(self) -> Iterator[str]:
        return iter(self._facade._server.namespaces())

    def __len__(self) -> int:
        return len(self._facade._server.namespaces())


class RoomsOfNamespace(LeftOut, LiveMapping[Any, "Members"]):
    """``manager.rooms[namespace]``: who is in each room; the room ``None`` is everybody, a sid that client alone."""

    PATH = "socketio.server.manager.rooms[namespace]"
    LEFT_OUT = CHANGED

    def __init__(self, facade: Facade, namespace: str) -> None:
        self._facade = facade
        self._namespace = namespace

    def __getitem__(self, room: Room) -> Members:
        members = Members(self._facade, self._namespace, room)
        if not members:
            raise KeyError(room)
        return members

    def __iter__(self) -> Iterator[Room]:
        server = self._facade._server
        sids = server.members(None, self._namespace)
        return iter([*([None] if sids else []), *sids, *server.room_names(self._namespace)])

    def __len__(self) -> int:
        return len(list(iter(self)))


class Members(LeftOut, LiveMapping[str, str]):
    """``manager.rooms[namespace][room]``: the Engine.IO sid of each client in it, by sid."""

    PATH = "socketio.server.manager.rooms[namespace][room]"
    LEFT_OUT: ClassVar[Mapping[str, str]] = {
        **CHANGED,
        "inverse": "use manager.sid_from_eio_sid(eio_sid, namespace)",
        "inv": "use manager.sid_from_eio_sid(eio_sid, namespace)",
    }

    def __init__(self, facade: Facade, namespace: str, room: Room) -> None:
        self._facade = facade
        self._namespace = namespace
        self._room = room

    def __getitem__(self, sid: str) -> str:
        engine_sid = self._facade.manager.eio_sid_from_sid(sid, self._namespace)
        if engine_sid is None or sid not in list(self):
            raise KeyError(sid)
        return engine_sid

    def __iter__(self) -> Iterator[str]:
        return iter(self._facade._server.members(self._room, self._namespace))

    def __len__(self) -> int:
        return len(self._facade._server.members(self._room, self._namespace))
