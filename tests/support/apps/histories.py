"""A room with a history, to which the test has many events emitted."""

from __future__ import annotations

import asyncio
from typing import Any

import flask
from flask import Flask

from support.apps import base


def make_app() -> tuple[Flask, Any]:
    """Make the application and its extension object.

    Settings: ``size`` and ``ids``, of the history.
    """
    app = Flask(__name__)
    library = base.library()
    socketio = library.SocketIO(app, **base.options())
    journal = base.Journal()
    base.add_views(app, socketio, journal)
    settings = base.settings()
    socketio.history("news", size=settings["size"], ttl=600, ids=settings.get("ids", False))

    @app.post("/flood/<name>/<int:count>")
    def flood(name: str, count: int) -> str:
        def emit_all() -> None:
            for number in range(count):
                socketio.emit("said", [name, number, b"\x00\xff"], to="news")
                socketio.sleep(0.001)
            journal.note("flooded", name)

        socketio.start_background_task(emit_all)
        return ""

    @socketio.on("follow")
    def follow(rewind: int) -> None:
        library.join_room("news", rewind=rewind)

    @socketio.on("follow later")
    async def follow_later(rewind: int) -> None:
        await asyncio.to_thread(library.join_room, "news", rewind=rewind)

    @socketio.on("resume")
    def resume(since: Any) -> Any:
        rewound = library.join_room("news", since=since, rewind=10_000)
        return [rewound.offset, rewound.complete, rewound.sent]

    @socketio.on("resume later")
    async def resume_later(since: Any) -> Any:
        return await asyncio.to_thread(resume, since)

    @app.get("/kept")
    def kept() -> Any:
        since = flask.request.args.get("since")
        part = socketio.read_history("news", since=since)
        events = [[*event.args[0][:2], event.offset] for event in part.events]
        return {"events": events, "offset": part.offset, "complete": part.complete}

    return app, socketio
