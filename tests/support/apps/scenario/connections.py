"""Connect and disconnect: auth, refusal in every form, reasons."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flask import Flask, request
from socketio import exceptions as socketio_errors

if TYPE_CHECKING:
    from support.apps.scenario.journal import Note


def register(socketio: Any, app: Flask, library: Any, note: Note) -> None:
    """Add the handlers."""
    _accepting(socketio, note)
    _refusing(socketio, library)
    _disconnecting(socketio, library, note)


def _accepting(socketio: Any, note: Note) -> None:
    @socketio.on("connect")
    def connect(auth: Any) -> None:
        environ, *rest = request.event["args"]
        note("connect", auth, request.namespace, request.event["message"], environ["REQUEST_METHOD"], rest)

    @socketio.on("connect", namespace="/no-auth")
    def connect_without_auth() -> None:
        note("connect without auth", request.event["message"])

    @socketio.on("connect", namespace="/optional-auth")
    def connect_with_optional_auth(auth: Any = "default") -> None:
        note("connect with optional auth", auth)

    @socketio.on("connect", namespace="/returns")
    def connect_returning(auth: Any) -> Any:
        return (auth or {}).get("answer")

    @socketio.on("connect", namespace="/emits-on-connect")
    def connect_emitting(auth: Any) -> Any:
        socketio.emit("early", "hello", namespace="/emits-on-connect", to=request.sid)
        return (auth or {}).get("answer")

    @socketio.on("connect", namespace="/injected")
    @_with("db")
    def connect_with_injected(db: str, auth: Any) -> None:
        note("connect", db, auth)

    @socketio.on("connect", namespace="/injected-alone")
    @_with("db")
    def connect_with_injected_alone(db: str) -> None:
        note("connect", db)

    @socketio.on("fence")
    def fence() -> None:
        """Answer at once."""

    for namespace in (
        "/no-auth",
        "/optional-auth",
        "/returns",
        "/emits-on-connect",
        "/injected",
        "/injected-alone",
    ):
        socketio.on_event("fence", fence, namespace=namespace)


def _with(value: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that passes a first argument of its own."""

    def decorator(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any) -> Any:
            return function(value, *args)

        return wrapper

    return decorator


def _refusing(socketio: Any, library: Any) -> None:
    refusals: dict[str, Any] = {
        "/refuse-false": lambda: False,
        "/refuse-plain": lambda: _raise(library.ConnectionRefusedError()),
        "/refuse-message": lambda: _raise(library.ConnectionRefusedError("go away")),
        "/refuse-data": lambda: _raise(library.ConnectionRefusedError("go away", {"code": 7})),
        "/refuse-more": lambda: _raise(library.ConnectionRefusedError("go away", 1, "two", [3])),
        "/refuse-number": lambda: _raise(library.ConnectionRefusedError(404)),
        "/refuse-socketio": lambda: _raise(
            socketio_errors.ConnectionRefusedError("from the protocol library")
        ),
        "/refuse-builtin": lambda: _raise(ConnectionRefusedError("the builtin")),
    }
    for namespace, refuse in refusals.items():
        socketio.on_event("connect", _ignoring_auth(refuse), namespace=namespace)


def _ignoring_auth(refuse: Any) -> Any:
    def connect(auth: Any) -> Any:  # the auth is the handler's signature
        return refuse()

    return connect


def _raise(error: Exception) -> None:
    raise error


def _disconnecting(socketio: Any, library: Any, note: Note) -> None:
    @socketio.on("disconnect")
    def disconnected(reason: str) -> None:
        note("disconnect", reason, request.namespace, sorted(library.rooms()) == [request.sid])

    @socketio.on("connect", namespace="/old-style")
    def old_style_connect() -> None:
        """Accept."""

    @socketio.on("disconnect", namespace="/old-style")
    def old_style_disconnect() -> None:
        note("disconnect without reason")

    @socketio.on("disconnect me")
    def disconnect_me() -> None:
        library.disconnect()

    @socketio.on("connect", namespace="/order")
    def order_connect() -> None:
        """Accept."""

    @socketio.on("disconnect me", namespace="/order")
    def order_disconnect_me() -> None:
        library.disconnect()
        note("disconnect() returned")

    @socketio.on("disconnect", namespace="/order")
    def order_disconnected(reason: str) -> None:
        note("disconnect handler ran", reason)

    @socketio.on("disconnect other")
    def disconnect_other(sid: str) -> str:
        library.disconnect(sid)
        return "done"

    @socketio.on("connect", namespace="/farewell")
    def farewell_connect() -> None:
        """Accept."""

    @socketio.on("join farewell", namespace="/farewell")
    def farewell_join(room: str) -> None:
        library.join_room(room)

    @socketio.on("disconnect", namespace="/farewell")
    def farewell_disconnect(reason: str) -> None:
        for room in library.rooms():
            if room != request.sid:
                library.emit("left", reason, to=room, include_self=False)
        note("farewell")

    @socketio.on("fence", namespace="/farewell")
    def fence() -> None:
        """Answer at once."""

    socketio.on_event("fence", fence, namespace="/old-style")
