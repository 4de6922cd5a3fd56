"""What this plugin registers. Applications without a limit have nothing around their handlers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flask_socketio_core.hookspecs import hookimpl

from . import settings
from .limiter import ERROR, Limiter, limiters, refuse

if TYPE_CHECKING:
    from flask import Flask

    from flask_socketio_core import SocketIO
    from flask_socketio_core.contracts.clients import Client
    from flask_socketio_core.contracts.settings import Setting


@hookimpl
def socketio_settings() -> tuple[Setting[Any], ...]:
    """Declare the keys ``SOCKETIO_LIMITS_...``."""
    return settings.ALL


@hookimpl
def socketio_setup(socketio: SocketIO, app: Flask) -> None:
    """Stand around connects and events that have a limit."""
    limiter = limiters.get(socketio)
    if limiter is not None:  # in a forked child
        limiter.open()
        return
    limiter = limiters[socketio] = Limiter(app.config)
    if limiter.connects is not None:
        socketio.observe(_around_connects(limiter))
    if limiter.events is not None or limiter.by_event:
        socketio.observe(_around_events(limiter))


def _around_connects(limiter: Limiter) -> Callable[..., Any]:
    def socketio_around_connect(client: Client, proceed: Callable[..., Any]) -> Any:
        if wait_s := limiter.connect_wait_s(client):
            # Here, because it imports python-socketio and what that finds installed; plugins are listed without that.
            from flask_socketio_core.errors import ConnectionRefusedError

            raise ConnectionRefusedError(ERROR, {"retry_after": wait_s})
        return proceed()

    return socketio_around_connect


def _around_events(limiter: Limiter) -> Callable[..., Any]:
    def socketio_around_event(client: Client, event: str, proceed: Callable[..., Any]) -> Any:
        if wait_s := limiter.event_wait_s(client, event):
            refuse(wait_s)
        return proceed()

    return socketio_around_event
