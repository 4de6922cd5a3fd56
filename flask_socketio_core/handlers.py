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

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

ANY = "*"
RESERVED = frozenset(("connect", "disconnect"))
"""Events of which a catch-all does not hear."""

ErrorHandler = Callable[[Any], Any]
"""Called with what a handler raised: an exception, which need be no :exc:`Exception`, as a green library's Timeout."""


class ClassHandlers(Protocol):
    """What a class-based namespace is to the dispatcher."""

    namespace: str

    def trigger_event(self, event: str, *args: Any) -> Any:
        """Handle an event; the client's sid comes before its arguments."""


@dataclass(frozen=True, slots=True)
class Handler:
    """One registered function.

    :param event: as registered, ``"*"`` for a catch-all.
    :param namespace: as registered, ``"*"`` for all.
    :param call: calls the function with an event's arguments.
    """

    event: str
    namespace: str
    function: Callable[..., Any]
    call: Callable[..., Any]

    @property
    def name(self) -> str:
        """The function's name, for logs and for ``flask socketio events``."""
        return name_of(self.function)


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """One line of ``flask socketio events``."""

    namespace: str
    event: str
    handler: str
    location: str


class Handlers:
    """The handlers of one ``SocketIO`` object, shared by all its applications."""

    def __init__(self) -> None:
        self._functions: dict[str, dict[str, Handler]] = {}
        self._classes: dict[str, ClassHandlers] = {}
        self.on_error: dict[str, ErrorHandler] = {}
        self.on_error_default: ErrorHandler | None = None

    def add(self, event: str, namespace: str, function: Callable[..., Any]) -> None:
        """Register a function; a later one for the same event replaces it.

        :raises TypeError: if it cannot be called.
        """
        if not callable(function):
            raise TypeError(f"the handler of event {event!r} must be callable, not {type(function).__name__}")
        handler = Handler(event, namespace, function, _caller(event, function))
        self._functions.setdefault(namespace, {})[event] = handler

    def add_class(self, instance: ClassHandlers) -> None:
        """Register a class-based namespace."""
        self._classes[instance.namespace] = instance

    def has(self, namespace: str) -> bool:
        """Say whether something is registered for a namespace by its own name."""
        return namespace in self._functions or namespace in self._classes

    def find(self, event: str, namespace: str) -> Handler | None:
        """Return the function for an event of a namespace, or ``None``."""
        for space in (namespace, ANY):
            if functions := self._functions.get(space):
                handler = functions.get(event)
                if handler is None and event not in RESERVED:
                    handler = functions.get(ANY)
                if handler is not None:
                    return handler
        return None

    def find_class(self, namespace: str) -> ClassHandlers | None:
        """Return the class for a namespace, or ``None``."""
        return self._classes.get(namespace) or self._classes.get(ANY)

    def error_handler(self, namespace: str) -> ErrorHandler | None:
        """Return what handles the errors of a namespace, or ``None``."""
        return self.on_error.get(namespace, self.on_error_default)

    def __iter__(self) -> Iterator[Registration]:
        """Yield every registered handler, by namespace and event."""
        lines = [
            Registration(
                namespace=namespace, event=event, handler=handler.name, location=_location(handler.function)
            )
            for namespace, functions in self._functions.items()
            for event, handler in functions.items()
        ]
        for namespace, instance in self._classes.items():
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


def takes_argument(function: Callable[..., Any]) -> bool:
    """Say whether a connect or disconnect handler takes its one argument, the auth or the reason.

    Asked once, when the handler is registered: calling it and catching ``TypeError`` would run a handler again that
    raised one itself.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return True  # it has none to look at, like some built-in functions
    try:
        signature.bind(None)
    except TypeError:
        try:
            signature.bind()
        except TypeError:
            return True  # it fits neither: calling it says so best
        return False
    return True


def _caller(event: str, function: Callable[..., Any]) -> Callable[..., Any]:
    if event not in RESERVED or takes_argument(function):
        return function
    return lambda _argument: function()


def name_of(function: Callable[..., Any]) -> str:
    """Name a handler the way a traceback does."""
    inner = getattr(function, "func", function)  # functools.partial
    name = getattr(inner, "__qualname__", None) or type(inner).__qualname__
    return f"{getattr(inner, '__module__', '?')}.{name}"


def _location(function: Callable[..., Any]) -> str:
    code = getattr(inspect.unwrap(getattr(function, "__func__", function)), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else ""
