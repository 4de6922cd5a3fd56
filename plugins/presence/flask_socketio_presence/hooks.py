"""What this plugin registers; what there is to observe, a :class:`Presence` observes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask_socketio_core.hookspecs import hookimpl

from .presence import presence_of
from .settings import ALL

if TYPE_CHECKING:
    from flask import Flask

    from flask_socketio_core import SocketIO
    from flask_socketio_core.contracts.settings import Setting


@hookimpl
def socketio_settings() -> tuple[Setting[Any], ...]:
    """Declare the keys ``SOCKETIO_PRESENCE_...``."""
    return ALL


@hookimpl
def socketio_setup(socketio: SocketIO, app: Flask) -> None:
    """Begin, if the application has made a :class:`Presence`."""
    if (presence := presence_of(socketio)) is not None:
        presence.set_up(app)


@hookimpl
def socketio_teardown(socketio: SocketIO) -> None:
    """Tell nothing more."""
    if (presence := presence_of(socketio)) is not None:
        presence.tear_down()
