"""An application to run commands for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask

from flask_socketio_core import SocketIO


def make_app(**options: Any) -> Callable[[], Flask]:
    """Return a function that makes an application with these options of ``SocketIO``."""

    def create() -> Flask:
        app = Flask("shop")
        SocketIO(app, **options)
        return app

    return create
