"""Attributes of the ``SocketIO`` object."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, MutableSequence
from typing import TYPE_CHECKING, Any, ClassVar

from ...common.values import full_namespace
from .left_out import LeftOut

if TYPE_CHECKING:
    from ..handlers import ClassHandlers, ErrorHandler, Handlers
    from ..interfaces import Owner, Served
    from ..middleware import SocketIOMiddleware

MANAGER = "client_manager"

UNKNOWN_CLIENT = ("", 400)
"""What an event of a client that is not here comes to. Source: Flask-SocketIO."""


class ExtensionAttributes(LeftOut):
    """What applications touch of the ``SocketIO`` object itself."""

    LEFT_OUT: ClassVar[Mapping[str, str]] = {
        "server_address": "nobody knows it before run(); pass host= and port= to run()",
    }

    if TYPE_CHECKING:
        _latest: Served | None
        _options: dict[str, Any]
        _handlers: Handlers

        def _binding(self) -> Served: ...

        def _middleware(self, binding: Served) -> SocketIOMiddleware: ...

    _wsgi_server: Any = None
    _serving: Served | None = None

    @property
    def server_options(self) -> ServerOptions:
        """The options given so far, to read and to change before ``init_app``.

        Instead: arguments of ``SocketIO()`` and ``init_app()``.
        """
        return ServerOptions(self)  # type: ignore[arg-type]  # every SocketIO is one of these

    @server_options.setter
    def server_options(self, options: MutableMapping[str, Any]) -> None:
        given = dict(options)
        view = self.server_options
        view.clear()
        view.update(given)

    @property
    def sockio_mw(self) -> SocketIOMiddleware:
        """The WSGI middleware at ``app.wsgi_app``. Instead: the application, which is a WSGI application."""
        if self._latest is None or self._binding().app is None:
            raise AttributeError("there is no middleware (sockio_mw) before init_app(app)")
        return self._middleware(self._binding())

    @property
    def wsgi_server(self) -> Any:
        """What :meth:`SocketIO.run` serves with, with ``stop()`` and ``close()``; ``None`` when it does not.

        May be set to a server of the application's own, which :meth:`SocketIO.stop` then stops. Instead:
        ``socketio.stop()``.
        """
        if self._wsgi_server is None and self._serving is not None:
            return RunningServer(self._serving)
        return self._wsgi_server

    @wsgi_server.setter
    def wsgi_server(self, server: Any) -> None:
        self._wsgi_server = server

    @property
    def namespace_handlers(self) -> NamespaceList:
        """The registered classes. Instead: ``on_namespace()``."""
        return NamespaceList(self)  # type: ignore[arg-type]  # every SocketIO is one of these

    @namespace_handlers.setter
    def namespace_handlers(self, namespaces: Iterable[ClassHandlers]) -> None:
        given = list(namespaces)
        view = self.namespace_handlers
        view.clear()
        view.extend(given)

    @property
    def exception_handlers(self) -> dict[str, ErrorHandler]:
        """The error handlers by namespace. Instead: ``@socketio.on_error(namespace)``."""
        return self._handlers.on_error

    @exception_handlers.setter
    def exception_handlers(self, handlers: dict[str, ErrorHandler]) -> None:
        self._handlers.on_error = dict(handlers)

    @property
    def default_exception_handler(self) -> ErrorHandler | None:
        """The error handler of namespaces without one. Instead: ``@socketio.on_error_default``."""
        return self._handlers.on_error_default

    @default_exception_handler.setter
    def default_exception_handler(self, handler: ErrorHandler | None) -> None:
        self._handlers.on_error_default = handler

    def _handle_event(
        self, handler: Callable[..., Any], message: str | None, namespace: str, sid: str, *args: Any
    ) -> Any:
        """Run a function as the handler of an event of a client, and return what it acknowledges.

        For a ``trigger_event()`` of one's own. Instead: there, ``handler(*args)`` or ``super().trigger_event()``, which
        run in the client's context anyway.

        :param message: the event; for ``"connect"``, ``args`` are the environ and the auth.
        :param namespace: ``"*"`` takes it from the arguments, as a class for all namespaces gets it.
        """
        if namespace == "*":
            namespace, sid, args = sid, args[0], args[1:]
        binding = self._binding()
        try:
            client = binding.facade._server.client(sid, full_namespace(namespace))
        except KeyError:
            return UNKNOWN_CLIENT
        assert binding.dispatcher is not None  # there are clients
        return binding.dispatcher.handle(client, message, handler, args)


class ServerOptions(LeftOut, MutableMapping[str, Any]):
    """``socketio.server_options``: what the constructor and ``init_app`` were given.

    Written to, it holds for the next ``init_app``.
    """

    PATH = "socketio.server_options"

    def __init__(self, owner: Owner) -> None:
        self._owner = owner

    def _stores(self) -> list[dict[str, Any]]:
        latest = self._owner._latest
        return [self._owner._options, *([latest.keywords] if latest is not None else [])]

    def _given(self) -> dict[str, Any]:
        given: dict[str, Any] = {}
        for store in self._stores():
            given.update(store)
        latest = self._owner._latest
        if latest is not None and latest.cluster is not None:
            given[MANAGER] = latest.facade.manager
        return given

    def __getitem__(self, name: str) -> Any:
        return self._given()[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._owner._check_names((name,))
        for store in self._stores():
            store[name] = value

    def __delitem__(self, name: str) -> None:
        if name not in self._given():
            raise KeyError(name)
        for store in self._stores():
            store.pop(name, None)  # the manager is made anew from message_queue=

    def clear(self) -> None:
        """Forget all options. Instead: another ``SocketIO`` object."""
        for store in self._stores():
            store.clear()

    def __iter__(self) -> Iterator[str]:
        return iter(self._given())

    def __len__(self) -> int:
        return len(self._given())

    def __repr__(self) -> str:
        return repr(self._given())


class NamespaceList(LeftOut, MutableSequence[Any]):
    """``socketio.namespace_handlers``: the registered classes, in the order of their registration."""

    PATH = "socketio.namespace_handlers"
    LEFT_OUT: ClassVar[Mapping[str, str]] = {
        "get": "it is a list; socketio.server.namespace_handlers is by namespace"
    }

    def __init__(self, owner: Owner) -> None:
        self._owner = owner

    def _classes(self) -> list[ClassHandlers]:
        return list(self._owner._handlers.classes.values())

    def __getitem__(self, index: Any) -> Any:
        return self._classes()[index]

    def __setitem__(self, index: Any, namespace: Any) -> None:
        del self[index]
        self.insert(index, namespace)

    def __delitem__(self, index: Any) -> None:
        chosen = self._classes()[index]
        for namespace in chosen if isinstance(index, slice) else [chosen]:
            del self._owner._handlers.classes[namespace.namespace]

    def insert(self, index: int, namespace: Any) -> None:
        """Register a class; the place does not matter, since each namespace has one.

        Instead: ``socketio.on_namespace()``.
        """
        self._owner.on_namespace(namespace)

    def __len__(self) -> int:
        return len(self._owner._handlers.classes)

    def __repr__(self) -> str:
        return repr(self._classes())


class RunningServer(LeftOut):
    """``socketio.wsgi_server`` while ``socketio.run()`` serves."""

    PATH = "socketio.wsgi_server"
    LEFT_OUT: ClassVar[Mapping[str, str]] = {
        "sockets": "connections are in socketio.server.eio.sockets",
        "serve_forever": "use socketio.run()",
        "start": "use socketio.run()",
    }

    def __init__(self, binding: Served) -> None:
        self._mode = binding.mode

    def stop(self, timeout: float | None = None) -> None:
        """Make ``run()`` return soon. Instead: ``socketio.stop()``.

        :param timeout: has no effect; pywsgi's.
        """
        self._mode.stop()

    def close(self) -> None:
        """Make ``run()`` return soon, unless it has returned. Instead: ``socketio.stop()``."""
        try:
            self._mode.stop()
        except RuntimeError:  # it serves no more
            pass
