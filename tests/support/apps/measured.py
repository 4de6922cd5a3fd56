"""An application whose metrics are looked at."""

from __future__ import annotations

import os
from typing import Any

from flask import Flask

from support.apps import base


def make_app() -> tuple[Flask, Any]:
    """Make the application and its extension object; the settings are its configuration."""
    library = base.library()
    app = Flask(__name__)
    app.config.update(base.settings())
    socketio = library.SocketIO(app, **base.options())

    @socketio.on("say")
    def say(text: str) -> int:
        library.join_room("hall")
        socketio.emit("said", text, to="hall", callback=lambda *_: None)
        return os.getpid()

    @socketio.on("fail")
    def fail() -> None:
        raise ValueError("as asked")

    @socketio.on("reject")
    def reject() -> None:
        raise library.EventRejected(ack="no")

    @socketio.on("*")
    def anything(event: str, *args: Any) -> str:
        return event

    @socketio.on("ask")
    def ask() -> None:
        library.emit("unanswered", callback=lambda *_: None, timeout=0.1)

    @socketio.on("wait")
    def wait(seconds: float) -> None:
        socketio.sleep(seconds)

    @socketio.on("say", namespace="/second")
    def say_second() -> None:
        """Have a namespace."""

    base.add_views(app, socketio, base.Journal())
    return app, socketio
