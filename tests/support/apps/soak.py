"""An application for days: clients talk in rooms, ask each other across servers, and it counts what there is."""

from __future__ import annotations

import ctypes
import dataclasses
import gc
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from flask import Flask, jsonify, request, session

from flask_socketio_core.errors import CallTimeout, ClientGone
from flask_socketio_core.server.connection import Connection
from support.apps import base

#: Of what the library or the web server makes per connection, request or job; the green libraries' by their names.
COUNTED = (
    "Session",
    "Client",
    "Connection",
    "DetachedConnection",
    "PollingTransport",
    "Probe",
    "Mailbox",
    "EventJob",
    "Timer",
    "HubHandle",
    "_Worker",
    "greenlet",
    "Greenlet",
    "GreenThread",
    "socket",
    "Request",
)


def make_app() -> tuple[Flask, Any]:
    """Make the application and its extension object."""
    library = base.library()
    journal = base.Journal()
    app = Flask(__name__)
    app.secret_key = "for the session of each client"
    socketio = library.SocketIO(app, **base.options())
    counts: Counter[str] = Counter()
    gaps: list[int | None] = []
    call_timeout_s: float = base.settings()["call_timeout_s"]

    @socketio.observe
    def socketio_bus_gap(missed: int | None) -> None:
        gaps.append(missed)

    @socketio.on("connect")
    def connect(auth: Any) -> None:
        session["events"] = 0
        counts["connected"] += 1

    @socketio.on("disconnect")
    def disconnect(reason: str) -> None:
        counts["disconnected"] += 1

    @socketio.on("join")
    def join(*rooms: str) -> None:
        for room in rooms:
            library.join_room(room)

    @socketio.on("leave")
    def leave(room: str) -> None:
        library.leave_room(room)

    @socketio.on("say")
    def say(sender: str, room: str, number: int, content: Any) -> int:
        library.emit("said", (sender, room, number, content), to=room)
        session["events"] += 1
        events: int = session["events"]
        return events

    @socketio.on("ask me")
    def ask_me(text: str) -> None:
        library.emit("question", text, callback=lambda *answer: counts.update(["answered"]))

    @socketio.on("ask")
    def ask(sid: str, text: str) -> str:
        try:
            answer = socketio.call("question", text, to=sid, timeout=call_timeout_s)
        except CallTimeout:
            counts["timeouts"] += 1
            return "timeout"
        except ClientGone:
            return "gone"
        return "right" if answer == text else f"wrong: {answer!r}"

    @socketio.on("dismiss me")
    def dismiss_me() -> None:
        library.disconnect()

    @app.get("/state")
    def state() -> Any:
        found: dict[str, Any] = {**held(socketio), "counts": counts, "gaps": gaps}
        if "objects" in request.args:
            gc.collect()
            found["blocks"] = sys.getallocatedblocks()
            found["malloc_bytes"] = malloc_bytes()
            found["objects"] = living()
        return jsonify(found)

    base.add_views(app, socketio, journal)
    return app, socketio


def held(socketio: Any) -> dict[str, Any]:
    """Return what the engine, the cluster and the process hold now."""
    binding = socketio._binding()
    server, link = binding.engine.server, binding.cluster._current()
    sessions = list(server.sessions.values())
    connections = [session.listener for session in sessions if isinstance(session.listener, Connection)]
    clients = [client for connection in connections for client in list(connection.clients.values())]
    outboxes = [session._outbox for session in sessions if session._outbox is not None]
    return {
        "sessions": len(sessions),
        "clients": sum(len(rooms) for rooms in list(server._rooms.values())),
        "rooms": sum(len(rooms.names()) for rooms in list(server._rooms.values())),
        "timed": len(server.eio._timer),
        "acks": sum(len(client.acks or ()) for client in clients) + len(link.acks) + len(link.unanswered),
        "unfinished": sum(len(connection.backlog) for connection in connections),
        "pending_bytes": server._shared.pending.total,
        "outbox_bytes": sum(outbox.size_bytes for outbox in outboxes),
        "farewells": server._shared.disconnecting,
        "threads": len(os.listdir("/proc/self/task")),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "resident_bytes": resident_bytes(),
        "health": dataclasses.asdict(socketio.health()),
    }


def living() -> dict[str, int]:
    """Count the objects of the classes in :data:`COUNTED`."""
    found = Counter(
        kind.__name__
        for kind in map(type, gc.get_objects())
        if str(kind.__module__).startswith(
            ("flask_socketio", "gevent", "eventlet", "greenlet", "socket", "werkzeug")
        )
    )
    return {name: found[name] for name in COUNTED}


def resident_bytes() -> int:
    """Return how much memory this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class _MallocInfo(ctypes.Structure):
    """glibc's ``struct mallinfo2``."""

    _names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = tuple((name, ctypes.c_size_t) for name in _names.split())


def malloc_bytes() -> int:
    """Return what is in use of the C library's memory, where small objects of Python's are not; 0 if it cannot say."""
    mallinfo2 = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if mallinfo2 is None:  # glibc before 2.33, and others
        return 0
    mallinfo2.restype = _MallocInfo
    found = mallinfo2()
    return int(found.uordblks + found.hblkhd)
