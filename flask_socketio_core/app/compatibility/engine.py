"""Attributes of ``socketio.server.eio``, which is python-engineio's ``Server`` in Flask-SocketIO."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ...common.reasons import Reason
from .changing import change
from .left_out import INTERNAL, LeftOut
from .live import LiveMapping

if TYPE_CHECKING:
    import logging

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from ...contracts import Task
    from ...server.interface import OpenSession
    from ..interfaces import Facade


class OptionAttribute:
    """An option, to read at any time and to change before the first client comes.

    :param name: the option's name, where it differs.
    """

    def __init__(self, name: str | None = None, doc: str = "") -> None:
        self._name = name
        self.__doc__ = doc

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = self._name or name
        self.__doc__ = f"The option ``{self._name}``. Instead: an argument of ``SocketIO()``."

    def __get__(self, view: Any, kind: type | None = None) -> Any:
        assert self._name is not None
        return self if view is None else getattr(view._facade._binding.options, self._name)

    def __set__(self, view: Any, value: Any) -> None:
        assert self._name is not None
        change(view._facade._binding, **{self._name: value})


class EngineView(LeftOut):
    """``socketio.server.eio``."""

    PATH = "socketio.server.eio"
    LEFT_OUT: ClassVar[Mapping[str, str]] = {
        "attach": "that is an ASGI matter; the Flask application is the WSGI application to serve",
        "async_modes": "`flask socketio plugins` shows them, as socketio.plugins does",
        "compression_methods": INTERNAL,
        "event_names": INTERNAL,
        "generate_id": "use secrets.token_urlsafe()",
        "get_queue_empty_exception": "use queue.Empty of the standard library",
        "is_asyncio_based": INTERNAL,
        "log_message_keys": INTERNAL,
        "reason": "use socketio.reason",
        "sequence_number": INTERNAL,
        "service_task_event": "one timer of the engine watches all clients; see monitor_clients=",
        "valid_transports": "use socketio.server.eio.transports",
        "clients": "connections are in socketio.server.eio.sockets",
        "create_queue": "use the queue module of the standard library",
        "get_session": "use socketio.server.get_session()",
        "save_session": "use socketio.server.save_session()",
        "session": "use socketio.server.session()",
        "handlers": "use @socketio.on()",
        "on": "use @socketio.on()",
        "send": "use socketio.send() or socketio.emit()",
        "send_packet": "use socketio.send() or socketio.emit()",
        "service_task_handle": "one timer of the engine watches all clients; see monitor_clients=",
        "start_service_task": "one timer of the engine watches all clients; see monitor_clients=",
        "sid": "use request.sid in a handler",
    }

    def __init__(self, facade: Facade) -> None:
        self._facade = facade

    ping_interval = OptionAttribute()
    ping_interval_grace_period = OptionAttribute("ping_interval_grace")
    ping_timeout = OptionAttribute()
    max_http_buffer_size = OptionAttribute()
    allow_upgrades = OptionAttribute()
    http_compression = OptionAttribute()
    compression_threshold = OptionAttribute()
    cookie = OptionAttribute()
    cors_allowed_origins = OptionAttribute()
    cors_credentials = OptionAttribute()
    transports = OptionAttribute()
    async_handlers = OptionAttribute()

    @property
    def async_mode(self) -> str:
        """Name of the async mode, to read, and to change before the first client comes.

        Instead: ``socketio.async_mode``, ``SocketIO(async_mode=...)``.
        """
        return self._facade.async_mode

    @async_mode.setter
    def async_mode(self, name: str) -> None:
        self._facade._binding.owner.async_mode = name

    @property
    def logger(self) -> logging.Logger:
        """The logger of the server. Instead: ``logging.getLogger("flask_socketio_core.server")``."""
        return self._facade.logger

    @property
    def sockets(self) -> SocketsView:
        """The connections of this process by Engine.IO sid; what is taken out is closed.

        Instead: ``len(socketio.server.environ)``, ``socketio.server.manager.get_participants()``.
        """
        return SocketsView(self._facade)

    def disconnect(self, sid: str | None = None) -> None:
        """Close a connection, with all its namespaces; all of this process without a sid.

        Instead: ``socketio.server.disconnect(sid)``.

        :param sid: the Engine.IO sid; nothing happens if it is not here.
        """
        if sid is None:
            self.sockets.clear()
        else:
            self.sockets.pop(sid, None)

    def transport(self, sid: str) -> str:
        """Return ``"polling"`` or ``"websocket"``. Instead: ``socketio.server.transport(sid)``.

        :raises KeyError: if there is no such connection.
        """
        return self._facade._server.sessions[sid].transport.name

    def _get_socket(self, sid: str) -> SocketView:
        """Return a connection. Instead: ``socketio.server.transport(sid)``.

        :raises KeyError: if there is no such one.
        """
        return self.sockets[sid]

    def handle_request(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve a request (WSGI). Instead: ``socketio.server.handle_request``."""
        return self._facade.handle_request(environ, start_response)

    def start_background_task(self, target: Callable[..., object], *args: Any, **kwargs: Any) -> Task:
        """Run a function in a task of its own. Instead: ``socketio.start_background_task``."""
        return self._facade.start_background_task(target, *args, **kwargs)

    def sleep(self, seconds: float = 0) -> None:
        """Let other tasks run. Instead: ``socketio.sleep``."""
        self._facade.sleep(seconds)

    def create_event(self) -> Any:
        """Return an event of the async mode, like ``threading.Event``. Instead: that class, once patched."""
        return self._facade._binding.mode.create_event()

    def shutdown(self) -> None:
        """Close every connection. Instead: ``socketio.close()``."""
        self._facade.shutdown()


class SocketsView(LeftOut, LiveMapping[str, "SocketView"]):
    """``socketio.server.eio.sockets``: the connections of this process. What is taken out is closed."""

    PATH = "socketio.server.eio.sockets"

    def __init__(self, facade: Facade) -> None:
        self._facade = facade

    def _sessions(self) -> Mapping[str, OpenSession]:
        return self._facade._server.sessions

    def __getitem__(self, engine_sid: str) -> SocketView:
        return SocketView(self._sessions()[engine_sid])

    def __delitem__(self, engine_sid: str) -> None:
        self[engine_sid].close()

    def pop(self, engine_sid: str, *default: Any) -> Any:
        """Close a connection and return it. Instead: ``socketio.server.disconnect(sid)``."""
        try:
            socket = self[engine_sid]
        except KeyError:
            if default:
                return default[0]
            raise
        socket.close()
        return socket

    def clear(self) -> None:
        """Close every connection. Instead: ``socketio.close()``."""
        for engine_sid in self:
            self.pop(engine_sid, None)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._sessions()))

    def __len__(self) -> int:
        return len(self._sessions())


class SocketView(LeftOut):
    """One connection."""

    PATH = "socketio.server.eio.sockets[eio_sid]"
    LEFT_OUT: ClassVar[Mapping[str, str]] = {
        "check_ping_timeout": "one timer of the engine watches all clients; see monitor_clients=",
        "schedule_ping": "one timer of the engine watches all clients; see monitor_clients=",
        "closing": "use closed",
        "handle_get_request": "use socketio.server.handle_request()",
        "handle_post_request": "use socketio.server.handle_request()",
        "poll": INTERNAL,
        "server": "use socketio.server.eio",
        "upgrade_protocols": INTERNAL,
        "last_ping": "one timer of the engine pings all clients; a silent one is closed (monitor_clients=)",
        "send": "use socketio.emit() or socketio.send()",
        "receive": "use the test client",
        "session": "use socketio.server.get_session()",
        "fileno": "the engine keeps the descriptor to itself",
    }

    def __init__(self, session: OpenSession) -> None:
        self._session = session

    @property
    def sid(self) -> str:
        """The Engine.IO sid. Instead: ``socketio.server.manager.eio_sid_from_sid(request.sid, namespace)``."""
        return self._session.sid

    @property
    def closed(self) -> bool:
        """Whether it has ended. Instead: ``socketio.server.manager.is_connected(sid, namespace)``."""
        return self._session.closed

    @property
    def connected(self) -> bool:
        """Whether it has not ended. Instead: ``socketio.server.manager.is_connected(sid, namespace)``."""
        return not self._session.closed

    @property
    def upgraded(self) -> bool:
        """Whether it is on WebSocket. Instead: ``socketio.server.transport(sid)``."""
        return self._session.transport.name == "websocket"

    @property
    def upgrading(self) -> bool:
        """Whether it is on its way to WebSocket. Instead: ``socketio.server.transport(sid)``, when it has arrived."""
        return self._session.probe is not None

    @property
    def queue(self) -> WaitingView:
        """What waits for a client that does not read. Instead: ``volatile=True``, and ``outbox_policy``."""
        return WaitingView(self._session)

    def close(self, wait: bool = True, abort: bool = False, reason: str | None = None) -> None:
        """Close the connection, with all its namespaces; their disconnect handlers run.

        Instead: ``socketio.server.disconnect(sid)``.

        :param wait: has no effect: what can be written at once is, and the rest is lost.
        :param abort: has no effect.
        :param reason: what the disconnect handlers are told.
        """
        self._session.close(reason or Reason.KICKED)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SocketView) and other._session is self._session

    def __hash__(self) -> int:
        return hash(self._session.sid)

    def __repr__(self) -> str:
        state = "closed" if self.closed else self._session.transport.name
        return f"<connection {self.sid} ({state})>"


class WaitingView(LeftOut):
    """The packets that wait for one client."""

    PATH = "socketio.server.eio.sockets[eio_sid].queue"
    LEFT_OUT: ClassVar[Mapping[str, str]] = {
        "put": "use socketio.emit()",
        "get": "the engine alone takes packets out",
    }

    def __init__(self, session: OpenSession) -> None:
        self._session = session

    def qsize(self) -> int:
        """Return how many packets wait. Instead: ``volatile=True`` drops what would have to."""
        return self._session.waiting_packets

    def empty(self) -> bool:
        """Return whether none waits. Instead: ``volatile=True`` drops what would have to."""
        return not self._session.has_waiting
