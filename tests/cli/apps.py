"""Applications to run commands for, and servers that run."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from flask import Flask, request

from flask_socketio_core import SocketIO, join_room


def make_app(**options: Any) -> Callable[[], Flask]:
    """Return a function that makes an application with these options of ``SocketIO``."""

    def create() -> Flask:
        app = Flask("shop")
        SocketIO(app, **options)
        return app

    return create


class Shop:
    """Two servers of one application, each with two clients: ``ann`` twice, ``ben`` and somebody unknown."""

    def __init__(self) -> None:
        self.options: dict[str, Any] = {
            "message_queue": "memory://operating",
            "channel": f"shop-{uuid.uuid4().hex[:12]}",
        }
        self.socketios, self.clients, self.told = [], [], []  # type: ignore[var-annotated]
        for names in (("ann", "ben"), ("ann", None)):
            app = Flask("shop")
            socketio = SocketIO(app, async_mode="threading", **self.options)
            socketio.user_loader(lambda auth: auth)
            socketio.on("connect")(lambda auth: join_room("members") if auth else None)
            socketio.on("disconnect")(lambda reason: self.told.append((request.client.user, reason.detail)))  # type: ignore[attr-defined]
            self.socketios.append(socketio)
            self.clients += [socketio.test_client(app, auth=name) for name in names]

    def close(self) -> None:
        for socketio in self.socketios:
            socketio.close()
