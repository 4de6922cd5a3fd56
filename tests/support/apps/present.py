"""An application that shows who is in its rooms."""

from __future__ import annotations

import os
from typing import Any

from flask import Flask, jsonify

from flask_socketio_presence import Presence
from support.apps import base


def make_app() -> tuple[Flask, Any]:
    """Make the application and its extension object; the settings are keys of its configuration."""
    library = base.library()
    app = Flask(__name__)
    app.config.update(base.settings())
    socketio = library.SocketIO(app, **base.options())
    presence = Presence(socketio)
    journal = base.Journal()

    @socketio.user_loader
    def load(auth: Any = None) -> Any:
        return auth

    @socketio.on("open")
    def enter(doc: str, meta: dict[str, Any]) -> None:
        presence.track(f"doc:{doc}", meta)

    @socketio.on("close")
    def leave(doc: str) -> None:
        library.leave_room(f"doc:{doc}")

    @presence.on_join("doc:*")
    def joined(room: str, user: str, metas: list[Any]) -> None:
        journal.note("joined", room, user)

    @presence.on_leave("doc:*")
    def left(room: str, user: str, metas: list[Any]) -> None:
        journal.note("left", room, user)

    @app.get("/present/<doc>")
    def present(doc: str) -> Any:
        return jsonify(users=presence.list(f"doc:{doc}"), count=presence.count(f"doc:{doc}"))

    @app.get("/count/<doc>")
    def count(doc: str) -> Any:
        return jsonify(os.getpid(), presence.count(f"doc:{doc}"))

    @app.get("/presence.mjs")
    def module() -> Any:
        return presence.module()

    base.add_views(app, socketio, journal)
    return app, socketio
