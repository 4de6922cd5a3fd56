"""An application whose handlers finish when the test says so."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from typing import Any

from flask import Flask, jsonify, request

from support.apps import base

LONGEST_S = 15
"""How long a handler waits, so that a test that fails does not keep its server."""


def make_app() -> tuple[Flask, Any]:
    """Make the application and its extension object."""
    library = base.library()
    journal = base.Journal()
    app = Flask(__name__)
    socketio = library.SocketIO(app, **base.options())
    gate = {"open": False}
    counts = Counter(slow=0, answered=0, waiting=0, joined=0, left=0)
    lock = threading.Lock()

    def add(name: str, step: int = 1) -> None:
        with lock:
            counts[name] += step

    def wait() -> None:
        add("waiting")
        until_s = time.monotonic() + LONGEST_S
        while not gate["open"] and time.monotonic() < until_s:
            socketio.sleep(0.02)
        add("waiting", -1)

    @socketio.on("slow")
    def slow(*data: Any) -> None:
        wait()
        add("slow")

    @socketio.on("connect")
    def joined() -> None:
        add("joined")

    @socketio.on("disconnect")
    def left() -> None:
        add("left")

    @socketio.on("echo")
    def echo(data: Any) -> Any:
        return data

    @socketio.on("ask")
    def ask(count: int) -> int:
        def answered(*data: Any) -> None:
            add("answered")

        for _ in range(count):
            library.emit("question", callback=answered)
        return count

    @socketio.on("connect", namespace="/slow")
    def connect(auth: Any) -> None:
        wait()

    @app.post("/gate")
    def set_gate() -> Any:
        gate["open"] = request.args["open"] == "1"
        return jsonify(True)

    @app.post("/broadcast")
    def broadcast() -> Any:
        for _ in range(int(request.args["count"])):
            socketio.emit("news", os.urandom(int(request.args["bytes"])), namespace="/slow")
        return jsonify(True)

    @app.get("/counts")
    def get_counts() -> Any:
        return jsonify(counts)

    base.add_views(app, socketio, journal)
    return app, socketio
