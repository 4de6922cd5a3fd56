"""A server of a cluster that does what the test tells it, and that the clients of the test connect to."""

from __future__ import annotations

import ast
import dataclasses
from typing import Any

from flask import Flask, jsonify, request

from support.apps import base
from support.operations import Operator


def make_app() -> tuple[Flask, Any]:
    """Make the application and its extension object."""
    library = base.library()
    journal = base.Journal()
    app = Flask(__name__)
    socketio = library.SocketIO(app, **base.options())
    operator = Operator(socketio)

    @app.post("/do")
    def do() -> str:
        name, args, keywords = ast.literal_eval(request.get_data(as_text=True))
        return repr(operator.do(name, *args, **keywords))

    @app.get("/health")
    def health() -> Any:
        return jsonify(dataclasses.asdict(socketio.health()))

    @socketio.on("join")
    def join(*rooms: str) -> None:
        for room in rooms:
            library.join_room(room)

    @socketio.on("say")
    def say(room: str, text: str) -> None:
        library.emit("said", text, to=room, include_self=False)

    @socketio.on("join", namespace="/chat")
    def join_chat() -> None:
        library.join_room("chat")

    base.add_views(app, socketio, journal)
    return app, socketio
