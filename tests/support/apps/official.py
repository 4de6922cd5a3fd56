"""The application that the Socket.IO project's own protocol test suite expects at the other end.

Source: socket.io-protocol v5, "Test suite".
"""

from __future__ import annotations

from typing import Any

from flask import Flask

from support.apps import base


def make_app() -> tuple[Flask, Any]:
    """Make the application and its extension object."""
    library = base.library()
    app = Flask(__name__)
    socketio = library.SocketIO(app, **base.options())
    for namespace in ("/", "/custom"):
        _register(socketio, library, namespace)
    base.add_views(app, socketio, base.Journal())
    return app, socketio


def _register(socketio: Any, library: Any, namespace: str) -> None:
    @socketio.on("connect", namespace=namespace)
    def connect(auth: Any) -> None:
        library.emit("auth", auth or {})

    @socketio.on("message", namespace=namespace)
    def message(*args: Any) -> None:
        library.emit("message-back", args)

    @socketio.on("message-with-ack", namespace=namespace)
    def message_with_ack(*args: Any) -> Any:
        return args
