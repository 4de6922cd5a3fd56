"""One broad application that uses the whole public API of Flask-SocketIO 5.7, for ``tests/compat``.

It runs unchanged on either library. Every handler notes what it saw in the journal, tagged with the ``who`` of its
client's query string, so that what an earlier test's clients still do is not mistaken for this one's.
"""

from __future__ import annotations

from typing import Any

from flask import Flask

from support.apps import base
from support.apps.scenario import (
    classes,
    connections,
    context,
    differences,
    errors,
    events,
    outside,
    rooms,
    sessions,
)
from support.apps.scenario.journal import TaggedJournal

PARTS = (connections, events, rooms, classes, errors, sessions, context, outside, differences)


def make_app() -> tuple[Flask, Any]:
    """Make the application and its extension object."""
    library = base.library()
    settings = base.settings()
    journal = TaggedJournal()
    app = Flask(__name__)
    app.secret_key = "only for tests"
    app.config["DEFAULT_ERROR_HANDLER"] = settings.get("default_error_handler", True)
    app.config["CATCH_ALL_NAMESPACE"] = settings.get("catch_all_namespace", False)
    sessions.configure(app, settings)
    options = dict(base.options())
    if settings.get("json") == "custom":
        options["json"] = events.MarkedJson
    if settings.get("factory"):
        socketio = library.SocketIO(**options)
        _register(socketio, app, library, journal)
        socketio.init_app(app)
    else:
        socketio = library.SocketIO(app, **options)
        _register(socketio, app, library, journal)
    base.add_views(app, socketio, journal)
    return app, socketio


def _register(socketio: Any, app: Flask, library: Any, journal: TaggedJournal) -> None:
    for part in PARTS:
        part.register(socketio, app, library, journal.note)
