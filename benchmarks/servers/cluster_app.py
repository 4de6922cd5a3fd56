"""The application of ``cluster.py``: a server of several, whose clients have users.

Environment: ``APP_MODE``, ``APP_PORT``, ``APP_QUEUE``, ``APP_CHANNEL`` and ``APP_LISTED`` (``PRESENCE_MAX_LISTED``).
"""

from __future__ import annotations

import os

mode = os.environ["APP_MODE"]

if mode == "gevent":
    from gevent import monkey

    monkey.patch_all()
elif mode == "eventlet":
    import eventlet

    eventlet.monkey_patch()

import time  # noqa: E402  # patching comes first
from collections.abc import Callable  # noqa: E402
from typing import Any  # noqa: E402

from flask import Flask, request  # noqa: E402

from flask_socketio_core import SocketIO, join_room  # noqa: E402
from flask_socketio_presence import Presence  # noqa: E402

app = Flask(__name__)
app.config.update(
    SECRET_KEY="benchmark",
    SOCKETIO_PRESENCE_GRACE_S=0,
    SOCKETIO_PRESENCE_MAX_LISTED=int(os.environ["APP_LISTED"]),
)
socketio = SocketIO(
    app, async_mode=mode, message_queue=os.environ["APP_QUEUE"], channel=os.environ["APP_CHANNEL"]
)
presence = Presence(socketio)


@socketio.user_loader
def load(auth: Any = None) -> Any:
    return auth


@socketio.on("join")
def join(room: str) -> str:
    join_room(room)
    return room


@socketio.on("show")
def show(room: str) -> str:
    presence.track(room)
    return room


@socketio.on("hide")
def hide(room: str) -> str:
    presence.untrack(room)
    return room


@app.get("/present/<room>")
def present(room: str) -> dict[str, int]:
    return {"count": presence.count(room)}


def _count() -> int:
    return socketio.count(to="all")


def _count_rooms() -> int:
    return len(socketio.count_rooms())


def _who_page() -> int:
    return len(socketio.who(to="all", limit=100))


def _who_pages() -> int:
    page = socketio.who(to="all", limit=500)
    found = len(page)
    while page.next:
        page = socketio.who(to="all", limit=500, after=page.next)
        found += len(page)
    return found


def _who() -> int:
    return len(socketio.who(to="all", timeout=60))


def _call_all() -> int:
    return len(socketio.call_all("question", to="some", timeout=60).answers)


QUESTIONS: dict[str, Callable[[], int]] = {
    "count": _count,
    "count_rooms": _count_rooms,
    "who, first 100": _who_page,
    "who, pages of 500": _who_pages,
    "who": _who,
    "call_all": _call_all,
}


@app.get("/ask")
def ask() -> dict[str, Any]:
    question = QUESTIONS[request.args["what"]]
    walls_ms, found = [], 0
    for _ in range(int(request.args["times"])):
        started = time.perf_counter()
        found = question()
        walls_ms.append((time.perf_counter() - started) * 1e3)
    return {"walls_ms": walls_ms, "found": found}


if __name__ == "__main__":
    if "SAMPLE_INTO" in os.environ:
        import sampler

        sampler.start(os.environ["SAMPLE_INTO"])
    unsafe: dict[str, Any] = {"allow_unsafe_werkzeug": True} if mode == "threading" else {}
    socketio.run(app, host="127.0.0.1", port=int(os.environ["APP_PORT"]), **unsafe)
