"""A chat whose server tells what happens; for the tests of what it tells."""

from __future__ import annotations

import logging
from typing import Any

from flask import Flask

from support.apps import base

if base.settings().get("configured"):
    logging.basicConfig(level=logging.INFO, format="configured:%(name)s:%(levelname)s:%(message)s")


def make_app() -> tuple[Flask, Any]:
    """Make the application and its extension object."""
    library = base.library()
    journal = base.Journal()
    app = Flask(__name__)
    socketio = library.SocketIO(app, **base.options())

    @socketio.on("connect")
    def connect(auth: Any) -> bool:
        return bool((auth or {}).get("enter", True))

    @socketio.on("join")
    def join(room: str) -> str:
        library.join_room(room)
        return room

    @socketio.on("say")
    def say(room: str, text: str) -> None:
        library.emit("said", text, to=room, callback=lambda *_: None)

    @socketio.on("part")
    def part(room: str) -> None:
        library.leave_room(room)
        library.close_room(room)
        library.emit("parted", room, broadcast=True)

    @socketio.on("kick me")
    def kick() -> None:
        library.disconnect()

    base.add_views(app, socketio, journal)
    return app, socketio
