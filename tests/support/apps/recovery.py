"""An application whose clients come back: it tells who did, and has numbers flow to them."""

from __future__ import annotations

import dataclasses
import logging
import os
import threading
import time
from typing import Any

from flask import Flask, jsonify, request, session

from support.apps import base

logger = logging.getLogger(__name__)


def make_app() -> tuple[Flask, Any]:
    """Make the application and its extension object."""
    library = base.library()
    app = Flask(__name__)
    app.secret_key = "only for tests"
    options = base.options()
    if base.settings().get("only_web"):
        options["recovery"] = {"window": 60, "clients": lambda environ, auth: bool(auth) and "web" in auth}
    socketio = library.SocketIO(app, **options)
    journal = base.Journal()
    refused: set[str] = set()
    slow: set[str] = set()

    if "recovery" in options:

        @socketio.observe
        def socketio_recovery_failed(sid: str, reason: str) -> None:
            logger.warning("%s of process %d starts anew: %s", sid, os.getpid(), reason)

    @socketio.on("connect")
    def connect(auth: Any) -> None:
        call: Any = request
        client = call.client
        journal.note(
            "connect",
            call.sid,
            call.recovered,
            call.missed,
            auth,
            client.data.get("name"),
            session.get("name"),
        )
        deadline_s = time.monotonic() + 20
        while call.sid in slow and time.monotonic() < deadline_s:
            socketio.sleep(0.01)
        if call.sid in refused:
            raise library.ConnectionRefusedError("no longer welcome")
        if not call.recovered:
            library.join_room("all")

    @socketio.on("disconnect")
    def disconnect(reason: str) -> None:
        call: Any = request
        journal.note("disconnect", call.sid, str(reason))

    @socketio.on("keep")
    def keep(name: str) -> None:
        call: Any = request
        call.client.data["name"] = session["name"] = name
        call.client.user = name
        library.join_room(f"of {name}")

    @socketio.on("connect", namespace="/chat")
    def connect_to_chat(auth: Any) -> None:
        call: Any = request
        if not call.recovered:
            library.join_room("all")

    @app.post("/flow")
    def flow() -> Any:
        """Emit numbers to a room, in the background."""
        first, count, pause_s = (
            int(request.args["first"]),
            int(request.args["count"]),
            float(request.args["pause"]),
        )

        def emit() -> None:
            for number in range(first, first + count):
                socketio.emit("number", number, to=request_to)
                socketio.sleep(pause_s)

        request_to = request.args.get("to", "all")
        socketio.start_background_task(emit)
        return jsonify(True)

    @app.post("/do/<what>")
    def do(what: str) -> Any:
        """Do one thing with a client."""
        sid = request.args.get("sid", "")
        room = request.args.get("room", "")
        if what == "kick":
            socketio.kick(to=sid)
        elif what == "enter":
            socketio.server.enter_room(sid, room)
        elif what == "leave":
            socketio.server.leave_room(sid, room)
        elif what == "close":
            socketio.close_room(room)
        elif what == "slow":
            slow.add(sid)
        elif what == "go_on":
            slow.discard(sid)
        elif what == "chat":
            socketio.emit("number", int(request.args["number"]), to="all", namespace="/chat")
        elif what == "ask":
            socketio.emit("question", to=sid, callback=lambda *answer: journal.note("answered", *answer))
        elif what == "refuse":
            refused.add(sid)
        elif what == "volatile":
            socketio.emit("volatile", "text", to=request.args.get("to"), volatile=True)
        elif what == "emit":
            socketio.emit("number", int(request.args["number"]), to=request.args.get("to"))
        elif what == "binary":
            socketio.emit("bytes", {"data": b"\x00\x01", "more": "text"}, to=request.args.get("to"))
        return jsonify(threading.active_count())

    @app.get("/members/<room>")
    def members(room: str) -> Any:
        return jsonify([client.sid for client in socketio.who(to=room)])

    @app.get("/of/<sid>")
    def of(sid: str) -> Any:
        """Tell what a client has."""
        client = socketio.server.client(sid)
        return jsonify(rooms=socketio.server.rooms(sid), data=client.data, user=client.user)

    @app.post("/clear")
    def clear() -> Any:
        """Have no clients, also none that are away."""
        socketio.kick(to=None, namespace="*", close=True)
        return jsonify(True)

    @app.get("/size")
    def size() -> Any:
        """Tell what the process has."""
        return jsonify(threads=threading.active_count(), descriptors=len(os.listdir("/proc/self/fd")))

    @app.get("/load")
    def load() -> Any:
        found = socketio.load().recovery
        return jsonify(None if found is None else dataclasses.asdict(found))

    @app.get("/health")
    def health() -> Any:
        found = socketio.health()
        return jsonify(None if found is None else dataclasses.asdict(found.recovery))

    @app.get("/up")
    def up() -> Any:
        health = socketio.health()
        return jsonify(health is not None and health.up)

    @app.get("/peers")
    def peers() -> Any:
        health = socketio.health()
        return jsonify(0 if health is None else len(health.peers))

    base.add_views(app, socketio, journal)
    return app, socketio
