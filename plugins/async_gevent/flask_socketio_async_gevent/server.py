"""gevent's pywsgi server, with the handler of gevent-websocket where that is installed."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gevent
from gevent.pywsgi import WSGIServer

from flask_socketio_core.concurrency.servers import split_options

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

    from flask_socketio_core.contracts import ServeOptions

SERVER_OPTIONS = ("backlog", "spawn", "log", "error_log", "handler_class", "environ")


class Connections:
    """Start a greenlet for each connection, and end those that are left when the server is gone."""

    def __init__(self) -> None:
        self._open: set[gevent.Greenlet[..., Any]] = set()

    def __call__(self, handle: Callable[..., Any], *arguments: Any) -> gevent.Greenlet[..., Any]:
        connection = gevent.spawn(handle, *arguments)
        self._open.add(connection)
        connection.rawlink(self._open.discard)
        return connection

    def end(self) -> None:
        """End them without waiting for their requests."""
        gevent.killall(list(self._open), block=False)


def make_server(
    app: WSGIApplication, host: str, port: int, options: ServeOptions, connections: Connections
) -> WSGIServer:
    """Make a server that is not started."""
    given, context = split_options(options, SERVER_OPTIONS, "gevent's server")
    if context is not None:
        given["ssl_context"] = context
    given.setdefault("handler_class", find_handler())
    given.setdefault("log", "default" if options.log_output else None)
    given.setdefault("spawn", connections)
    server = WSGIServer((host, port), app, **given)
    if not options.log_output:
        # gevent-websocket's handler does not ask the server's log, and takes a logger from here.
        quiet = logging.getLogger("geventwebsocket.quiet")
        quiet.setLevel(logging.WARNING)
        server.__dict__["logger"] = quiet
    return server


def find_handler() -> Any:
    """Return gevent-websocket's handler if that is installed, or ``None`` for the usual one."""
    try:
        if importlib.util.find_spec("geventwebsocket") is None:
            return None
    except ValueError:  # somebody has put None in its place
        return None
    from geventwebsocket.handler import WebSocketHandler

    return WebSocketHandler
