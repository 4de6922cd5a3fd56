"""An application that is ended in every way there is: its disconnect handlers leave a line in the log."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from flask import Flask

from support.apps import base

CHILD_S = 6.0
"""How long a forked child lives, seconds: longer than any test waits for what must not happen."""


def make_app() -> tuple[Flask, Any]:
    """Make the application and its extension object."""
    library = base.library()
    journal = base.Journal()
    app = Flask(__name__)
    socketio = library.SocketIO(app, **base.options())

    @socketio.observe
    def socketio_response_headers(first: bool) -> dict[str, str]:
        return {"X-First": str(first)}

    @socketio.on("connect")
    def connect() -> None:
        journal.note("connect")

    @socketio.on("disconnect")
    def disconnect(reason: str) -> None:
        socketio.sleep(0.2)  # a farewell that takes its time
        print(f"farewell in {os.getpid()}: {reason}", file=sys.stderr, flush=True)  # noqa: T201  # read by the test

    @socketio.on("echo")
    def echo(value: Any) -> Any:
        return value

    @socketio.on("stop")
    def stop() -> None:
        socketio.stop()

    @socketio.on("leave")
    def leave() -> None:
        library.disconnect()

    @socketio.on("fork")
    def fork_in_handler() -> int:
        return fork()

    @app.get("/fork")
    def fork_in_view() -> str:
        return str(fork())

    @app.get("/late/<text>")
    def emit_late(text: str) -> str:
        journal.note("late")
        socketio.sleep(1.5)
        socketio.emit("late", text)
        return "sent"

    @app.get("/stop")
    def stop_in_view() -> str:
        socketio.stop()
        return "stopping"

    base.add_views(app, socketio, journal)
    return app, socketio


def fork() -> int:
    """Fork a child that works with what it has for a while, and return its process id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        deadline_s = time.monotonic() + CHILD_S
        while time.monotonic() < deadline_s:
            time.sleep(0.05)
    finally:
        os._exit(0)
