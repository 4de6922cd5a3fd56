"""The part of :class:`~flask_socketio_core.app.extension.SocketIO` that registers handlers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar, overload

from ..common.values import full_namespace
from .handlers import Handlers

HandlerT = TypeVar("HandlerT", bound=Callable[..., Any])


class HandlerRegistration:
    """Register functions as handlers; they serve all applications, before and after ``init_app``."""

    def __init__(self) -> None:
        self._handlers = Handlers()

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

    def on(self, message: str, namespace: str | None = None) -> Callable[[HandlerT], HandlerT]:
        """Register a function as the handler of an event (decorator)::

            @socketio.on("say", namespace="/chat")
            def say(text):
                ...

        :param message: the event; ``"connect"`` and ``"disconnect"`` are the client's coming and going, ``"message"``
            and ``"json"`` what it sends without a name, ``"*"`` everything without a handler of its own.
        :param namespace: ``"/"`` by default; ``"*"`` for all without a handler of their own. The slash at its beginning
            may be left out, here as everywhere.
        """
        space = full_namespace(namespace)

        def register(handler: HandlerT) -> HandlerT:
            self._handlers.add(message, space, handler)
            return handler

        return register

    def on_event(self, message: str, handler: Callable[..., Any], namespace: str | None = None) -> None:
        """Register a function as the handler of an event; see :meth:`on`."""
        self.on(message, namespace)(handler)

    @overload
    def event(self, handler: HandlerT, /) -> HandlerT: ...
    @overload
    def event(self, namespace: str | None = None) -> Callable[[HandlerT], HandlerT]: ...

    def event(self, namespace: Any = None) -> Any:
        """Register a function as the handler of the event with its name (decorator)::

            @socketio.event
            def say(text):
                ...

            @socketio.event(namespace="/chat")
            def whisper(text):
                ...

        :param namespace: as in :meth:`on`.
        """
        if callable(namespace):
            return self.on(namespace.__name__)(namespace)
        return lambda handler: self.on(handler.__name__, namespace)(handler)

    def on_error(self, namespace: str | None = None) -> Callable[[HandlerT], HandlerT]:
        """Register a function that handles what the handlers of a namespace raise (decorator).

        It is called with the exception, in the handler's context; its result is the acknowledgement.
        """
        space = full_namespace(namespace)

        def register(handler: HandlerT) -> HandlerT:
            self._handlers.on_error[space] = _checked_callable(handler)
            return handler

        return register

    def on_error_default(self, exception_handler: HandlerT) -> HandlerT:
        """Register a function for what handlers raise in namespaces without an :meth:`on_error` (decorator)."""
        self._handlers.on_error_default = _checked_callable(exception_handler)
        return exception_handler


def _checked_callable(handler: HandlerT) -> HandlerT:
    if not callable(handler):
        raise ValueError(f"an error handler must be callable, not {type(handler).__name__}")
    return handler
