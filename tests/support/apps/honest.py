"""What people build: a chat, a game, an upload and a dashboard. It notes when a client is read no more."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections import Counter
from typing import Any

from flask import Flask, jsonify, request
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_socketio_core.transport.session import Session
from support.apps import base

BLOCK = 1_000_000
"""Bytes that are read at a time, so that no event loop is blocked."""


class KeepWarnings(logging.Handler):
    """Keeps what is logged as a warning or worse."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.kept: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.kept.append(f"{record.name}: {record.getMessage()}")


def note_holds(held: list[str]) -> None:
    """Note whom the engine reads no more for a while."""
    original = Session.hold

    def hold(session: Session) -> None:
        held.append(session.sid)
        original(session)

    Session.hold = hold  # type: ignore[assignment]  # in this process only


def make_app() -> tuple[Flask, Any]:
    """Make the application and its extension object."""
    library = base.library()
    journal = base.Journal()
    addresses: Counter[str | None] = Counter()
    left: Counter[str] = Counter()
    held: list[str] = []
    note_holds(held)
    warnings = KeepWarnings()
    logging.getLogger().addHandler(warnings)
    app = Flask(__name__)
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1)  # type: ignore[method-assign]  # as Flask's documentation says
    socketio = library.SocketIO(app, **base.options())
    files: dict[str, Any] = {}

    @socketio.on("connect")
    def connect(auth: Any) -> None:
        addresses[request.remote_addr] += 1

    @socketio.on("disconnect")
    def disconnect(reason: str) -> None:
        left[reason] += 1
        if request.sid in files:
            files.pop(request.sid).close()

    @socketio.on("enter")
    def enter(room: str) -> str:
        library.join_room(room)
        return room

    @socketio.on("say")
    def say(room: str, author: str, number: int) -> int:
        library.emit("said", (author, number), to=room)
        return number

    @socketio.on("move")
    def move(player: int, tick: int) -> None:
        library.emit("moved", (player, tick), to="arena", volatile=True)

    @socketio.on("piece")
    def piece(offset: int, data: bytes) -> int:
        file = files.setdefault(request.sid, tempfile.TemporaryFile())  # noqa: SIM115
        return os.pwrite(file.fileno(), data, offset) + offset

    @socketio.on("finish")
    def finish() -> str:
        file = files[request.sid]
        digest, offset = hashlib.sha256(), 0
        while block := os.pread(file.fileno(), BLOCK, offset):
            digest.update(block)
            offset += len(block)
            socketio.sleep(0)
        return digest.hexdigest()

    @app.post("/figures")
    def figures() -> Any:
        socketio.emit("figures", {"visitors": 17})
        return jsonify(True)

    @app.get("/counts")
    def get_counts() -> Any:
        return jsonify(addresses=addresses, left=left, held=len(held), warnings=warnings.kept)

    @app.post("/forget")
    def forget() -> Any:
        for counted in (addresses, left, held, warnings.kept):
            counted.clear()
        return jsonify(True)

    base.add_views(app, socketio, journal)
    return app, socketio
