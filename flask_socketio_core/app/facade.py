"""``socketio.server``: the public methods of python-socketio's ``Server``, over our engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..common.reasons import Reason
from ..common.values import full_namespace
from ..contracts.clients import Emission
from .addressing import payload, recipients, skipped
from .compatibility.live import LiveMapping
from .compatibility.manager import ManagerAttributes
from .compatibility.server import ServerAttributes

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from ..common.keywords import Recipients, Room
    from ..contracts import Task
    from ..contracts.clients import Client
    from ..contracts.histories import Rewound
    from ..server.interface import Emitter, OpenSession, OwnServer
    from .history import History
    from .interfaces import Served


class ServerFacade(ServerAttributes):
    """What applications that were written for Flask-SocketIO use of ``socketio.server``.

    Methods that look at clients see those of this process; methods that change something reach clients of all
    processes that share a message queue.
    """

    reason = Reason

    def __init__(self, binding: Served) -> None:
        self._binding = binding
        self.manager = ManagerFacade(self)

    def _follow(self, binding: Served) -> None:
        """Look at another binding from now on."""
        self._binding = binding

    @property
    def async_mode(self) -> str:
        """Name of the async mode."""
        return self._binding.mode.name

    @property
    def environ(self) -> Environs:
        """The environ of every connection of this process, by Engine.IO sid."""
        return Environs(self)

    def emit(
        self,
        event: str,
        data: Any = None,
        to: Recipients = None,
        room: Recipients = None,
        skip_sid: str | Iterable[str] | None = None,
        namespace: str | None = None,
        callback: Callable[..., Any] | None = None,
        ignore_queue: bool = False,
    ) -> None:
        """Send an event to clients; see :meth:`SocketIO.emit`."""
        skip = skipped(skip_sid, include_self=True, function="server.emit()")
        space, addressees = full_namespace(namespace), recipients(to, room)
        self._binding.emit(
            Emission(event, payload((data,)), space, addressees, skip, local=ignore_queue), callback
        )

    def send(
        self,
        data: Any,
        to: Recipients = None,
        room: Recipients = None,
        skip_sid: str | Iterable[str] | None = None,
        namespace: str | None = None,
        callback: Callable[..., Any] | None = None,
        ignore_queue: bool = False,
    ) -> None:
        """Send a message to clients: the event ``"message"``."""
        self.emit("message", data, to, room, skip_sid, namespace, callback, ignore_queue)

    def call(
        self,
        event: str,
        data: Any = None,
        to: str | None = None,
        sid: str | None = None,
        namespace: str | None = None,
        timeout: float | None = 60,
        ignore_queue: bool = False,
    ) -> Any:
        """Send an event to one client and return what it acknowledges; see :meth:`SocketIO.call`."""
        target = to if to is not None else sid
        if target is None:
            raise ValueError("call() asks one client: pass its sid as to=")
        emission = Emission(event, payload((data,)), full_namespace(namespace), local=ignore_queue)
        return self._binding.call(emission, target, timeout)

    # rooms

    def enter_room(self, sid: str, room: Room, namespace: str | None = None) -> None:
        """Put a client into a room.

        :raises ValueError: if the room is another client's sid, its name is too long, the client is in too many rooms,
            or is known to be not connected.
        """
        self._emitter.enter_room(sid, room, full_namespace(namespace))

    def _rewind(self, sid: str, room: Room, namespace: str | None, most: int) -> None:
        """Put a client into a room and send it what was sent there lately; ``join_room(rewind=)``."""
        self._history(room, "rewind").rewind(self._emitter, sid, room, full_namespace(namespace), most)

    def _resume(self, sid: str, room: Room, namespace: str | None, most: int, since: object) -> Rewound:
        """Put a client into a room and send it what it has missed of it; ``join_room(since=)``."""
        history = self._history(room, "since")
        return history.resume(self._emitter, sid, room, full_namespace(namespace), most, since)

    def _history(self, room: Room, keyword: str) -> History:
        if self._binding.is_on_loop:
            raise RuntimeError(
                f"join_room({keyword}=) waits for what was kept: "
                f"await asyncio.to_thread(join_room, room, {keyword}=...) instead"
            )
        return self._binding.history_of(room)

    def leave_room(self, sid: str, room: Room, namespace: str | None = None) -> None:
        """Take a client out of a room."""
        self._emitter.leave_room(sid, room, full_namespace(namespace))

    def close_room(self, room: Room, namespace: str | None = None) -> None:
        """Take everybody out of a room.

        :raises ValueError: if the room is a client's sid.
        """
        self._emitter.close_room(room, full_namespace(namespace))

    def rooms(self, sid: str, namespace: str | None = None) -> list[Room]:
        """Return the rooms of a client of this process, its own sid included; none if it is not here."""
        return _rooms(self._server, sid, namespace)

    # clients

    def client(self, sid: str, namespace: str | None = None) -> Client:
        """Return a client, which says to which connection it belongs: ``client.engine_sid``.

        :raises KeyError: if it is not connected to this process.
        """
        return self._server.client(sid, full_namespace(namespace))

    def clients_of(self, engine_sid: str) -> list[Client]:
        """Return the clients of a connection of this process, one for each of its namespaces."""
        return list(self._server.clients_of(engine_sid))

    def transport(self, sid: str, namespace: str | None = None) -> str:
        """Return ``"polling"`` or ``"websocket"``.

        :raises KeyError: if the client is not connected to this process.
        """
        return self._server.transport(sid, full_namespace(namespace))

    def get_environ(self, sid: str, namespace: str | None = None) -> dict[str, Any] | None:
        """Return the WSGI environ of a client's first request, or ``None`` if it is not connected to this process."""
        try:
            return self._server.client(sid, full_namespace(namespace)).environ
        except KeyError:
            return None

    def get_session(self, sid: str, namespace: str | None = None) -> dict[str, Any]:
        """Return python-socketio's session of a client, which is not Flask's.

        :raises KeyError: if the client is not connected to this process.
        """
        client = self._server.client(sid, full_namespace(namespace))
        if client.user_session is None:
            client.user_session = {}
        return client.user_session

    def save_session(self, sid: str, session: dict[str, Any], namespace: str | None = None) -> None:
        """Replace python-socketio's session of a client.

        :raises KeyError: if the client is not connected to this process.
        """
        self._server.client(sid, full_namespace(namespace)).user_session = session

    @contextmanager
    def session(self, sid: str, namespace: str | None = None) -> Iterator[dict[str, Any]]:
        """Give python-socketio's session of a client, and save it afterwards."""
        session = self.get_session(sid, namespace)
        yield session
        self.save_session(sid, session, namespace)

    def disconnect(
        self,
        sid: str,
        namespace: str | None = None,
        ignore_queue: bool = False,
        *,
        reason: str = Reason.KICKED,
    ) -> None:
        """Disconnect a client from a namespace; nothing happens if it is not connected.

        :param ignore_queue: only if it is connected to this process.
        :param reason: what its disconnect handler is told, as for :meth:`SocketIO.kick`.
        :raises ValueError: for another reason.
        """
        self._binding.disconnect(sid, full_namespace(namespace), reason, ignore_queue=ignore_queue)

    # the server

    def shutdown(self) -> None:
        """Close every connection and run the disconnect handlers, for a bounded time."""
        self._binding.shutdown()

    def handle_request(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve a request to the Socket.IO path (WSGI)."""
        return self._binding.handle(environ, start_response)

    def start_background_task(self, target: Callable[..., object], *args: Any, **kwargs: Any) -> Task:
        """Run a function in a task of its own; see :meth:`SocketIO.start_background_task`."""
        return self._binding.start_task(target, *args, **kwargs)

    def sleep(self, seconds: float = 0) -> None:
        """Let other tasks run; see :meth:`SocketIO.sleep`."""
        self._binding.mode.sleep(seconds)

    @property
    def _server(self) -> OwnServer:
        return _server_of(self._binding)

    @property
    def _emitter(self) -> Emitter:
        return self._binding.emitter


class ManagerFacade(ManagerAttributes):
    """``socketio.server.manager``, as far as applications look at it: the clients of this process."""

    def __init__(self, facade: ServerFacade) -> None:
        self._facade = facade

    def get_namespaces(self) -> list[str]:
        """Return the namespaces that have clients."""
        return self._facade._server.namespaces()

    def get_participants(self, namespace: str, room: Recipients) -> Iterator[tuple[str, str]]:
        """Yield sid and Engine.IO sid of everybody in a room, in several, or (``None``) in a namespace."""
        server, namespace = self._facade._server, full_namespace(namespace)
        for name in recipients(room) or (None,):
            for sid in server.members(name, namespace):
                try:
                    yield sid, server.client(sid, namespace).engine_sid
                except KeyError:
                    continue  # it left in the meantime

    def get_rooms(self, sid: str, namespace: str) -> list[Room]:
        """Return the rooms of a client, its own sid included; none if it is not here."""
        return _rooms(self._facade._server, sid, namespace)

    def is_connected(self, sid: str, namespace: str) -> bool:
        """Return whether a client is connected to a namespace."""
        return self._facade._server.is_connected(sid, full_namespace(namespace))


class Environs(LiveMapping[str, dict[str, Any]]):
    """The environ of every connection of this process, by Engine.IO sid; it follows what happens.

    Nothing can be put into it. What is taken out is emptied, and the connection goes on.
    """

    def __init__(self, facade: ServerFacade) -> None:
        self._facade = facade
        self._sessions()  # a process that only sends has none

    def _sessions(self) -> Mapping[str, OpenSession]:
        return self._facade._server.sessions

    def __getitem__(self, engine_sid: str) -> dict[str, Any]:
        return self._sessions()[engine_sid].environ

    def __delitem__(self, engine_sid: str) -> None:
        self[engine_sid].clear()

    def pop(self, engine_sid: str, *default: Any) -> Any:
        """Empty the environ of a connection and return what was in it."""
        if default and engine_sid not in self:
            return default[0]
        environ = self[engine_sid]
        found = dict(environ)
        environ.clear()
        return found

    def clear(self) -> None:
        """Empty the environ of every connection."""
        for environ in list(self.values()):
            environ.clear()

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._sessions()))

    def __len__(self) -> int:
        return len(self._sessions())


def _server_of(binding: Served) -> OwnServer:
    if binding.server is None:
        raise RuntimeError(
            "this process only sends (SocketIO(message_queue=...) without an application): it has no clients to look at"
        )
    return binding.server


def _rooms(server: OwnServer, sid: str, namespace: str | None) -> list[Room]:
    try:
        return server.rooms(sid, full_namespace(namespace))
    except KeyError:
        return []
