"""Registering handlers: with :class:`~flask_socketio_core.app.extension.SocketIO`, or with a blueprint first."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from ..cluster.topics import HISTORY, ApplicationHandler, application_topic
from ..common.values import full_namespace
from .handlers import ANY, RESERVED, Attendant, Handlers

if TYPE_CHECKING:
    from ..cluster.topics import Topics
    from ..common.keywords import Room

HandlerT = TypeVar("HandlerT", bound=Callable[..., Any])
Register = Callable[["HandlerRegistration", object], None]


class Registrar(ABC):
    """Register functions as handlers, and functions that stand around them."""

    @abstractmethod
    def _register(self, register: Register) -> None:
        """Have something registered.

        :param register: called with the ``SocketIO`` object, and with what it is registered by.
        """

    def on(
        self, message: str, namespace: str | None = None, *, once: Callable[..., Any] | None = None
    ) -> Callable[[HandlerT], HandlerT]:
        """Register a function as the handler of an event (decorator)::

            @socketio.on("say", namespace="/chat")
            def say(text):
                ...

        :param message: the event; ``"connect"`` and ``"disconnect"`` are the client's coming and going, ``"message"``
            and ``"json"`` what it sends without a name, ``"*"`` everything without a handler of its own.
        :param namespace: ``"/"`` by default; ``"*"`` for all without a handler of their own. The slash at its beginning
            may be left out, here as everywhere.
        :param once: called with the event's arguments, in the client's context; returns by what the event is known
            again, such as an order's number: text, a number, or a list of them. A repetition is not handled; it is
            acknowledged as the first one was, for the option ``once_ttl``. ``None`` for an event that is handled each
            time. See ``docs/once.md``.
        :raises TypeError: for ``once`` with ``"connect"`` or ``"disconnect"``.
        """
        space = full_namespace(namespace)
        around = None if once is None else _once(once, message)

        def register(handler: HandlerT) -> HandlerT:
            if not callable(handler):
                raise TypeError(
                    f"the handler of event {message!r} must be callable, not {type(handler).__name__}"
                )
            self._register(
                lambda socketio, owner: socketio.handlers.add(message, space, handler, owner, around)
            )
            return handler

        return register

    def on_event(
        self,
        message: str,
        handler: Callable[..., Any],
        namespace: str | None = None,
        *,
        once: Callable[..., Any] | None = None,
    ) -> None:
        """Register a function as the handler of an event; see :meth:`on`."""
        self.on(message, namespace, once=once)(handler)

    @overload
    def event(self, handler: HandlerT, /) -> HandlerT: ...
    @overload
    def event(
        self, namespace: str | None = None, *, once: Callable[..., Any] | None = None
    ) -> Callable[[HandlerT], HandlerT]: ...

    def event(self, namespace: Any = None, *, once: Callable[..., Any] | None = None) -> Any:
        """Register a function as the handler of the event with its name (decorator)::

            @socketio.event
            def say(text):
                ...

            @socketio.event(namespace="/chat")
            def whisper(text):
                ...

        The parameters are those of :meth:`on`.
        """
        if callable(namespace):
            return self.on(namespace.__name__)(namespace)
        return lambda handler: self.on(handler.__name__, namespace, once=once)(handler)

    def on_error(self, namespace: str | None = None) -> Callable[[HandlerT], HandlerT]:
        """Register a function that handles what the handlers of a namespace raise (decorator).

        It is called with the exception, in the handler's context; its result is the acknowledgement.

        :param namespace: ``"/"`` by default; ``"*"`` for all without an error handler of their own.
        """
        space = full_namespace(namespace)

        def register(handler: HandlerT) -> HandlerT:
            _checked_callable(handler)
            self._register(lambda socketio, owner: socketio.handlers.on_error.update({space: handler}))
            return handler

        return register

    def on_server(self, topic: str) -> Callable[[HandlerT], HandlerT]:
        """Register a function for what other servers of the application tell or ask (decorator)::

            @socketio.on_server("cache-cleared")
            def cache_cleared(key):
                cache.pop(key, None)

        It is called with the arguments of ``tell_servers()`` or ``ask_servers()``, as JSON has them, in a worker and
        inside the application's context; a coroutine function on the event loop, with the worker waiting. What it
        returns answers ``ask_servers()``; what it raises is logged, and told to the one who asked. It does not hear
        this server's own ``tell_servers()``.

        :param topic: 1 to 60 printable ASCII characters. It is this application's own, whatever plugins have: on the
            bus it begins with ``app:``. See :meth:`Servers.on_topic` for how handlers run, and how many there can be.
        :raises ValueError: for a name that no topic can have.
        :raises ConfigurationError: if another function handles it, or there are too many topics.
        """
        name = application_topic(topic)

        def register(handler: HandlerT) -> HandlerT:
            if not callable(handler):
                raise TypeError(
                    f"the handler of topic {topic!r} must be callable, not {type(handler).__name__}"
                )
            self._register(lambda socketio, owner: socketio._topics.add(name, ApplicationHandler(handler)))
            return handler

        return register

    def before_connect(self, namespace: str | None = None) -> Callable[[HandlerT], HandlerT]:
        """Register a function that is asked before a connect handler (decorator)::

            @socketio.before_connect()
            def only_members(auth):
                if not is_member(auth):
                    raise ConnectionRefusedError("members only")

        It is called with the auth, in the client's context, also where a namespace has no connect handler. ``False`` or
        :class:`~flask_socketio_core.errors.ConnectionRefusedError` refuses the client; the connect handler is not run.

        :param namespace: ``None`` for all.
        """
        return self._attend("connect", "*", namespace)

    def before_event(self, event: str = "*", namespace: str | None = None) -> Callable[[HandlerT], HandlerT]:
        """Register a function that is asked before the handler of an event (decorator)::

            @socketio.before_event("chat.*")
            def not_muted(event, args):
                if session.get("muted"):
                    raise EventRejected(ack={"error": "muted"})

        It is called with the event and the tuple of its arguments, in the client's context. What it returns, unless
        ``None``, is the answer: the handler is not run. What it raises counts as raised by the handler.

        :param event: a pattern as of file names: ``*``, ``?`` and ``[...]``.
        :param namespace: ``None`` for all.
        """
        return self._attend("before", event, namespace)

    def after_event(self, event: str = "*", namespace: str | None = None) -> Callable[[HandlerT], HandlerT]:
        """Register a function that may change what the handler of an event answers (decorator)::

            @socketio.after_event("chat.*")
            def numbered(event, answer):
                return answer, next(numbers)

        It is called with the event and the answer if nothing was raised; what it returns is acknowledged.

        The parameters are those of :meth:`before_event`.
        """
        return self._attend("after", event, namespace)

    def teardown_event(
        self, event: str = "*", namespace: str | None = None
    ) -> Callable[[HandlerT], HandlerT]:
        """Register a function that is called when an event has been handled, however that ended (decorator)::

            @socketio.teardown_event()
            def give_back(event, error):
                pool.give_back(g.pop("connection", None))

        It is called with the event and what was raised, or ``None``. What it raises itself is logged.

        The parameters are those of :meth:`before_event`.
        """
        return self._attend("teardown", event, namespace)

    def _attend(self, moment: str, pattern: str, namespace: str | None) -> Callable[[HandlerT], HandlerT]:
        if callable(pattern) or callable(namespace):
            what = "connect" if moment == "connect" else "event"
            raise TypeError(f"write @{moment if what == 'event' else 'before'}_{what}(), with parentheses")
        space = None if namespace in (None, ANY) else full_namespace(namespace)

        def register(function: HandlerT) -> HandlerT:
            _checked_callable(function)
            self._register(
                lambda socketio, owner: socketio.handlers.attendants.append(
                    Attendant(moment, pattern, space, function, owner)
                )
            )
            return function

        return register


def _check_once(key: Callable[..., Any], event: str) -> None:
    if event in RESERVED:
        raise TypeError(f"once= is for events that clients send, not for {event!r}")
    if not callable(key):
        raise TypeError(f"once= of event {event!r} must be callable, not {type(key).__name__}")


def _once(key: Callable[..., Any], event: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    _check_once(key, event)
    from .once import OnceCall

    return partial(OnceCall, key, event)


def once(key: Callable[..., Any]) -> Callable[[HandlerT], HandlerT]:
    """Have a method of a class-based namespace handle an event once, however often a client sends it (decorator)::

        class Shop(Namespace):
            @once(lambda data: data["id"])
            def on_order(self, data):
                return {"number": take_order(data)}

    For a method it is what ``once=`` of :meth:`SocketIO.on` is for a function. It is the outermost decorator, or those
    around it see repetitions, too.

    :param key: called with the event's arguments, without ``self``; see :meth:`SocketIO.on`.
    :raises TypeError: if it decorates anything but a method for an event that clients send, named ``on_...``.
    """

    def decorate(method: HandlerT) -> HandlerT:
        name = getattr(method, "__name__", type(method).__name__)
        if not name.startswith("on_"):
            raise TypeError(
                f"once() is for a method on_... of a Namespace, not for {name!r}; for a function write "
                "@socketio.on(event, once=...)"
            )
        _check_once(key, name.removeprefix("on_"))
        from .once import handled_once

        return cast("HandlerT", handled_once(key, method))

    return decorate


class HandlerRegistration(Registrar):
    """The handlers of a ``SocketIO`` object; they serve all applications, before and after ``init_app``."""

    _topics: Topics

    def __init__(self) -> None:
        self._handlers = Handlers()

    def _register(self, register: Register) -> None:
        register(self, None)

    def user_loader(self, loader: HandlerT) -> HandlerT:
        """Register the function that says who a client's user is (decorator)::

            @socketio.user_loader
            def load_user(auth):
                claims = jwt.decode(auth["token"], KEY, algorithms=["HS256"])
                request.expires_at = claims["exp"]
                return claims["sub"]

        It is called with the auth, in the client's context, for each namespace that a client connects to, before
        ``before_connect`` functions and the connect handler. It returns text or a whole number, which becomes
        ``request.client.user``, or ``None`` for nobody. ``ConnectionRefusedError`` refuses the client. All clients of
        a user are reached at ``to=user(42)``. Without a loader, Flask-Login's user is taken where the application has
        Flask-Login.

        ``request.expires_at``, seconds since the epoch, set here or by the connect handler, is when the login ends: the
        connection is closed then, and official clients come back with the auth that they have by then. A client that
        does not want to be closed emits ``"reauth"`` with its new auth before: the loader is asked again, and the
        acknowledgement is ``{"expires_at": ...}``, or ``{"error": ...}`` and nothing has changed. A handler for
        ``"reauth"`` of the application's own takes its place.

        :raises TypeError: if it cannot be called.
        """
        if not callable(loader):
            raise TypeError(f"a user loader must be callable, not {type(loader).__name__}")
        self._handlers.user_loader = loader
        return loader

    @property
    def handlers(self) -> Handlers:
        """What was registered; iterating yields one line per handler. May be set to an empty list, to forget all."""
        return self._handlers

    @handlers.setter
    def handlers(self, handlers: Iterable[object]) -> None:
        if list(handlers):
            raise TypeError(
                "socketio.handlers can only be emptied: register with socketio.on() or on_event()"
            )
        self._handlers.functions.clear()

    def history(
        self,
        room: Room,
        *,
        size: int = 100,
        ttl: float = 300.0,
        max_bytes: int = 1_000_000,
        latest: bool = False,
        ids: bool = False,
        namespace: str | None = None,
    ) -> None:
        """Keep what is sent to a room, for clients that join it later::

            socketio.history("news", size=50)
            socketio.history("price:*", latest=True)

            @socketio.on("follow")
            def follow():
                join_room("news", rewind=20)

        Kept is what the servers and processes emit to the room that have declared it, but for what is ``volatile`` or
        ``local``. See ``docs/history.md``.

        :param room: a room, or a pattern for rooms as of file names: ``*``, ``?`` and ``[...]``.
        :param size: most events to keep, the newest.
        :param ttl: how long one is kept, seconds.
        :param max_bytes: most bytes of all of them together.
        :param latest: keep the newest event only: ``size=1``.
        :param ids: send clients the event's id as one more argument, the last, for what they give as ``since``.
        :raises ValueError: for a size, time or number of bytes that is not greater than 0.
        """
        for name, value in (("size", size), ("ttl", ttl), ("max_bytes", max_bytes)):
            if not value > 0:
                raise ValueError(f"history({room!r}): {name}={value!r} must be greater than 0")
        from .histories import Declaration, Declarations

        declared = self._handlers.histories or Declarations()
        declared.add(
            Declaration(
                room=room,
                namespace=full_namespace(namespace),
                size=1 if latest else size,
                ttl_s=ttl,
                max_bytes=max_bytes,
                ids=ids,
            )
        )
        if self._handlers.histories is None:
            self._handlers.histories = declared
            self._topics.add(HISTORY, self._tell_history)

    def on_error_default(self, exception_handler: HandlerT) -> HandlerT:
        """Register a function for what handlers raise in namespaces without an :meth:`on_error` (decorator)."""
        self._handlers.on_error_default = _checked_callable(exception_handler)
        return exception_handler

    def register_blueprint(self, blueprint: SocketBlueprint) -> None:
        """Register what a blueprint has, and what will be registered with it from now on.

        :raises ValueError: if it is registered already, or is no :class:`SocketBlueprint`.
        """
        if not isinstance(blueprint, SocketBlueprint):
            raise ValueError(f"expected a SocketBlueprint, not {type(blueprint).__name__}")
        blueprint._join(self)

    def wrap_handlers(self, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        """Stand around single handlers: have other functions called in the place of those that are registered.

        For plugins, in ``socketio_setup``. What is registered later stays as it is, and so do the methods of classes.

        :param wrap: called with each function that is registered, which may be what an earlier call has put there;
            returns what is called instead, or the function itself.
        :raises TypeError: if it returns what cannot be called.

        .. versionadded:: 0.1
        """
        self._handlers.wrap(wrap)

    def reserve_namespace(self, namespace: str) -> None:
        """Keep a namespace for a plugin, whose clients have a login of their own.

        For plugins, in ``socketio_setup``. The application's user loader, Flask-Login's, and its ``before_connect``,
        ``before_event`` functions and the like for all namespaces are not asked there; those that name it are.

        .. versionadded:: 0.1
        """
        self._handlers.reserved.add(full_namespace(namespace))

    @abstractmethod
    def _tell_history(self, question: Any, node: str) -> Any:
        """Answer what another server asks about rooms."""

    @abstractmethod
    def on_namespace(self, namespace_handler: Any, *, _blueprint: object = None) -> None:
        """Register a class-based namespace."""


class SocketBlueprint(Registrar):
    """Handlers that are written without a ``SocketIO`` object and registered with one later, as Flask's blueprints::

        chat = SocketBlueprint("/chat")

        @chat.before_event()
        def members_only(event, args):
            ...

        @chat.on("say")
        def say(text):
            ...

        socketio.register_blueprint(chat)

    What it has around handlers stands around its own handlers only.

    :param namespace: of what is registered without one.
    """

    def __init__(self, namespace: str | None = None) -> None:
        self.namespace = full_namespace(namespace)
        self._deferred: list[Register] = []
        self._joined: list[HandlerRegistration] = []

    def _register(self, register: Register) -> None:
        self._deferred.append(register)
        for socketio in self._joined:
            register(socketio, self)

    def _join(self, socketio: HandlerRegistration) -> None:
        if socketio in self._joined:
            raise ValueError("this blueprint is registered already")
        self._joined.append(socketio)
        for register in self._deferred:
            register(socketio, self)

    def on_namespace(self, namespace_handler: Any) -> None:
        """Register a class-based namespace; see :meth:`SocketIO.on_namespace`."""
        self._register(lambda socketio, owner: socketio.on_namespace(namespace_handler, _blueprint=owner))

    def on(
        self, message: str, namespace: str | None = None, *, once: Callable[..., Any] | None = None
    ) -> Callable[[HandlerT], HandlerT]:
        """Register a function as the handler of an event (decorator); see :meth:`SocketIO.on`."""
        return super().on(message, namespace or self.namespace, once=once)

    def on_error(self, namespace: str | None = None) -> Callable[[HandlerT], HandlerT]:
        """Register a function that handles what the handlers of a namespace raise; see :meth:`SocketIO.on_error`."""
        return super().on_error(namespace or self.namespace)

    def before_connect(self, namespace: str | None = None) -> Callable[[HandlerT], HandlerT]:
        """Register a function that is asked before a client is let in; see :meth:`SocketIO.before_connect`."""
        return super().before_connect(namespace or self.namespace)


def _checked_callable(handler: HandlerT) -> HandlerT:
    if not callable(handler):
        raise ValueError(f"an error handler must be callable, not {type(handler).__name__}")
    return handler
