"""What the parts of the Flask side know of each other, where a class would have to import the one that imports it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import logging

    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from flask import Flask
    from typing_extensions import Unpack

    from ..cluster.cluster import Cluster
    from ..cluster.topics import Topics
    from ..common.keywords import OptionKeywords, Recipients, Room
    from ..common.options import Options
    from ..contracts import AsyncMode, Task
    from ..contracts.clients import Emission
    from ..contracts.fork import OncePerProcess
    from ..errors import CallError
    from ..server.interface import Emitter, OwnServer
    from .dispatch import Dispatcher
    from .handlers import Handlers, NamespaceBase
    from .history import History

HANDED_ON_S = 8.0
"""How long after it was told to end a server waits for others to keep what its clients come back to, seconds: for the
workers that take the place of its own, which load the application first. Some supervisors kill what takes 10 s."""

SHUTDOWN_S = 3.0
"""How long disconnect handlers may take when the process ends, seconds: below the patience of a supervisor's TERM."""


class Owner(Protocol):
    """The ``SocketIO`` object, to the parts that it has for an application."""

    @property
    def _latest(self) -> Served | None: ...
    @property
    def _options(self) -> dict[str, Any]: ...
    @property
    def _handlers(self) -> Handlers: ...
    @property
    def _topics(self) -> Topics: ...

    @property
    def async_mode(self) -> str:
        """Name of the async mode; to be set for another one."""

    @async_mode.setter
    def async_mode(self, name: str | None) -> None: ...

    def init_app(self, app: Flask | None, **options: Unpack[OptionKeywords]) -> None:
        """Serve an application with these options."""

    def _check_names(self, names: Iterable[str]) -> None: ...

    def on_namespace(self, namespace_handler: NamespaceBase, *, _blueprint: object = None) -> None:
        """Register a class-based namespace."""

    def _handle_event(
        self, handler: Callable[..., Any], message: str | None, namespace: str, sid: str, *args: Any
    ) -> Any: ...


class Served(Protocol):
    """The parts that a ``SocketIO`` object has for one application: a ``Binding``."""

    app: Flask | None
    options: Options
    mode: AsyncMode
    handlers: Handlers
    owner: Owner
    dispatcher: Dispatcher | None
    cluster: Cluster | None
    keywords: dict[str, Any]
    """The options as the application gave them."""

    started: OncePerProcess
    """Whether this process serves: since its first request to our path."""

    @property
    def facade(self) -> Facade:
        """``socketio.server``."""

    @property
    def is_on_loop(self) -> bool:
        """Whether a coroutine of a handler is running here."""

    def history_of(self, room: Any) -> History:
        """Return the histories, of which a room's is asked for."""

    @property
    def server(self) -> OwnServer | None:
        """The clients of this process, or ``None`` in a process that only sends."""

    @property
    def emitter(self) -> Emitter:
        """What reaches all clients, wherever they are connected."""

    def emit(
        self,
        emission: Emission,
        callback: Callable[..., Any] | None = None,
        timeout_s: float | None = None,
        on_timeout: Callable[[CallError], Any] | None = None,
    ) -> None:
        """Send an event to clients."""

    def call(self, emission: Emission, to: str, timeout_s: float | None) -> Any:
        """Send an event to one client and return what it acknowledges."""

    def disconnect(self, sid: str, namespace: str, reason: str, *, ignore_queue: bool = False) -> None:
        """Disconnect a client."""

    def handle(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve a request to our path."""

    def start_task(self, target: Callable[..., object], *args: Any, **kwargs: Any) -> Task:
        """Run a function in a task of its own."""

    def shutdown(self, timeout_s: float = ...) -> None:
        """Close every connection."""


class Facade(Protocol):
    """``socketio.server``, to the views of Flask-SocketIO's attributes."""

    @property
    def _binding(self) -> Served: ...
    @property
    def _server(self) -> OwnServer: ...

    @property
    def async_mode(self) -> str:
        """Name of the async mode."""

    @property
    def logger(self) -> logging.Logger:
        """The logger of the Socket.IO layer."""

    @property
    def manager(self) -> Manager:
        """``socketio.server.manager``."""

    def on(self, event: str, handler: Callable[..., Any], namespace: str | None = None) -> Any:
        """Register a function that takes the client's sid first."""

    def register_namespace(self, namespace_handler: Any) -> None:
        """Register a class-based namespace, ours or python-socketio's."""

    def emit(
        self,
        event: str,
        data: Any = None,
        to: Recipients = None,
        room: Recipients = None,
        skip_sid: str | Iterable[str] | None = None,
        namespace: str | None = None,
        callback: Callable[..., Any] | None = None,
    ) -> None:
        """Send an event to clients."""

    def enter_room(self, sid: str, room: Room, namespace: str | None = None) -> None:
        """Put a client into a room."""

    def leave_room(self, sid: str, room: Room, namespace: str | None = None) -> None:
        """Take a client out of a room."""

    def close_room(self, room: Room, namespace: str | None = None) -> None:
        """Take everybody out of a room."""

    def disconnect(self, sid: str, namespace: str | None = None, ignore_queue: bool = False) -> None:
        """Disconnect a client from a namespace."""

    def shutdown(self) -> None:
        """Close every connection."""

    def handle_request(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve a request to the Socket.IO path (WSGI)."""

    def start_background_task(self, target: Callable[..., object], *args: Any, **kwargs: Any) -> Task:
        """Run a function in a task of its own."""

    def sleep(self, seconds: float = 0) -> None:
        """Let other tasks run."""


class Manager(Protocol):
    """``socketio.server.manager``, to its views."""

    def eio_sid_from_sid(self, sid: str, namespace: str) -> str | None:
        """Return the Engine.IO sid of a client."""
