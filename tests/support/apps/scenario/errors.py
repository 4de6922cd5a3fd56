"""Errors in handlers: who hears of them, and what the client gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Flask, request

if TYPE_CHECKING:
    from support.apps.scenario.journal import Note

NAMESPACES = ("/own-error-handler", "/default-error-handler")


def register(socketio: Any, app: Flask, library: Any, note: Note) -> None:
    """Add the handlers."""
    if app.config["DEFAULT_ERROR_HANDLER"]:

        @socketio.on_error_default
        def default(error: Exception) -> str:
            note("default error handler", error, request.event["message"], request.namespace)
            return f"default: {error}"

    @socketio.on_error("/own-error-handler")
    def own(error: Exception) -> Any:
        note("own error handler", error, request.event["message"], request.namespace)
        library.emit("error seen", str(error))
        return None if str(error) == "quiet" else ("own", str(error))

    for namespace in NAMESPACES:
        _failing(socketio, namespace, note)

    @socketio.on("fail unhandled")
    def fail_unhandled() -> None:
        note("failing unhandled")
        raise ValueError("nobody handles this")


def _failing(socketio: Any, namespace: str, note: Note) -> None:
    @socketio.on("fail", namespace=namespace)
    def fail(text: str) -> None:
        raise ValueError(text)

    @socketio.on("type error", namespace=namespace)
    def type_error() -> None:
        note("type error raised")
        raise TypeError("inside the handler")

    @socketio.on("connect", namespace=namespace)
    def connect(auth: Any) -> None:
        if auth == {"fail": True}:
            note("failing connect")
            raise ValueError("connect failed")

    @socketio.on("disconnect", namespace=namespace)
    def disconnect(reason: str) -> None:
        raise ValueError(f"disconnect failed: {reason}")

    socketio.on_event("fence", lambda: None, namespace=namespace)
