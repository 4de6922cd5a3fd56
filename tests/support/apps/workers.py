"""The application of several workers: who answers tells which one it is."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from flask import Flask, jsonify, request

from support.apps import base


def make_app() -> tuple[Flask, Any]:
    """Make the application and its extension object."""
    library = base.library()
    app = Flask(__name__)
    app.secret_key = "only for tests"
    socketio = library.SocketIO(app, **base.options())
    journal = base.Journal()

    @socketio.on("connect")
    def connect(auth: Any) -> None:
        library.join_room("all")

    @socketio.on("echo")
    def echo(*args: Any) -> Any:
        return [os.getpid(), *args]

    @socketio.on("say")
    def say(text: Any) -> None:
        library.emit("said", [os.getpid(), text], to="all")

    @socketio.on("me")
    def me() -> str:
        sid: str = request.sid
        return sid

    @app.get("/kick/<sid>")
    def kick(sid: str) -> Any:
        socketio.kick(to=sid)
        return jsonify(os.getpid())

    @socketio.on("ask")
    def ask(sid: str) -> Any:
        """Call another client, wherever it is."""
        return socketio.call("question", os.getpid(), to=sid, timeout=5)

    @socketio.on("stand still")
    def stand_still(seconds: float) -> None:
        """Keep this worker from doing anything."""
        os.kill(os.getpid(), signal.SIGSTOP)

    if hasattr(socketio, "on_server"):  # Flask-SocketIO is under test, too

        @socketio.on_server("note")
        def note(text: str) -> int:
            journal.note("told", text)
            return os.getpid()

    @app.get("/tell/<text>")
    def tell(text: str) -> Any:
        socketio.tell_servers("note", text)
        return jsonify(os.getpid())

    @app.get("/ask/<text>")
    def ask_all(text: str) -> Any:
        found = socketio.ask_servers("note", text)
        return jsonify(answers=list(found.answers.values()), complete=found.complete)

    @app.get("/announce/<text>")
    def announce(text: str) -> Any:
        socketio.emit("announced", [os.getpid(), text])
        return jsonify(os.getpid())

    @app.get("/who")
    def who() -> Any:
        found = socketio.who()
        return jsonify(clients=[client.sid for client in found], missing=list(found.missing))

    @app.get("/slow")
    def slow() -> Any:
        journal.note("slow")
        time.sleep(float(request.args.get("seconds", 0.1)))
        return jsonify(os.getpid())

    base.add_views(app, socketio, journal)
    return app, socketio
