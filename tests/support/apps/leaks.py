"""An application whose clients join rooms, and which counts what there is of everything."""

from __future__ import annotations

import gc
import os
import threading
from collections import Counter
from typing import Any

from flask import Flask, jsonify

from support.apps import base

COUNTED = (
    "Session",
    "Connection",
    "Client",
    "DetachedConnection",
    "PollingTransport",
    "Probe",
    "Mailbox",
    "greenlet",
    "_Worker",
)


def make_app() -> tuple[Flask, Any]:
    """Make the application and its extension object."""
    library = base.library()
    journal = base.Journal()
    app = Flask(__name__)
    socketio = library.SocketIO(app, **base.options())

    @socketio.on("join")
    def join(room: str) -> str:
        library.join_room(room)
        library.join_room("everybody")
        return "joined"

    @socketio.on("ask")
    def ask() -> None:
        library.emit("question", callback=lambda *answer: None)

    @app.get("/state")
    def state() -> Any:
        gc.collect()
        found: Counter[str] = Counter()
        rooms = 0
        for thing in gc.get_objects():
            name = type(thing).__name__
            if name in COUNTED:
                found[name] += 1
            elif name == "Rooms":
                rooms += len(thing) + len(thing._rooms)
        return jsonify(
            objects={name: found[name] for name in COUNTED},
            rooms=rooms,
            threads=threading.active_count(),
            descriptors=len(os.listdir("/proc/self/fd")),
        )

    base.add_views(app, socketio, journal)
    return app, socketio
