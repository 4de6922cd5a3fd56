"""A story writer as KoboldAI is one: ``on()`` replaced, and an ``emit()`` for where there is no handler as well.

``python koboldai.py PORT``
"""

from __future__ import annotations

import eventlet

eventlet.monkey_patch()

import functools
import sys
from collections.abc import Callable
from typing import Any

from flask import Flask, copy_current_request_context, session

from flask_socketio_core import SocketIO
from flask_socketio_core import emit as emit_here

app = Flask(__name__)
app.secret_key = "only for tests"
socketio = SocketIO(app, async_mode="eventlet")
plain_on = socketio.on


def on(*args: Any, **kwargs: Any) -> Callable[..., Any]:
    """Register a handler that could be switched off."""

    def decorator(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*given: Any, **named: Any) -> Any:
            return function(*given, **named)

        return plain_on(*args, **kwargs)(wrapper)

    return decorator


socketio.on = on  # type: ignore[method-assign]  # as there


def emit(*args: Any, **kwargs: Any) -> None:
    """Send to the client that is being handled, or to everybody where none is."""
    try:
        return emit_here(*args, **kwargs)
    except AttributeError:
        return socketio.emit(*args, **kwargs)


class ProgressBar:
    """What a progress bar writes to."""

    def write(self, bar: str) -> None:
        """Show the bar in every browser."""
        emit("from_server", {"cmd": "model_load_status", "data": bar})

    def flush(self) -> None:
        """Do nothing."""


@app.get("/load")
def load() -> str:
    ProgressBar().write("50 %")
    return ""


@socketio.on("connect")
def do_connect() -> None:
    session["name"] = "writer"
    emit("from_server", {"cmd": "connected", "smanrename": False}, room="UI_1")
    emit("from_server", {"cmd": "setstoryname", "data": session["name"]}, broadcast=True)


@socketio.on("message")
def get_message(message: dict[str, Any]) -> None:
    socketio.start_background_task(copy_current_request_context(generate), message["data"])


def generate(text: str) -> None:
    socketio.sleep(0.01)
    emit("from_server", {"cmd": "updatescreen", "data": f"{session['name']}: {text}"}, broadcast=True)


if __name__ == "__main__":
    socketio.run(app, host="127.0.0.1", port=int(sys.argv[1]))
