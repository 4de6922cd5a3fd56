"""gevent's pywsgi server, with the handler of gevent-websocket where that is installed."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from gevent.pool import Group
from gevent.pywsgi import WSGIServer

from flask_socketio_core.concurrency.servers import split_options

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

    from flask_socketio_core.contracts import ServeOptions

SERVER_OPTIONS = ("backlog", "spawn", "log", "error_log", "handler_class", "environ")


def make_server(app: WSGIApplication, host: str, port: int, options: ServeOptions) -> WSGIServer:
    """Make a server that is not started."""
    given, context = split_options(options, SERVER_OPTIONS, "gevent's server")
    if context is not None:
        given["ssl_context"] = context
    given.setdefault("handler_class", find_handler())
    given.setdefault("log", "default" if options.log_output else None)
    given.setdefault("spawn", Group())  # so that stop() finds the connections that are still open
    return WSGIServer((host, port), app, **given)


def find_handler() -> Any:
    """Return gevent-websocket's handler if that is installed, or ``None`` for the usual one."""
    try:
        if importlib.util.find_spec("geventwebsocket") is None:
            return None
    except ValueError:  # somebody has put None in its place
        return None
    from geventwebsocket.handler import WebSocketHandler

    return WebSocketHandler
