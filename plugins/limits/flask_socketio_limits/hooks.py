"""What this plugin registers. Applications without a limit have nothing around their handlers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask_socketio_core.hookspecs import hookimpl

from . import around, decorator, settings
from .limiter import open_limiter

if TYPE_CHECKING:
    from flask import Flask

    from flask_socketio_core import SocketIO
    from flask_socketio_core.contracts.settings import Setting


@hookimpl
def socketio_settings() -> tuple[Setting[Any], ...]:
    """Declare the keys ``SOCKETIO_LIMITS_...``."""
    return settings.ALL


@hookimpl
def socketio_setup(socketio: SocketIO, app: Flask) -> None:
    """Stand around connects and events that have a limit."""
    limiter = open_limiter(app)
    socketio.wrap_handlers(decorator.put_beneath)
    if limiter.connects is not None:
        around.observe_once(socketio, around.socketio_around_connect)
    if limiter.limits_events:
        around.observe_once(socketio, around.socketio_around_event)
    if limiter.forgets and (limiter.limits_events or decorator.decorated):
        around.observe_once(socketio, around.socketio_disconnected)
