"""What the two libraries do differently on purpose; see COMPAT.md."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from flask import Flask, jsonify

if TYPE_CHECKING:
    from support.apps.scenario.journal import Note


def register(socketio: Any, app: Flask, library: Any, note: Note) -> None:
    """Add the handlers and views."""

    @socketio.on("connect", namespace="/type-error-on-connect")
    def connect_with_type_error() -> None:
        note("connect ran")
        raise TypeError("inside the handler")

    @socketio.on("connect", namespace="/error-on-connect")
    def connect_with_error(auth: Any) -> None:
        note("connect ran", auth)
        raise ValueError("inside the handler")

    @socketio.on("call and wait")
    def call_and_wait(sid: str) -> list[Any]:
        begin = time.monotonic()
        try:
            library.call("question", to=sid, timeout=2)
        except Exception as error:  # noqa: BLE001  # the type is what the test wants to see
            return [type(error).__name__, time.monotonic() - begin < 1]
        return ["no error"]

    @socketio.on("emit with typo")
    def emit_with_typo() -> str:
        try:
            library.emit("said", "hello", brodcast=True)
        except TypeError as error:
            return str(error)
        return "sent"

    @app.get("/emit-without-client")
    def emit_without_client() -> Any:
        try:
            library.emit("said", "hello")
        except Exception as error:  # noqa: BLE001  # the type is what the test wants to see
            return jsonify([type(error).__name__, str(error)])
        return jsonify([])

    @socketio.on("join for nobody")
    def join_for_nobody() -> str:
        try:
            library.join_room("room", sid="nobody")
        except (KeyError, ValueError) as error:
            return type(error).__name__
        return "no error"

    @app.get("/stop")
    def stop() -> str:
        socketio.stop()
        return "stopping"
