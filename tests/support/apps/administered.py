"""An application with the Admin UI: ``ann`` may log in with the password ``secret``."""

from __future__ import annotations

from typing import Any

from flask import Flask

from support.apps import base

#: Of ``secret``: the same on each server, as what a page keeps depends on it, and quick to check.
HASH = "pbkdf2:sha256:1000$of-this-test$0eebf0960189a8c0323b3dba52f521ba12d878a936dc83857557ffd3ddccc123"


def make_app() -> tuple[Flask, Any]:
    """Make the application and its extension object; the settings are keys of its configuration."""
    library = base.library()
    app = Flask(__name__)
    app.config.update(
        SECRET_KEY="of all servers",
        SOCKETIO_ADMIN_UI_AUTH=("ann", HASH),
        **base.settings(),
    )
    socketio = library.SocketIO(app, **base.options())
    journal = base.Journal()

    @socketio.on("enter")
    def enter(room: str) -> str:
        library.join_room(room)
        return room

    @socketio.on("disconnect")
    def left(reason: str) -> None:
        journal.note("left", reason)

    base.add_views(app, socketio, journal)
    return app, socketio
