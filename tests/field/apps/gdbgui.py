"""A terminal in the browser, set up as gdbgui sets itself up: options changed after the fact, one task for all clients.

``python gdbgui.py PORT``
"""

from __future__ import annotations

import sys
from typing import Any

from flask import Flask, request, session

from flask_socketio_core import SocketIO, emit

app = Flask(__name__)
app.secret_key = "only for tests"
socketio = SocketIO(manage_session=False, cors_allowed_origins="*", async_mode="threading")
clients: dict[str, list[str]] = {}
reader: list[Any] = []


@app.get("/")
def index() -> str:
    session["user"] = "me"
    return ""


@socketio.on("connect", namespace="/terminal")
def connected() -> None:
    sid: str = request.sid  # type: ignore[attr-defined]  # ours
    clients[sid] = []
    emit("attached", {"user": session.get("user"), "command": request.args.get("command", "sh")})
    if not reader:
        reader.append(socketio.start_background_task(target=forward_output))


@socketio.on("write", namespace="/terminal")
def write(message: dict[str, str]) -> None:
    clients[request.sid].append(message["key"])  # type: ignore[attr-defined]  # ours


@socketio.on("disconnect", namespace="/terminal")
def disconnected() -> None:
    clients.pop(request.sid)  # type: ignore[attr-defined]  # ours


@socketio.on("Client disconnected")
def never_called() -> None:
    """Wait for an event that nobody sends."""


def forward_output() -> None:
    while True:
        socketio.sleep(0.02)
        for sid, keys in list(clients.items()):
            while keys:
                socketio.emit("output", keys.pop(0).upper(), namespace="/terminal", room=sid)


def main(port: int) -> None:
    """Serve."""
    socketio.server_options["allow_upgrades"] = False
    socketio.init_app(app)
    socketio.run(
        app, debug=False, host="127.0.0.1", port=port, extra_files=[__file__], allow_unsafe_werkzeug=True
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
