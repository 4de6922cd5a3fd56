"""The application that real clients talk to."""

from __future__ import annotations

import time
from typing import Any

from flask import Flask, request, session

from support.apps import base

#: Events that a client's parser may or may not take, with their arguments.
UNUSUAL: dict[str, tuple[Any, ...]] = {
    "nan": ("unusual", [float("nan")]),
    "infinity": ("unusual", {"a": float("-inf")}),
    "reserved": ("connect", 1),
    "no text": (None, 1),
    "eleven": ("unusual", *[b"x"] * 11),
    "lookalike": ("unusual", b"x", {"_placeholder": True, "num": 5}),
    "ten": ("unusual", *[b"x"] * 10),
    "large": ("unusual", 2**70, 1e308, "\ud800", {1: {None: True}}),
    "placeholder": ("unusual", {"_placeholder": True, "num": 5}),
    "view": ("unusual", memoryview(b"xyz")),
}


def make_app() -> tuple[Flask, Any]:
    """Make the application and its extension object."""
    library = base.library()
    journal = base.Journal()
    app = Flask(__name__)
    app.secret_key = "only for tests"
    socketio = library.SocketIO(app, **base.options())
    _connections(socketio, library, journal)
    _events(socketio, library, journal)
    _rooms(socketio, library)
    _private(socketio, library)

    @app.get("/announce/<text>")
    def announce(text: str) -> str:
        socketio.emit("announced", text)
        return text

    @app.get("/login/<name>")
    def login(name: str) -> str:
        session["name"] = name
        return name

    @app.get("/expire")
    def expire() -> str:
        """End the logins of all clients."""
        for sid, _ in list(socketio.server.manager.get_participants("/", None)):
            socketio.server.client(sid).expires_at = time.time()
        return ""

    base.add_views(app, socketio, journal)
    return app, socketio


def _connections(socketio: Any, library: Any, journal: base.Journal) -> None:
    @socketio.on("connect")
    def connect(auth: Any) -> bool | None:
        if auth == {"enter": "never"}:
            return False
        if auth == {"enter": "explain"}:
            raise library.ConnectionRefusedError("no entry", {"code": 401})
        if auth == {"enter": "and leave"}:
            library.disconnect()
        session["auth"] = auth
        return None

    @socketio.on("disconnect")
    def disconnect(reason: str) -> None:
        journal.note("disconnect", reason, session.get("label"))

    @socketio.on("kick me")
    def kick() -> None:
        library.disconnect()

    @socketio.on("remember")
    def remember(value: Any) -> None:
        session["label"] = value

    @socketio.on("recall")
    def recall() -> list[Any]:
        return [session.get("label"), session.get("auth"), session.get("name")]

    @socketio.on("transport")
    def transport() -> str:
        found: str = socketio.server.transport(request.sid)
        return found


def _events(socketio: Any, library: Any, journal: base.Journal) -> None:
    @socketio.on("echo")
    def echo(*args: Any) -> Any:
        return args

    @socketio.on("echo by event")
    def echo_by_event(*args: Any) -> None:
        library.emit("echoed", args)

    @socketio.on("ask me")
    def ask(*args: Any) -> None:
        library.emit("question", args, callback=lambda *answer: journal.note("answer", list(answer)))

    @socketio.on("call me")
    def call(*args: Any) -> Any:
        return library.call("question", args, timeout=5)

    @socketio.on("count")
    def count(limit: int) -> None:
        for number in range(limit):
            library.emit("number", number)

    @socketio.on("try to say")
    def try_to_say(what: str) -> str:
        event, *args = UNUSUAL[what]
        try:
            socketio.emit(event, tuple(args))
        except ValueError as error:
            return str(error)
        return "sent"

    @socketio.on("rebroadcast")
    def rebroadcast(*args: Any) -> None:
        library.emit("rebroadcast", args, broadcast=True)

    @socketio.on("message")
    def message(text: str) -> None:
        library.send(f"got {text}")


def _rooms(socketio: Any, library: Any) -> None:
    @socketio.on("join")
    def join(room: str) -> None:
        library.join_room(room)

    @socketio.on("leave")
    def leave(room: str) -> None:
        library.leave_room(room)

    @socketio.on("say")
    def say(room: str, text: str) -> None:
        library.emit("said", text, to=room)


def _private(socketio: Any, library: Any) -> None:
    @socketio.on("connect", namespace="/private")
    def connect(auth: Any) -> None:
        if auth != {"token": "secret"}:
            raise library.ConnectionRefusedError("a token is needed")

    @socketio.on("echo", namespace="/private")
    def echo(*args: Any) -> list[Any]:
        return ["private", *args]
