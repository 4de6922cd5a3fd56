"""Which handler an event goes to.

Of all that could take an event, the first of these gets it; "connect" and "disconnect" go to no catch-all event:

1. the function for this event of this namespace
2. the function for ``"*"`` of this namespace
3. the function for this event of the namespace ``"*"``
4. the function for ``"*"`` of the namespace ``"*"``
5. the class for this namespace
6. the class for the namespace ``"*"``

Source: python-socketio's ``BaseServer._get_event_handler`` and ``_get_namespace_handler``.
"""

from __future__ import annotations

import fnmatch
import functools
import inspect
import traceback
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ..common.values import full_namespace

if TYPE_CHECKING:
    from ..contracts.clients import Client
    from .histories import Declarations

ANY = "*"
RESERVED = frozenset(("connect", "disconnect"))
"""Events of which a catch-all does not hear."""

Around = Callable[[Callable[..., Any]], Callable[..., Any]]

ErrorHandler = Callable[[Any], Any]
"""Called with what a handler raised: an exception, which need be no :exc:`Exception`, as a green library's Timeout."""

MOST_PARTS = 100
"""So many functions and objects of a decorated handler are looked at."""
ONCE = "_flask_socketio_once"
"""The mark of a method that is handled once."""


class ClassHandlers(Protocol):
    """What a class-based namespace is to the dispatcher."""

    namespace: str

    def trigger_event(self, event: str, *args: Any) -> Any:
        """Handle an event; the client's sid comes before its arguments."""


class NamespaceBase:
    """What ``on_namespace()`` takes: :class:`~flask_socketio_core.Namespace`, which knows the ``SocketIO`` object."""

    namespace: str

    def trigger_event(self, event: str, *args: Any) -> Any:
        """Handle an event; the client's sid comes before its arguments."""
        raise NotImplementedError

    def _set_socketio(self, socketio: Any) -> None:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Handler:
    """One registered function.

    :param event: as registered, ``"*"`` for a catch-all.
    :param namespace: as registered, ``"*"`` for all.
    :param call: calls the function with an event's arguments.
    :param blueprint: what it was registered by; ``None`` for the ``SocketIO`` object itself.
    """

    event: str
    namespace: str
    function: Callable[..., Any]
    call: Callable[..., Any]
    blueprint: object = None
    may_await: bool = False
    """Whether a call of it may return a coroutine."""
    around: Around | None = None
    """Has made ``call`` of the function."""

    @property
    def name(self) -> str:
        """The function's name, for logs and for ``flask socketio events``."""
        return name_of(self.function)


@dataclass(frozen=True, slots=True)
class Attendant:
    """A function that the application has around some of its handlers.

    :param moment: ``"connect"``, ``"before"``, ``"after"`` or ``"teardown"``.
    :param pattern: of event names, as of files in a shell; means nothing for ``"connect"``.
    :param namespace: ``None`` for all.
    :param blueprint: only around the events whose handlers it has registered; ``None`` for all.
    """

    moment: str
    pattern: str
    namespace: str | None
    function: Callable[..., Any]
    blueprint: object = None

    def before_connects(self, namespace: str) -> bool:
        """Return whether it is asked before a client is let in."""
        return self.moment == "connect" and self.namespace in (None, namespace)

    def attends(self, event: str, namespace: str, blueprint: object) -> bool:
        """Return whether it stands around a handler of an event."""
        return (
            self.moment != "connect"
            and self.namespace in (None, namespace)
            and self.blueprint in (None, blueprint)
            and fnmatch.fnmatchcase(event, self.pattern)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """One line of ``flask socketio events``."""

    namespace: str
    event: str
    handler: str
    location: str


class HandlerCall:
    """One call of a handler, or of a callback. The handler's request carries it, so that ``emit()`` and the like know
    for whom they are called.

    :param owner: the ``SocketIO`` object whose handler it is.
    :param invoke: calls a class's method for the event, with this call, the method and what it is to be given.
    :param event: as the handler was registered, and as ``request.event`` has it; ``None`` for a callback.
    :param args: what ``request.event["args"]`` is.
    :param function: what is called, inside the client's context.
    :param given: what it is called with.
    :param handler: what it is, for the log.
    :param blueprint: what the handler was registered by; ``None`` for the ``SocketIO`` object itself.

    ``attended`` says that what stands around it has been asked, or is not to be.
    """

    __slots__ = (
        "args",
        "attended",
        "blueprint",
        "client",
        "event",
        "function",
        "given",
        "handler",
        "invoke",
        "owner",
    )

    def __init__(
        self,
        owner: Any,
        invoke: Callable[..., Any],
        client: Client,
        event: str | None,
        args: tuple[Any, ...],
        function: Callable[..., Any],
        given: tuple[Any, ...],
        handler: Callable[..., Any],
        blueprint: object = None,
    ) -> None:
        self.owner = owner
        self.invoke = invoke
        self.client = client
        self.event = event
        self.args = args
        self.function = function
        self.given = given
        self.handler = handler
        self.blueprint = blueprint
        self.attended = event is None  # nobody stands around a callback


class Handlers:
    """The handlers of one ``SocketIO`` object, shared by all its applications."""

    def __init__(self) -> None:
        self.functions: dict[str, dict[str, Handler]] = {}
        """By namespace and event."""
        self.classes: dict[str, ClassHandlers] = {}
        """By namespace."""
        self.blueprints: dict[str, object] = {}
        """By namespace, what has registered the class for it."""
        self.on_error: dict[str, ErrorHandler] = {}
        self.on_error_default: ErrorHandler | None = None
        self.attendants: list[Attendant] = []
        """What the application has around handlers, in order of registration."""
        self.user_loader: Callable[[Any], Any] | None = None
        """Says who a client's user is."""
        self.reserved: set[str] = set()
        """Namespaces of plugins, in which what the application has for all namespaces is not asked."""
        self.histories: Declarations | None = None
        """The rooms that have a history; ``None`` if none has."""
        self.awaiting: set[str] = set()
        """The namespaces whose classes have coroutine functions."""

    def add(
        self,
        event: str,
        namespace: str,
        function: Callable[..., Any],
        blueprint: object = None,
        around: Around | None = None,
    ) -> None:
        """Register a function; a later one for the same event replaces it.

        :param around: makes of the function what is called instead.
        :raises TypeError: if it cannot be called.
        """
        if not callable(function):
            raise TypeError(f"the handler of event {event!r} must be callable, not {type(function).__name__}")
        call = ReservedCall(function) if event in RESERVED else function
        if around is not None:
            call = around(function)
        handler = Handler(event, namespace, function, call, blueprint, may_await(function), around)
        self.functions.setdefault(namespace, {})[event] = handler

    def wrap(self, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        """Put what a function returns for each registered function in its place."""
        for handler in [handler for functions in self.functions.values() for handler in functions.values()]:
            function = wrap(handler.function)
            if function is not handler.function:
                self.add(handler.event, handler.namespace, function, handler.blueprint, handler.around)

    def add_class(self, instance: ClassHandlers, blueprint: object = None) -> None:
        """Register a class-based namespace."""
        namespace = full_namespace(instance.namespace)
        self.classes[namespace] = instance
        names = [name for name in dir(type(instance)) if name.startswith("on_")]
        methods = [getattr(instance, name, None) for name in (*names, "trigger_event", "error")]
        self.awaiting.discard(namespace)
        if any(callable(method) and may_await(method) for method in methods):
            self.awaiting.add(namespace)
        self.blueprints[namespace] = blueprint

    def has(self, namespace: str) -> bool:
        """Return whether something is registered for a namespace by its own name."""
        return namespace in self.functions or namespace in self.classes

    @property
    def has_once(self) -> bool:
        """Whether there are handlers to which the same event goes once only."""
        functions = (handler for found in self.functions.values() for handler in found.values())
        methods = (getattr(type(one), name, None) for one in self.classes.values() for name in dir(type(one)))
        return any(handler.around is not None for handler in functions) or any(
            hasattr(method, ONCE) for method in methods
        )

    def find(self, event: str, namespace: str) -> Handler | None:
        """Return the function for an event of a namespace, or ``None``."""
        for space in (namespace, ANY):
            if functions := self.functions.get(space):
                handler = functions.get(event)
                if handler is None and event not in RESERVED:
                    handler = functions.get(ANY)
                if handler is not None:
                    return handler
        return None

    def find_class(self, namespace: str) -> ClassHandlers | None:
        """Return the class for a namespace, or ``None``."""
        return self.classes.get(namespace) or self.classes.get(ANY)

    def reaches(self, attendant: Attendant, namespace: str) -> bool:
        """Return whether an attendant may stand around handlers of a namespace, which may be reserved."""
        return attendant.namespace is not None or namespace not in self.reserved

    def error_handler(self, namespace: str) -> ErrorHandler | None:
        """Return what handles the errors of a namespace, or ``None``."""
        return self.on_error.get(namespace) or self.on_error.get(ANY) or self.on_error_default

    def __iter__(self) -> Iterator[Registration]:
        """Yield every registered handler, by namespace and event."""
        lines = [
            Registration(
                namespace=namespace, event=event, handler=handler.name, location=_location(handler.function)
            )
            for namespace, functions in self.functions.items()
            for event, handler in functions.items()
        ]
        for namespace, instance in self.classes.items():
            for name in dir(instance):
                if name.startswith("on_") and callable(method := getattr(instance, name)):
                    lines.append(
                        Registration(
                            namespace=namespace,
                            event=name.removeprefix("on_"),
                            handler=name_of(method),
                            location=_location(method),
                        )
                    )
        return iter(sorted(lines, key=lambda line: (line.namespace, line.event)))


class ReservedCall:
    """Call a connect or disconnect handler with its one argument, the auth or the reason, or without it.

    How the handler is written decides, and its signature tells; where a decorator hides it and passes arguments of its
    own, the first call does: a function that cannot be called with the argument refuses it before its body runs, and
    is called without from then on. Only the decorator's own code has run twice then. A ``TypeError`` out of a body is
    an error like any other.

    :param function: any callable.
    """

    __slots__ = ("_function", "_takes_argument")

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._takes_argument = takes_argument(function)

    def __call__(self, *argument: Any) -> Any:
        """Return what the handler returns."""
        if self._takes_argument:
            try:
                return self._function(*argument)
            except TypeError as error:
                if not _was_refused(self._function, error):
                    raise
            self._takes_argument = False
        return self._function()


def may_await(function: Callable[..., Any]) -> bool:
    """Return whether a function is a coroutine function, or says that it wraps one."""
    inner: Any = function
    for _ in range(MOST_PARTS):
        if inspect.iscoroutinefunction(inner):
            return True
        if isinstance(inner, functools.partial):
            inner = inner.func
        elif isinstance(inner, types.MethodType):
            inner = inner.__func__
        elif isinstance(inner, types.FunctionType):
            if "__wrapped__" not in vars(inner):
                return False
            inner = vars(inner)["__wrapped__"]
        else:
            inner = vars(type(inner)).get("__call__")  # of an object that is called
            if not isinstance(inner, types.FunctionType):
                return False
    return False


def takes_argument(function: Callable[..., Any]) -> bool:
    """Return whether a connect or disconnect handler takes its one argument, as far as its signatures tell.

    A decorator's own comes first; if it takes anything, that of the function which it wraps.
    """
    for follow_wrapped in (False, True):
        try:
            signature = inspect.signature(function, follow_wrapped=follow_wrapped)
        except (TypeError, ValueError):
            return True  # it has none to look at, like some built-in functions
        with_argument, without = _binds(signature, None), _binds(signature)
        if with_argument != without:
            return with_argument
    return True  # calling it says best what is wrong


def _binds(signature: inspect.Signature, *arguments: None) -> bool:
    try:
        signature.bind(*arguments)
    except TypeError:
        return False
    return True


def _was_refused(function: Callable[..., Any], error: TypeError) -> bool:
    """Return whether an error tells that a function inside a decorator does not take what the decorator passed on."""
    return any(_refused(inner, error) for inner in _functions_inside(function))


def refused_arguments(function: Callable[..., Any], error: BaseException) -> bool:
    """Return whether an error tells that a handler, without its decorators, does not take what a client sent.

    What a handler calls wrongly itself is the application's error.
    """
    if not isinstance(error, TypeError):
        return False
    inner: Any = inspect.unwrap(function)
    while isinstance(inner, (functools.partial, types.MethodType)):
        inner = inspect.unwrap(inner.func if isinstance(inner, functools.partial) else inner.__func__)
    return isinstance(inner, types.FunctionType) and _refused(inner, error)


def _refused(function: types.FunctionType, error: TypeError) -> bool:
    """Return whether a function's signature raised an error: the function was not entered, and the error names it."""
    entered = any(frame.f_code is function.__code__ for frame, _ in traceback.walk_tb(error.__traceback__))
    return not entered and str(error).startswith(f"{function.__qualname__}() ")


def _functions_inside(function: Callable[..., Any]) -> Iterator[types.FunctionType]:
    """Yield the functions that a handler consists of: itself, and what it wraps, binds, keeps or closes over."""
    waiting: list[Any] = [function]
    seen: set[int] = set()
    while waiting and len(seen) < MOST_PARTS:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, types.FunctionType):
            yield part
            waiting += [cell.cell_contents for cell in part.__closure__ or () if _is_callable_cell(cell)]
        elif isinstance(part, types.MethodType):
            waiting.append(part.__func__)
        elif isinstance(part, functools.partial):
            waiting.append(part.func)
        else:
            waiting.append(type(part).__call__)
        waiting += [value for value in getattr(part, "__dict__", {}).values() if callable(value)]


def _is_callable_cell(cell: types.CellType) -> bool:
    try:
        return callable(cell.cell_contents)
    except ValueError:  # nothing in it yet
        return False


def name_of(function: Callable[..., Any]) -> str:
    """Name a handler the way a traceback does."""
    inner = getattr(function, "func", function)  # functools.partial
    name = getattr(inner, "__qualname__", None) or type(inner).__qualname__
    return f"{getattr(inner, '__module__', '?')}.{name}"


def _location(function: Callable[..., Any]) -> str:
    code = getattr(inspect.unwrap(getattr(function, "__func__", function)), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else ""
