"""The application under load, the same for us and for Flask-SocketIO, run directly or by gunicorn.

Environment: ``APP_LIBRARY`` (``flask_socketio_core`` or ``flask_socketio``), ``APP_MODE``, ``APP_PORT``, and
``APP_VARIANT``: a WebSocket provider's name, or ``blocking`` for the engine's blocking shell. ``APP_QUEUE`` and
``APP_CHANNEL``: a message queue, for ``bus.py``. ``APP_APART``: workers that know nothing of each other.
``APP_LOGGING``: both loggers on. ``APP_PING_S``: ping interval, seconds. ``APP_RECOVERY``: connection state recovery,
seconds.
"""

from __future__ import annotations

import os

library, mode = os.environ["APP_LIBRARY"], os.environ["APP_MODE"]
variant = os.environ.get("APP_VARIANT", "")

if mode == "gevent":
    from gevent import monkey

    monkey.patch_all()
elif mode == "eventlet":
    import eventlet

    eventlet.monkey_patch()

import importlib  # noqa: E402  # patching comes first
import threading  # noqa: E402
import time  # noqa: E402
from dataclasses import replace  # noqa: E402
from typing import Any  # noqa: E402

from flask import Flask, request, session  # noqa: E402

extension = importlib.import_module(library)
SocketIO = extension.SocketIO

app = Flask(__name__)
app.config["SECRET_KEY"] = "benchmark"
options: dict[str, Any] = {"async_mode": mode, "cors_allowed_origins": "*"}
if variant == "blocking":
    # What a platform without epoll says of itself.
    from flask_socketio_core.contracts import AsyncMode

    init = AsyncMode.__init__

    def without_watching(self: AsyncMode, **keywords: Any) -> None:
        init(self, **keywords)
        type(self).capabilities = replace(type(self).capabilities, watches=False)

    AsyncMode.__init__ = without_watching  # type: ignore[method-assign]  # the switch does not exist for users
elif variant:
    options["websocket_provider"] = variant
if "APP_LOGGING" in os.environ:
    options.update(logger=True, engineio_logger=True)
if "APP_PING_S" in os.environ:
    options.update(ping_interval=float(os.environ["APP_PING_S"]))
if "APP_RECOVERY" in os.environ:
    options["recovery"] = float(os.environ["APP_RECOVERY"])
if "APP_APART" in os.environ:
    options["share_sessions"] = False
if "APP_QUEUE" in os.environ:
    options.update(message_queue=os.environ["APP_QUEUE"], channel=os.environ["APP_CHANNEL"])
socketio = SocketIO(app, **options)


@app.get("/empty")
def empty() -> str:
    return ""


@app.get("/pid")
def pid() -> str:
    return str(os.getpid())


@socketio.on("connect")
def connect() -> None:
    session["connected"] = True


@socketio.on("hang")
def hang() -> None:
    socketio.sleep(3600)


@socketio.on("echo")
def echo(data: Any = None) -> Any:
    # What a handler does with its context: it reads the request and the session.
    return data if request.sid and session["connected"] else None


@socketio.on("whoami")
def whoami() -> Any:
    return [request.sid, os.getpid()]


@socketio.on("tell")
def tell(sid: str) -> str:
    socketio.emit("tick", {"text": "the quick brown fox jumps"}, to=sid)
    return sid


@socketio.on("blast")
def blast(count: int, size: int) -> None:
    text = "the quick brown fox jumps".ljust(size)
    for seq in range(count):
        socketio.emit("tick", {"seq": seq, "text": text})
        socketio.sleep(0)


stopped = threading.Event()


@socketio.on("enter")
def enter(room: int) -> int:
    extension.join_room(f"room {room}")
    return room


@socketio.on("flow")
def flow(rooms: int) -> None:
    """Emit 100 times a second, to one room after the other, and 4 times a second to all; until it is to stop."""
    socketio.start_background_task(emit_all_the_time, rooms)


def emit_all_the_time(rooms: int) -> None:
    started, count, text = time.monotonic(), 0, "the quick brown fox jumps"
    while not stopped.is_set():
        while count < (time.monotonic() - started) * 100:
            socketio.emit("tick", (count % rooms, count // rooms, text), to=f"room {count % rooms}")
            if count % 25 == 0:
                socketio.emit("tick", (-1, count // 25, text))
            count += 1
        socketio.sleep(0.01)
    socketio.emit("end", count)


@socketio.on("stop")
def stop() -> None:
    stopped.set()


if __name__ == "__main__":
    if "SAMPLE_INTO" in os.environ:
        import sampler

        sampler.start(os.environ["SAMPLE_INTO"])
    unsafe = {"allow_unsafe_werkzeug": True} if mode == "threading" else {}
    socketio.run(app, host="127.0.0.1", port=int(os.environ["APP_PORT"]), **unsafe)
