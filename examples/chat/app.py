"""A chat with rooms: Flask serves one page, Socket.IO carries the rest.

``python examples/chat/app.py --mode gevent --queue redis://127.0.0.1:6379/0``
"""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import sys
import threading
import time
from collections import defaultdict, deque
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # a green mode replaces what blocks, and must do so before the imports below
    with contextlib.suppress(ModuleNotFoundError):  # SocketIO says what to install
        if "gevent" in sys.argv or "--mode=gevent" in sys.argv:
            from gevent import monkey

            monkey.patch_all()
        elif "eventlet" in sys.argv or "--mode=eventlet" in sys.argv:
            import eventlet

            eventlet.monkey_patch()

from flask import Flask, Response, render_template, request, send_from_directory

from flask_socketio_core import Namespace, SocketIO, emit, join_room, leave_room
from flask_socketio_core.errors import ConfigurationError

ROOMS = ("lobby", "music", "help")  # always offered; another room is forgotten when its last guest leaves
HISTORY_MESSAGES = 50  # kept per room, in this process's memory
PRESENCE_INTERVAL_S = 2.0  # how often a process that shares a queue repeats who is here

CLIENT_DIST = Path(__file__).parent / "node_modules" / "socket.io-client" / "dist"
CLIENT_CDN = "https://cdn.jsdelivr.net/npm/socket.io-client@4.8.4/dist/socket.io.min.js"
CLIENT_INTEGRITY = "sha384-fBrXvbDtHoeKWJ/hcA6M+YGueiDW+h45I7V6F2kD1S8bOkrF9rZYPLVkCR6BLR/1"


class Chat(Namespace):
    """Rooms and their guests, as far as this process knows them."""

    def __init__(self, *, queue: str | None) -> None:
        super().__init__("/")
        self.process = f"{os.getpid()}-{secrets.token_hex(2)}"  # containers may all have the same number
        self.queue = queue.partition(":")[0] if queue else None  # the scheme: the URL may hold a password
        self.lock = threading.Lock()  # handlers of several clients run at the same time
        self.history: dict[str, deque[dict[str, Any]]] = defaultdict(lambda: deque(maxlen=HISTORY_MESSAGES))
        self.guests: dict[str, dict[str, str]] = {}  # by sid: room, nick and who (one browser tab)
        self.version = 0  # counts what was said about the guests, so that the page can drop old news
        self.repeating = False

    def on_connect(self, _auth: object = None) -> None:
        emit("hello", {"process": self.process, "mode": self.socketio.async_mode, "queue": self.queue})
        emit("presence", self.presence())
        if self.queue and not self.repeating:
            self.repeating = True
            self.socketio.start_background_task(self.repeat_presence)

    def on_join(self, data: dict[str, Any]) -> dict[str, Any]:
        room, nick, who = text(data, "room", 24).lower(), text(data, "nick", 24), text(data, "who", 40)
        if not (room and nick and who):
            return {"error": "please give a nickname and a room"}
        if before := self.forget():
            leave_room(before["room"])
        join_room(room)
        with self.lock:
            self.guests[request.sid] = {"room": room, "nick": nick, "who": who}
            history = list(self.history[room])
        self.emit("presence", self.presence())
        return {"room": room, "history": history}

    def on_say(self, data: dict[str, Any]) -> dict[str, Any]:
        """Pass a message on; what we return is the acknowledgement that the sender sees as a tick."""
        guest, key, words = self.guests.get(request.sid), text(data, "id", 40), text(data, "text", 2000)
        if guest is None or guest["room"] != data.get("room"):
            return {"error": "please join the room first"}
        if not (key and words):
            return {"error": "please write something"}
        message = {**guest, "id": key, "text": words, "at": int(time.time() * 1000)}
        with self.lock:
            history = self.history[guest["room"]]
            for old in history:
                if old["id"] == key:  # the acknowledgement got lost and the client sent again
                    return {"at": old["at"]}
            history.append(message)
        emit("message", message, to=guest["room"], include_self=False)
        return {"at": message["at"]}

    def on_typing(self) -> None:
        if guest := self.guests.get(request.sid):
            emit("typing", guest, to=guest["room"], include_self=False)

    def on_disconnect(self, _reason: str) -> None:
        if self.forget():
            self.emit("presence", self.presence())

    def forget(self) -> dict[str, str] | None:
        """Forget the current client, and with its last guest a room that is not always offered."""
        with self.lock:
            guest = self.guests.pop(request.sid, None)
            if guest and guest["room"] not in {*ROOMS, *(other["room"] for other in self.guests.values())}:
                self.history.pop(guest["room"], None)
        return guest

    def presence(self) -> dict[str, Any]:
        """Return who is in which room of this process; the page joins what several processes say."""
        with self.lock:
            self.version += 1
            return {"process": self.process, "version": self.version, "guests": list(self.guests.values())}

    def repeat_presence(self) -> None:
        """Tell late-comers on other processes who is here; who falls silent is taken for gone."""
        while True:
            self.socketio.sleep(PRESENCE_INTERVAL_S)
            self.emit("presence", self.presence())


def text(data: dict[str, Any], key: str, limit: int) -> str:
    """Return ``data[key]``, which a client sent, cut to ``limit`` characters; "" unless it is a string."""
    value = data.get(key)
    return value.strip()[:limit] if isinstance(value, str) else ""


def create_app(mode: str | None = None, queue: str | None = None) -> Flask:
    """Build the application; its ``SocketIO`` object is ``app.extensions["socketio"]``."""
    app = Flask(__name__)
    app.config["SECRET_KEY"] = secrets.token_hex()
    socketio = SocketIO(app, async_mode=mode, message_queue=queue)
    socketio.on_namespace(Chat(queue=queue))

    @app.get("/")
    def index() -> str:
        offline = (CLIENT_DIST / "socket.io.min.js").exists()
        cdn = None if offline else {"url": CLIENT_CDN, "integrity": CLIENT_INTEGRITY}
        return render_template("chat.html", cdn=cdn, rooms=ROOMS, kept=HISTORY_MESSAGES)

    @app.get("/client/<path:name>")
    def client(name: str) -> Response:
        return send_from_directory(CLIENT_DIST, name)

    return app


def main() -> None:
    """Serve the chat until Ctrl-C."""
    parser = argparse.ArgumentParser(description="A chat with rooms.")
    parser.add_argument(
        "--mode", default="", help="threading (default), gevent, eventlet or another plugin's"
    )
    parser.add_argument("--queue", default="", help="URL of a message queue that joins several processes")
    parser.add_argument("--host", default="", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", default="", help="port to listen on (default: 5000)")
    args = parser.parse_args()
    mode, host, port = args.mode or "threading", args.host or "127.0.0.1", int(args.port or 5000)

    try:
        app = create_app(mode, args.queue or None)
    except ConfigurationError as error:
        sys.exit(f"error: {error}")
    print(f"Chat, served with {mode}: http://{host}:{port}/ (Ctrl-C stops it)", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        # Werkzeug's server wants to hear that this is no production, as soon as there is no terminal.
        app.extensions["socketio"].run(app, host=host, port=port, allow_unsafe_werkzeug=True)


if __name__ == "__main__":
    main()
