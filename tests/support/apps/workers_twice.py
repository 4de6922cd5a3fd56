"""Two objects on paths of their own, in several workers, each of which draws its own secret."""

from __future__ import annotations

import os
from typing import Any

from flask import Flask, jsonify

from support.apps import base


def make_app() -> tuple[Flask, Any]:
    """Make the application and its extension objects; return the one whose path is ``first``."""
    library = base.library()
    app = Flask(__name__)
    app.secret_key = os.urandom(16)
    objects = {name: library.SocketIO(app, path=name, **base.options()) for name in ("first", "second")}
    for name, socketio in objects.items():
        socketio.on_event("echo", lambda *args, name=name: [name, os.getpid(), *args])

    @app.get("/tell/<name>/<text>")
    def tell(name: str, text: str) -> Any:
        objects[name].emit("told", text)
        return jsonify(os.getpid())

    base.add_views(app, objects["first"], base.Journal())
    return app, objects["first"]
