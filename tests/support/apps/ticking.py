"""An application that starts a background task while it is imported."""

from __future__ import annotations

from typing import Any

from flask import Flask

from support.apps import base


def make_app() -> tuple[Flask, Any]:
    """Make the application and its extension object."""
    app = Flask(__name__)
    socketio = base.library().SocketIO(app, **base.options())
    base.add_views(app, socketio, base.Journal())

    def tick() -> None:
        while True:
            socketio.sleep(0.2)

    socketio.start_background_task(tick)
    return app, socketio
