"""A small application for the protocol tests; on the engine level it answers to everything Socket.IO can say."""

from __future__ import annotations

import time
from contextvars import ContextVar
from typing import Any

from flask import Flask, request

from support.apps import base

left: ContextVar[Any] = ContextVar("left", default=None)


def make_app() -> tuple[Flask, Any]:
    """Make the application and its extension object."""
    library = base.library()
    journal = base.Journal()
    app = Flask(__name__)
    socketio = library.SocketIO(app, **base.options())
    for namespace in ("/", "/custom"):
        _register(socketio, library, journal, namespace)

    @socketio.on("connect", namespace="/refusing")
    def refuse(auth: Any) -> None:
        raise library.ConnectionRefusedError("not today", auth)

    @socketio.on("disconnect", namespace="/slow-farewell")
    def slow_farewell(reason: str) -> None:
        socketio.sleep(0.5)
        journal.note("slow farewell", reason)

    @socketio.on("leave", namespace="/slow-farewell")
    def leave() -> None:
        library.disconnect()

    @socketio.on("message-with-ack", namespace="/slow-farewell")
    def answer() -> str:
        return "here"

    base.add_views(app, socketio, journal)
    return app, socketio


def _register(socketio: Any, library: Any, journal: base.Journal, namespace: str) -> None:
    @socketio.on("connect", namespace=namespace)
    def connect(auth: Any) -> None:
        journal.note("connect", namespace, auth)

    @socketio.on("disconnect", namespace=namespace)
    def disconnect(reason: str) -> None:
        journal.note("disconnect", namespace, reason)

    @socketio.on("message", namespace=namespace)
    def message(*args: Any) -> None:
        library.emit("message-back", args)

    @socketio.on("message-with-ack", namespace=namespace)
    def message_with_ack(*args: Any) -> Any:
        return args

    @socketio.on("note", namespace=namespace)
    def note(*args: Any) -> None:
        journal.note("note", list(args))

    @socketio.on("ask", namespace=namespace)
    def ask(*args: Any) -> None:
        library.emit("question", args, callback=lambda *answer: journal.note("answer", list(answer)))

    @socketio.on("consult", namespace=namespace)
    def consult(*args: Any) -> Any:
        return library.call("question", args, timeout=10)

    @socketio.on("burst", namespace=namespace)
    def burst(count: int, size: int = 1) -> None:
        for number in range(count):
            library.emit("numbered", (number, "x" * size))

    @socketio.on("mixed burst", namespace=namespace)
    def mixed_burst(mark: int, count: int) -> None:
        for number in range(count):
            library.emit("mixed", (mark, number, bytes([mark, number]), b"end"))
            if number % 10 == 0:
                socketio.sleep(0)  # let the others have a turn

    @socketio.on("volatile burst", namespace=namespace)
    def volatile_burst(count: int, size: int) -> None:
        for number in range(count):
            library.emit("numbered", (number, "x" * size), volatile=True)

    @socketio.on("leave a variable", namespace=namespace)
    def leave_a_variable(value: Any) -> Any:
        before = left.get()
        left.set(value)
        return before

    @socketio.on("block", namespace=namespace)
    def block(duration_s: float) -> None:
        until_s = time.perf_counter() + duration_s
        while time.perf_counter() < until_s:
            pass

    @socketio.on("leave", namespace=namespace)
    def leave() -> None:
        library.disconnect()

    @socketio.on("be kicked", namespace=namespace)
    def be_kicked() -> None:
        socketio.kick(to=request.sid, namespace=namespace, reason="asked for it", close=True)

    @socketio.on("fence", namespace=namespace)
    def fence() -> None:
        """Answer at once."""

    @socketio.on("who", namespace=namespace)
    def who() -> str:
        sid: str = request.sid
        return sid
