"""A race timer as RotorHazard is one: gevent throughout, decorated handlers, a request carried into greenlets.

``python rotorhazard.py PORT``
"""

from __future__ import annotations

import gevent.monkey

gevent.monkey.patch_all()

import functools
import sys
from collections.abc import Callable
from typing import Any

import gevent
from flask import Flask, copy_current_request_context

from flask_socketio_core import SocketIO, emit

APP = Flask(__name__, static_url_path="/static")
SOCKET_IO = SocketIO(APP, async_mode="gevent", cors_allowed_origins="*", max_http_buffer_size=5e7)
errors: list[str] = []


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    """Note what a handler raises, and go on."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Exception as error:  # noqa: BLE001  # as there
            errors.append(repr(error))
            return None

    return wrapper


class Interface:
    """The user interface, which was handed the extension and keeps it."""

    def __init__(self, socket: SocketIO) -> None:
        self._socket = socket

    def register(self, message: str, handler: Callable[..., Any]) -> None:
        """Register a handler of a plugin."""
        self._socket.on_event(message, handler)

    def emit_frontend_load(self, **params: Any) -> None:
        """Send the start page's data to one client, or to all."""
        if "nobroadcast" in params:
            emit("load_all", {"limit": SOCKET_IO.server.eio.max_http_buffer_size})
        else:
            self._socket.emit("load_all", {})


INTERFACE = Interface(SOCKET_IO)


@SOCKET_IO.on("connect")
@logged
def connect_handler(auth: Any) -> None:
    @logged
    @copy_current_request_context
    def finish() -> None:
        INTERFACE.emit_frontend_load(nobroadcast=True)

    gevent.spawn_later(0.05, finish)


@SOCKET_IO.on("disconnect")
def disconnect_handler(*args: Any) -> None:
    errors.extend(args[1:])


@SOCKET_IO.on("join_cluster_ex")
@logged
def on_join_cluster_ex(data: Any = None) -> None:
    SOCKET_IO.emit("join_cluster_response", {"mode": str(data.get("mode")) if data else None})


@SOCKET_IO.on("errors")
def on_errors() -> list[str]:
    return errors


@SOCKET_IO.on("shutdown")
@logged
def on_shutdown() -> None:
    emit("priority_message", {"message": "Server is shutting down."}, broadcast=True)
    gevent.spawn(SOCKET_IO.stop)


INTERFACE.register("plugin", lambda data: emit("plugin_list", data))

if __name__ == "__main__":
    SOCKET_IO.run(APP, host="127.0.0.1", port=int(sys.argv[1]), debug=True, use_reloader=False)
