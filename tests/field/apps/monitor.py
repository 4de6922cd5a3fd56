"""A page about the server's own state, by the attributes that public applications read most; stops as some of them do.

``MODE=gevent python monitor.py PORT``
"""

from __future__ import annotations

import os

MODE = os.environ["MODE"]
if MODE == "gevent":
    import gevent.monkey

    gevent.monkey.patch_all()
elif MODE == "eventlet":
    import eventlet

    eventlet.monkey_patch()

import sys
from typing import Any

from flask import Flask, request

from flask_socketio_core import SocketIO, join_room
from flask_socketio_core.app.namespace import Namespace

app = Flask(__name__)
socketio = SocketIO(app)
socketio.manage_session = False
socketio.async_mode = MODE
socketio.server.eio.ping_interval = 15


class Peers(Namespace):
    """Events with colons in their names."""

    def trigger_event(self, event: str, *args: Any) -> Any:
        if ":" in event:
            handler = getattr(self, f"on_{event.replace(':', '_')}")
            return self.socketio._handle_event(handler, event, self.namespace, *args)
        return super().trigger_event(event, *args)

    def on_room_join(self, room: str) -> list[str]:
        join_room(room)
        return list(self.socketio.server.manager.rooms["/peers"][room])


socketio.on_namespace(Peers("/peers"))


@socketio.on("state")
def state() -> dict[str, Any]:
    manager, eio = socketio.server.manager, socketio.server.eio
    sid: str = request.sid  # type: ignore[attr-defined]  # ours
    engine_sid = manager.eio_sid_from_sid(sid, "/")
    assert engine_sid is not None
    socket = eio.sockets[engine_sid]
    return {
        "clients": len(eio.sockets),
        "rooms": {name: [room or "" for room in rooms] for name, rooms in manager.rooms.items()},
        "namespaces": list(manager.get_namespaces()),
        "back": manager.sid_from_eio_sid(engine_sid, "/") == sid,
        "socket": [socket.connected, socket.closed, socket.upgraded, socket.queue.qsize()],
        "handlers": sorted(socketio.server.handlers["/"]),
        "classes": list(socketio.server.namespace_handlers),
        "options": [
            eio.ping_interval,
            eio.ping_timeout,
            eio.async_mode,
            eio.cors_allowed_origins,
            eio.cookie,
        ],
        "serving": socketio.wsgi_server is not None,
    }


@socketio.on("kick")
def kick(sid: str) -> None:
    engine_sid = socketio.server.manager.eio_sid_from_sid(sid, "/")
    socketio.server.eio.disconnect(engine_sid)


@socketio.on("clear")
def clear() -> int:
    request.environ.clear()
    socketio.server.environ.clear()
    return len(socketio.server.environ)


@socketio.on("stop")
def stop() -> None:
    socketio.wsgi_server.stop()
    socketio.wsgi_server.close()


if __name__ == "__main__":
    socketio.run(app, host="127.0.0.1", port=int(sys.argv[1]), allow_unsafe_werkzeug=True)
