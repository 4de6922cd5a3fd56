"""gevent-websocket's request handler, which opens the WebSockets of an application's own views.

It answers every upgrade with status 101 before the application sees the request. A client that is refused after that
waits for its time-out, so requests to Socket.IO's path are left to the engine, which answers the handshake itself.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

from gevent.pywsgi import WSGIHandler

_paths: set[str] = set()


def is_installed() -> bool:
    """Return whether there is gevent-websocket."""
    try:
        return importlib.util.find_spec("geventwebsocket") is not None
    except ValueError:  # somebody has put None in its place
        return False


def find_handler() -> Any:
    """Return gevent-websocket's handler if that is installed, or ``None`` for the usual one."""
    if not is_installed():
        return None
    from geventwebsocket.handler import WebSocketHandler

    class Handler(WebSocketHandler):
        """Log requests as gevent does; gevent-websocket leaves upgrades out, and has its log switched off."""

        log_request = WSGIHandler.log_request

    return Handler


def leave_to_engine(path: str) -> None:
    """Have gevent-websocket answer no request to a path, whichever server its handler runs in.

    Its worker for gunicorn and its own server choose the handler's class, so that class is changed.

    :param path: with both slashes. What a proxy or ``SCRIPT_NAME`` puts in front of it does not matter, so ``"/"``
        leaves it no request at all.
    """
    if not is_installed():
        return
    from geventwebsocket.handler import WebSocketHandler

    if not _paths:
        upgrade: Callable[[Any], Any] = WebSocketHandler.upgrade_websocket

        def upgrade_websocket(handler: Any) -> Any:
            asked = handler.environ.get("PATH_INFO", "")
            # None stands for a request that is the application's.
            return None if any(path in asked for path in _paths) else upgrade(handler)

        setattr(WebSocketHandler, "upgrade_websocket", upgrade_websocket)  # noqa: B010  # as said above
    _paths.add(path)
