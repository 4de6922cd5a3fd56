"""An application whose handlers raise what no handler should."""

from __future__ import annotations

import importlib
import sys
import time
from typing import Any

from flask import Flask, request

from support.apps import base


def make_app() -> tuple[Flask, Any]:
    """Make the application and its extension object."""
    library = base.library()
    journal = base.Journal()
    app = Flask(__name__)
    socketio = library.SocketIO(app, **base.options())

    @socketio.on("join")
    def join(room: str) -> str:
        return room

    @socketio.on("divide")
    def divide(number: int) -> float:
        return 1 / number

    @socketio.on("wrong")
    def wrong() -> None:
        join()  # the application's own mistake

    @socketio.on("leave")
    def leave_room(room: str) -> None:
        raise ValueError(f"no room {room}")

    @socketio.on("interrupt")
    def interrupt(*data: Any) -> None:
        raise KeyboardInterrupt

    @socketio.on("exit")
    def leave(*data: Any) -> None:
        sys.exit(3)

    @socketio.on("connect", namespace="/interrupted")
    def come() -> None:
        raise KeyboardInterrupt

    @socketio.on("disconnect", namespace="/ending")
    def go(reason: str) -> None:
        raise KeyboardInterrupt

    @socketio.on("exit in the background")
    def start_leaving() -> None:
        socketio.start_background_task(leave)

    @socketio.on("in the background", namespace="/ending")
    def start() -> None:
        socketio.start_background_task(interrupt)
        socketio.start_background_task(leave)
        library.emit("question", callback=answered)

    def answered(*data: Any) -> None:
        raise KeyboardInterrupt

    @socketio.on("*", namespace="/any")
    def catch_all(event: str, *data: Any) -> None:
        raise ValueError(event)

    @socketio.on("compute")
    def compute(seconds: float) -> None:
        journal.note("computing")
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            pass

    @socketio.on("ask")
    def ask() -> None:
        library.emit("question", callback=lambda answer: None)

    @socketio.on("echo")
    def echo(data: Any) -> Any:
        return data

    @socketio.on("large")
    def large(count: int, text: str) -> None:
        library.emit("large", "".join(f"{number * 7919 % 1_000_003}{text}" for number in range(count)))
        journal.note("large")

    class Room(library.Namespace):  # type: ignore[name-defined,misc]  # the library that the test asks for
        def on_join(self, room: str) -> str:
            return room

    socketio.on_namespace(Room("/class"))

    @socketio.on("join", namespace="/told")
    def told(room: str) -> str:
        return room

    @socketio.on_error("/told")
    def on_error(error: Exception) -> str:
        return type(error).__name__

    @socketio.on("connect", namespace="/raising")
    def raise_at_the_beginning(auth: dict[str, str]) -> None:
        raise_error(auth["error"])

    @socketio.on("raise", namespace="/raising")
    def raise_now(name: str) -> None:
        raise_error(name)

    @socketio.on("disconnect", namespace="/raising")
    def raise_at_the_end(reason: str) -> None:
        journal.note("disconnect", reason)
        raise_error(request.args["error"])

    base.add_views(app, socketio, journal)
    return app, socketio


class Unprintable(Exception):
    """Cannot even be told."""

    def __repr__(self) -> str:
        raise ValueError("no repr")

    __str__ = __repr__


def raise_error(name: str) -> None:
    """Raise the exception that a dotted name stands for; nothing without a name."""
    if name == "Unprintable":
        raise Unprintable
    if name:
        module, _, attribute = name.rpartition(".")
        raise getattr(importlib.import_module(module or "builtins"), attribute)
