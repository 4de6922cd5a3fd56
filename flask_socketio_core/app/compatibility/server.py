"""Attributes of ``socketio.server``, which is python-socketio's ``Server`` in Flask-SocketIO."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, overload

from ...common.values import full_namespace
from ..dispatch import current_client
from ..handlers import ANY, RESERVED, ReservedCall
from .changing import change
from .engine import EngineView
from .left_out import INTERNAL, LeftOut

if TYPE_CHECKING:
    import logging

    from ..handlers import ClassHandlers, Handler
    from ..interfaces import Facade, Served

HandlerT = TypeVar("HandlerT", bound=Callable[..., Any])

ADMIN = "the admin UI reaches into python-socketio's server; socketio.health() and `flask socketio` show the state"


class ServerAttributes(LeftOut):
    """What applications touch of ``socketio.server`` besides its public methods."""

    PATH = "socketio.server"
    LEFT_OUT: ClassVar[Mapping[str, str]] = {
        "attach": "that is an ASGI matter; the Flask application is the WSGI application to serve",
        "instrument": ADMIN,
        "is_asyncio_based": INTERNAL,
        "reserved_events": INTERNAL,
        "manager_initialized": INTERNAL,
        "not_handled": INTERNAL,
        "packet_class": "pass serializer= to SocketIO()",
        "eio_sid": "use socketio.server.manager.eio_sid_from_sid(request.sid, request.namespace)",
        "cors_allowed_origins": "use socketio.server.eio.cors_allowed_origins",
    }

    if TYPE_CHECKING:
        _binding: Served

    @property
    def _me(self) -> Facade:
        return self  # type: ignore[return-value]  # every facade is one of these

    @property
    def eio(self) -> EngineView:
        """The Engine.IO server. Instead: options of ``SocketIO()``, and ``socketio.server.disconnect()``."""
        return EngineView(self._me)

    @property
    def handlers(self) -> HandlersView:
        """The functions by namespace and event. Instead: ``@socketio.on()``, ``flask socketio events``."""
        return HandlersView(self._me)

    @property
    def namespace_handlers(self) -> NamespacesView:
        """The classes by namespace. Instead: ``socketio.on_namespace()``."""
        return NamespacesView(self._me)

    @property
    def async_handlers(self) -> Any:
        """The option of that name, to read, and to change before the first client comes. Instead: an argument of
        ``SocketIO()``.
        """
        return self._binding.options.async_handlers

    @async_handlers.setter
    def async_handlers(self, value: Any) -> None:
        change(self._binding, async_handlers=value)

    @property
    def always_connect(self) -> bool:
        """The option of that name, to read, and to change before the first client comes. Instead: an argument of
        ``SocketIO()``.
        """
        return self._binding.options.always_connect

    @always_connect.setter
    def always_connect(self, value: bool) -> None:
        change(self._binding, always_connect=value)

    @property
    def namespaces(self) -> Any:
        """The option of that name, to read, and to change before the first client comes. Instead: an argument of
        ``SocketIO()``.
        """
        return self._binding.options.namespaces or ["/"]

    @namespaces.setter
    def namespaces(self, value: Any) -> None:
        change(self._binding, namespaces=value)

    @property
    def logger(self) -> logging.Logger:
        """The logger of the Socket.IO layer. Instead: ``logging.getLogger("flask_socketio_core.server")``."""
        return self._me._server.logger

    @overload
    def on(self, event: str, handler: HandlerT, namespace: str | None = None) -> HandlerT: ...
    @overload
    def on(
        self, event: str, handler: None = None, namespace: str | None = None
    ) -> Callable[[HandlerT], HandlerT]: ...

    def on(self, event: str, handler: Callable[..., Any] | None = None, namespace: str | None = None) -> Any:
        """Register a function that takes the client's sid first, as python-socketio calls it (or as a decorator).

        A connect handler gets sid and environ, and the auth if it takes three; one for ``"*"`` the event before the
        sid. It runs in the client's Flask context. Instead: ``@socketio.on()``.
        """
        space = full_namespace(namespace)

        def register(function: Callable[..., Any]) -> Callable[..., Any]:
            self._binding.handlers.add(event, space, WithSid(event, space, function))
            return function

        return register if handler is None else register(handler)

    @overload
    def event(self, handler: HandlerT, /) -> HandlerT: ...
    @overload
    def event(self, namespace: str | None = None) -> Callable[[HandlerT], HandlerT]: ...

    def event(self, *args: Any, **kwargs: Any) -> Any:
        """Register a function as the handler of the event named like it; see ``on``. Instead: ``@socketio.event``."""
        if len(args) == 1 and not kwargs and callable(args[0]):
            return self.on(args[0].__name__)(args[0])
        return lambda handler: self.on(handler.__name__, *args, **kwargs)(handler)

    def register_namespace(self, namespace_handler: Any) -> None:
        """Register a class-based namespace, ours or python-socketio's. Instead: ``socketio.on_namespace()``.

        :raises ValueError: if it is neither.
        """
        if hasattr(namespace_handler, "_set_socketio"):
            self._binding.owner.on_namespace(namespace_handler)
        elif not callable(getattr(namespace_handler, "trigger_event", None)):
            raise ValueError(
                f"register_namespace() expects an instance of Namespace, not {type(namespace_handler).__qualname__}"
            )
        else:
            namespace_handler._set_server(self)
            self._binding.handlers.add_class(ForeignNamespace(namespace_handler))


class WithSid:
    """A handler that takes the client's sid first, seen as one of ours."""

    def __init__(self, event: str, namespace: str, function: Callable[..., Any]) -> None:
        self._event = event
        self._namespace = namespace
        self.function = function
        functools.update_wrapper(self, function)

    def __call__(self, *args: Any) -> Any:
        """Return what the handler returns."""
        client = current_client()
        assert client is not None  # only the dispatcher calls it
        first: tuple[Any, ...] = (client.sid,)
        if self._event == ANY:
            first, args = (args[0], client.sid), args[1:]
        if self._namespace == ANY:
            first = (
                (first[0], client.namespace, *first[1:]) if self._event == ANY else (client.namespace, *first)
            )
        if self._event == "connect":
            first += (client.environ,)
        if self._event in RESERVED:
            return ReservedCall(functools.partial(self.function, *first))(*args)
        return self.function(*first, *args)


class ForeignNamespace:
    """An instance of python-socketio's ``Namespace``, seen as a class of ours."""

    def __init__(self, instance: Any) -> None:
        self.instance = instance
        self.namespace: str = instance.namespace

    def trigger_event(self, event: str, *args: Any) -> Any:
        """Hand over an event, with the client's sid first; a connect handler gets the auth if there is one."""
        if event == "connect" and args[-1] is None:
            args = args[:-1]
        return self.instance.trigger_event(event, *args)


class HandlersView(LeftOut, MutableMapping[str, Any]):
    """``socketio.server.handlers``: by namespace, functions by event."""

    PATH = "socketio.server.handlers"

    def __init__(self, facade: Facade) -> None:
        self._facade = facade

    def __getitem__(self, namespace: str) -> EventsView:
        if namespace not in self._facade._binding.handlers.functions:
            raise KeyError(namespace)
        return EventsView(self._facade, namespace)

    def __setitem__(self, namespace: str, handlers: Mapping[str, Callable[..., Any]]) -> None:
        given = dict(handlers)
        self._facade._binding.handlers.functions[namespace] = {}
        EventsView(self._facade, namespace).update(given)

    def __delitem__(self, namespace: str) -> None:
        del self._facade._binding.handlers.functions[namespace]

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._facade._binding.handlers.functions))

    def __len__(self) -> int:
        return len(self._facade._binding.handlers.functions)

    def __repr__(self) -> str:
        return repr(dict(self))


class EventsView(LeftOut, MutableMapping[str, Callable[..., Any]]):
    """The functions of one namespace by event; each takes the client's sid first, whatever it was written like."""

    PATH = "socketio.server.handlers[namespace]"

    def __init__(self, facade: Facade, namespace: str) -> None:
        self._facade = facade
        self._namespace = namespace

    def _handlers(self) -> dict[str, Handler]:
        return self._facade._binding.handlers.functions.get(self._namespace, {})

    def __getitem__(self, event: str) -> Callable[..., Any]:
        handler = self._handlers()[event]
        if isinstance(handler.function, WithSid):
            return handler.function.function
        owner, function, namespace = self._facade._binding.owner, handler.function, self._namespace

        @functools.wraps(function)
        def call(*args: Any) -> Any:
            if event == ANY:  # the event comes before the sid
                name, args = args[0], args[1:]
                sid_at = 2 if namespace == ANY else 1
                args = (*args[:sid_at], name, *args[sid_at:])
            return owner._handle_event(function, event, namespace, *args)

        return call

    def __setitem__(self, event: str, handler: Callable[..., Any]) -> None:
        self._facade.on(event, handler, self._namespace)

    def __delitem__(self, event: str) -> None:
        del self._handlers()[event]

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._handlers()))

    def __len__(self) -> int:
        return len(self._handlers())

    def __repr__(self) -> str:
        return repr({event: handler.function for event, handler in self._handlers().items()})


class NamespacesView(LeftOut, MutableMapping[str, Any]):
    """``socketio.server.namespace_handlers``: the class-based namespaces by name."""

    PATH = "socketio.server.namespace_handlers"

    def __init__(self, facade: Facade) -> None:
        self._facade = facade

    def _classes(self) -> dict[str, ClassHandlers]:
        return self._facade._binding.handlers.classes

    def __getitem__(self, namespace: str) -> Any:
        instance = self._classes()[namespace]
        return instance.instance if isinstance(instance, ForeignNamespace) else instance

    def __setitem__(self, namespace: str, instance: Any) -> None:
        self._facade.register_namespace(instance)

    def __delitem__(self, namespace: str) -> None:
        del self._classes()[namespace]

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._classes()))

    def __len__(self) -> int:
        return len(self._classes())

    def __repr__(self) -> str:
        return repr(dict(self))
