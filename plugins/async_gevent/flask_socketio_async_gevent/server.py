"""gevent's pywsgi server, with the handler of gevent-websocket where that is installed."""

from __future__ import annotations

from collections.abc import Callable
from socket import IPPROTO_TCP, SO_REUSEADDR, SOCK_STREAM, SOL_SOCKET, TCP_NODELAY
from typing import TYPE_CHECKING, Any

import gevent
from gevent.pywsgi import WSGIServer
from gevent.socket import getaddrinfo, socket

from flask_socketio_core.contracts.concurrency.servers import (
    ACCEPT_PAUSE_S,
    NO_DESCRIPTORS,
    ErrorStream,
    explain_bind_error,
    report_no_descriptor,
    split_options,
)

from .handler import find_handler, is_installed

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

    from flask_socketio_core.contracts import ServeOptions

SERVER_OPTIONS = ("backlog", "spawn", "log", "error_log", "handler_class", "environ")
BACKLOG = 1024


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


class Server(WSGIServer):
    """A server that waits for a descriptor with one line in the log, instead of a traceback at each attempt."""

    def do_read(self) -> Any:
        """Accept a connection; ``None`` if there is none to be had now."""
        try:
            return super().do_read()
        except OSError as error:
            if error.errno not in NO_DESCRIPTORS:
                raise
            gevent.spawn(report_no_descriptor, error)  # log handlers may block, and this is the hub
        self.stop_accepting()
        gevent.spawn_later(ACCEPT_PAUSE_S, self._accept_again)
        return None

    def _accept_again(self) -> None:
        if self.started:
            self.start_accepting()


def make_server(
    app: WSGIApplication, host: str, port: int, options: ServeOptions, connections: Connections
) -> WSGIServer:
    """Bind the port and make a server that is not started.

    :raises OSError: if the port cannot be had, with the reason.
    """
    given, context = split_options(options, SERVER_OPTIONS, "gevent's server")
    if context is not None:
        given["ssl_context"] = context
    given.setdefault("handler_class", find_handler())
    # With gevent-websocket, debug=True alone brings no access log. Source: Flask-SocketIO, whose handler has its own.
    logs = options.log_output and (options.log_asked or not is_installed())
    given.setdefault("log", ErrorStream() if logs else None)
    given.setdefault("error_log", ErrorStream())
    given.setdefault("spawn", connections)
    backlog = given.pop("backlog", BACKLOG)
    if options.listener is not None:
        listener = socket(fileno=options.listener.fd)
        given["environ"] = {"wsgi.multiprocess": True, **(given.get("environ") or {})}
    else:
        listener = listen(host, port, backlog)
    return Server(listener, app, **given)


def listen(host: str, port: int, backlog: int) -> socket:
    """Return a listening socket; gevent's own function leaves it open when the port is in use."""
    listener: socket | None = None
    try:
        family, _, _, _, address = getaddrinfo(host, port, 0, SOCK_STREAM)[0]
        listener = socket(family, SOCK_STREAM)
        listener.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
        # Inherited by the connections. The server writes a response in two parts: without this, each response on a
        # connection that is kept alive waits 40 ms for the client's delayed ACK of the first.
        listener.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        listener.bind(address)
        listener.listen(backlog)
    except OSError as error:
        if listener is not None:
            listener.close()
        raise explain_bind_error(error, host, port) from error
    return listener
