"""A chat with rooms: Flask serves one page, Socket.IO carries the rest, from one server or several.

``python examples/chat/app.py --mode gevent --queue redis://127.0.0.1:6379/0``
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import hmac
import os
import secrets
import sys
import threading
import time
from collections import defaultdict, deque
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __name__ == "__main__":  # a green mode replaces what blocks, and must do so before the imports below
    with contextlib.suppress(ModuleNotFoundError):  # SocketIO says what to install
        if "gevent" in sys.argv or "--mode=gevent" in sys.argv:
            from gevent import monkey

            monkey.patch_all()
        elif "eventlet" in sys.argv or "--mode=eventlet" in sys.argv:
            import eventlet

            eventlet.monkey_patch()

from flask import Flask, Response, render_template, request, send_from_directory

from flask_socketio_core import ConnectionRefusedError, Namespace, SocketIO, emit, join_room, leave_room, user
from flask_socketio_core.errors import ConfigurationError
from flask_socketio_presence import Presence

if TYPE_CHECKING:
    from collections.abc import Collection

    from flask_socketio_core.contracts import CallAnswers

ROOMS = ("lobby", "music", "help")  # always offered; another room is forgotten when its last guest leaves
GUESTS = "guests"  # where the presence plugin shows everybody, with the room that each is in
HISTORY_MESSAGES = 50  # kept per room, in this process's memory
DELIVERY_TIMEOUT_S = 5.0  # how long the guests of a room have to acknowledge a message

CLIENT_DIST = Path(__file__).parent / "node_modules" / "socket.io-client" / "dist"
CLIENT_CDN = "https://cdn.jsdelivr.net/npm/socket.io-client@4.8.4/dist/socket.io.min.js"
CLIENT_INTEGRITY = "sha384-fBrXvbDtHoeKWJ/hcA6M+YGueiDW+h45I7V6F2kD1S8bOkrF9rZYPLVkCR6BLR/1"


class Chat(Namespace):
    """What guests do. All servers can ask for what is known of a guest: its ``user`` and its ``data``.

    :param server: what the page calls this server.
    :param moderator: the token of those who may remove others.
    """

    def __init__(self, presence: Presence, *, server: str, queue: str | None, moderator: str) -> None:
        super().__init__("/")
        self.presence = presence
        self.server_name = server
        self.queue = queue.partition(":")[0] if queue else None  # the scheme: the URL may hold a password
        self.moderator = moderator
        self.lock = threading.Lock()  # handlers of several clients run at the same time
        self.history: dict[str, deque[dict[str, Any]]] = defaultdict(lambda: deque(maxlen=HISTORY_MESSAGES))

    def on_connect(self, auth: object = None) -> None:
        is_moderator = hmac.compare_digest(text(auth, "moderator", 64).encode(), self.moderator.encode())
        request.client.data["is_moderator"] = is_moderator
        hello = {"server": self.server_name, "mode": self.socketio.async_mode, "queue": self.queue}
        emit("hello", {**hello, "who": request.client.user, "isModerator": is_moderator})

    def on_join(self, data: object) -> dict[str, Any]:
        room, nick = text(data, "room", 24).lower(), text(data, "nick", 24)
        if not (room and nick):
            return {"error": "please give a nickname and a room"}
        self.leave()
        join_room(room_key(room))
        request.client.data["guest"] = {"room": room, "nick": nick, "who": request.client.user}
        self.presence.track(GUESTS, meta={"room": room, "nick": nick, "server": self.server_name})
        with self.lock:
            return {"room": room, "history": list(self.history[room])}

    def on_say(self, data: object) -> dict[str, Any]:
        """Pass a message on. What we return tells its author that we have it; who else has it, they hear later."""
        guest, key, words = self.guest(), text(data, "id", 40), text(data, "text", 2000)
        if guest is None or guest["room"] != text(data, "room", 24):
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
        self.socketio.call_all(
            "message",
            message,
            to=room_key(guest["room"]),
            exclude=request.sid,
            timeout=DELIVERY_TIMEOUT_S,
            callback=partial(self.tell_delivery, key, guest["who"]),
        )
        return {"at": message["at"]}

    def tell_delivery(self, key: str, author: str, found: CallAnswers) -> None:
        """Tell the author who has acknowledged a message, once nobody is waited for any more."""
        by, of = len(found.answers), len(found.answers) + len(found.missing)
        told = {
            "id": key,
            "by": by,
            "of": of,
            "missing": self.nicks(found.missing),
            "complete": found.complete,
        }
        self.emit("delivery", told, to=user(author))

    def on_typing(self) -> None:
        if guest := self.guest():
            emit("typing", guest, to=room_key(guest["room"]), include_self=False)

    def on_kick(self, data: object) -> dict[str, Any]:
        """Remove a user, from whatever server."""
        if not request.client.data["is_moderator"]:
            return {"error": "only a moderator may do that"}
        if not (who := text(data, "who", 40)):
            return {"error": "please say whom"}
        self.emit("kicked", to=user(who))
        self.socketio.kick(user=who, reason="removed by a moderator")
        return {}

    def on_disconnect(self, _reason: str) -> None:
        self.leave()

    def guest(self) -> dict[str, str] | None:
        """Return who the current client is, once it has joined a room."""
        return request.client.data.get("guest")

    def leave(self) -> None:
        """Take the current client out of its room, and forget one that is not always offered with its last guest."""
        if guest := request.client.data.pop("guest", None):
            leave_room(room_key(guest["room"]))
            if guest["room"] not in ROOMS and not self.socketio.count(to=room_key(guest["room"]), local=True):
                self.history.pop(guest["room"], None)

    def nicks(self, sids: Collection[str]) -> list[str]:
        """Return what clients call themselves, whichever server they are at; who has left is not found."""
        clients = self.socketio.who(to=list(sids)) if sids else ()
        return [client.data["guest"]["nick"] for client in clients if client.data and "guest" in client.data]


def room_key(room: str) -> str:
    """Return what Socket.IO calls a room: a name of which guests choose only a part cannot be that of another one."""
    return f"room:{room}"


def text(data: object, key: str, limit: int) -> str:
    """Return ``data[key]``, which a client sent, cut to ``limit`` characters; "" unless it is a string."""
    value = data.get(key) if isinstance(data, dict) else None
    return value.strip()[:limit] if isinstance(value, str) else ""


def load_user(auth: object) -> str:
    """Return who a client is. There are no accounts: a browser's tab keeps a secret, of which others see a digest."""
    secret = text(auth, "secret", 64)
    if not secret:
        raise ConnectionRefusedError("a client has to say who it is")
    return hashlib.sha256(secret.encode()).hexdigest()[:16]


def create_app(mode: str | None = None, queue: str | None = None, *, server: str | None = None) -> Flask:
    """Build the application; its ``SocketIO`` object is ``app.extensions["socketio"]``.

    :param server: what the page calls this server.
    """
    app = Flask(__name__)
    key = os.environ.get("CHAT_SECRET_KEY") or secrets.token_hex()  # the same for all servers of one chat
    app.config["SECRET_KEY"] = key
    app.config["MODERATOR"] = hmac.digest(key.encode(), b"moderator", "sha256").hex()[:16]
    socketio = SocketIO(app, async_mode=mode, message_queue=queue)
    socketio.user_loader(load_user)
    presence = Presence(socketio)
    name = server or f"process {os.getpid()}"
    socketio.on_namespace(Chat(presence, server=name, queue=queue, moderator=app.config["MODERATOR"]))
    app.add_url_rule("/presence.mjs", view_func=presence.module)

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
    parser.add_argument("--queue", default="", help="URL of a message queue that joins several servers")
    parser.add_argument("--host", default="", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", default="", type=port, help="port to listen on (default: 5000)")
    args = parser.parse_args()
    mode, host = args.mode or "threading", args.host or "127.0.0.1"

    try:
        app = create_app(mode, args.queue or None, server=f"port {args.port}")
    except ConfigurationError as error:
        sys.exit(f"error: {error}")
    url = f"http://{host}:{args.port}/"
    print(f"Chat, served with {mode}: {url} (Ctrl-C stops it)")
    print(f"  as a moderator: {url}?moderator={app.config['MODERATOR']}", flush=True)
    try:
        # Werkzeug's server wants to hear that this is no production, as soon as there is no terminal.
        app.extensions["socketio"].run(app, host=host, port=args.port, allow_unsafe_werkzeug=True)
    except KeyboardInterrupt:
        pass
    except OSError as error:  # the port is taken, or the host is not ours
        sys.exit(f"error: {error}")


def port(given: str) -> int:
    """Return the number of a port; nothing, as make may give it, stands for Flask's own."""
    return int(given or 5000)


if __name__ == "__main__":
    main()
