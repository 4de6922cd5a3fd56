"""An application whose clients may only do so much."""

from __future__ import annotations

from typing import Any

from flask import Flask, request

from flask_socketio_core import Namespace
from flask_socketio_limits import limit
from support.apps import base


def make_app() -> tuple[Flask, Any]:
    """Make the application and its extension object; the settings are keys of its configuration."""
    library = base.library()
    app = Flask(__name__)
    app.config.update(base.settings())
    socketio = library.SocketIO(app, **base.options())

    @socketio.on("connect")
    def enter(auth: Any = None) -> None:
        request.client.user = auth

    @socketio.on("say")
    @socketio.on("chat.say")
    @socketio.on("look")
    def answer(*args: Any) -> str:
        return "done"

    @socketio.on("login")
    @limit("2/hour", key="user")
    def login(name: str) -> str:
        return f"hello {name}"

    class Lobby(Namespace):
        @limit("1/hour")
        def on_open(self) -> str:
            return "open"

    socketio.on_namespace(Lobby("/lobby"))
    base.add_views(app, socketio, base.Journal())
    return app, socketio
