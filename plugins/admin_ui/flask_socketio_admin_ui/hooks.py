"""What this plugin registers; its parts are imported by an application that has switched it on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask_socketio_core.hookspecs import hookimpl

from .settings import ALL, is_on

if TYPE_CHECKING:
    from flask import Flask

    from flask_socketio_core import SocketIO
    from flask_socketio_core.contracts.settings import Setting


@hookimpl
def socketio_settings() -> tuple[Setting[Any], ...]:
    """Declare the keys ``SOCKETIO_ADMIN_UI_...``."""
    return ALL


@hookimpl
def socketio_setup(socketio: SocketIO, app: Flask) -> None:
    """Begin, if the application says who may log in."""
    if is_on(app.config):
        from .admin import set_up

        set_up(socketio, app)


@hookimpl
def socketio_teardown(socketio: SocketIO, app: Flask) -> None:
    """Tell nothing more."""
    if is_on(app.config):
        from .admin import tear_down

        tear_down(socketio)
