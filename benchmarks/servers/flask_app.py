"""The application under load, the same for us and for Flask-SocketIO: ``flask_app.py LIBRARY MODE PORT``."""

from __future__ import annotations

import sys

library, mode, port = sys.argv[1], sys.argv[2], int(sys.argv[3])

if mode == "gevent":
    from gevent import monkey

    monkey.patch_all()
elif mode == "eventlet":
    import eventlet

    eventlet.monkey_patch()

import importlib  # noqa: E402  # patching comes first
import os  # noqa: E402
from typing import Any  # noqa: E402

from flask import Flask, request, session  # noqa: E402

SocketIO = importlib.import_module(library).SocketIO

app = Flask(__name__)
app.config["SECRET_KEY"] = "benchmark"
socketio = SocketIO(app, async_mode=mode, cors_allowed_origins="*")


@app.get("/empty")
def empty() -> str:
    return ""


@socketio.on("connect")
def connect() -> None:
    session["connected"] = True


@socketio.on("echo")
def echo(data: Any) -> Any:
    # What a handler does with its context: it reads the request and the session.
    return data if request.sid and session["connected"] else None


@socketio.on("blast")
def blast(count: int) -> None:
    for seq in range(count):
        socketio.emit("tick", {"seq": seq, "text": "the quick brown fox jumps"})
        socketio.sleep(0)


if __name__ == "__main__":
    if "SAMPLE_INTO" in os.environ:
        import sampler

        sampler.start(os.environ["SAMPLE_INTO"])
    options = {"allow_unsafe_werkzeug": True} if mode == "threading" else {}
    socketio.run(app, host="127.0.0.1", port=port, **options)
