"""Werkzeug's server, in a form that can be stopped: ``app.run()`` gives it to nobody."""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from flask.cli import show_server_banner
from werkzeug.serving import WSGIRequestHandler, is_running_from_reloader
from werkzeug.serving import make_server as make_werkzeug_server

from flask_socketio_core.contracts import KeepAlive
from flask_socketio_core.contracts.concurrency.reloader import run_with_reloader
from flask_socketio_core.contracts.concurrency.servers import (
    ACCEPT_PAUSE_S,
    NO_DESCRIPTORS,
    report_no_descriptor,
    split_options,
)
from flask_socketio_core.errors import UnsafeServer

if TYPE_CHECKING:
    import _socket

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from werkzeug.serving import BaseWSGIServer

    from flask_socketio_core.contracts import Listener, ServeOptions

logger = logging.getLogger("werkzeug")

SERVER_OPTIONS = ("processes", "request_handler", "passthrough_errors", "threaded", "static_files")
IGNORED_OPTIONS = ("use_debugger", "use_evalex", "load_dotenv")
"""Options of ``app.run()`` that have been dealt with before, or mean nothing here."""

BACKLOG = 1024
"""Connections that may wait to be accepted, as with the other modes' servers. Werkzeug's 128 are too few for clients
that come back all at once: who finds no room tries again after 1, 3, 7 and 15 seconds."""
KEEP_ALIVE = "werkzeug.keep_alive"
"""Key in the environ of how the server can be given a connection back: Werkzeug itself shows only the connection."""
KEPT_S = 5.0
"""How long a connection that a poll was answered on may be unused, seconds: Node.js's default. Werkzeug keeps none."""


class QuietRequestHandler(WSGIRequestHandler):
    """Serve without a log line per request."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log nothing."""


def make_server(app: WSGIApplication, host: str, port: int, options: ServeOptions) -> BaseWSGIServer:
    """Bind the port; the socket is taken over from the reloader where there is one."""
    check_production(options)
    given, context = split_options(options, SERVER_OPTIONS + IGNORED_OPTIONS, "Werkzeug's server")
    for name in IGNORED_OPTIONS:
        given.pop(name, None)
    if files := given.pop("static_files", None):
        from werkzeug.middleware.shared_data import SharedDataMiddleware

        app = SharedDataMiddleware(app, files)
    processes = given.pop("processes", 1)
    threaded = given.pop("threaded", processes == 1)
    if not options.log_output:
        given.setdefault("request_handler", QuietRequestHandler)
    given |= {"threaded": threaded, "processes": processes}
    if options.listener is not None:
        server = _share(
            options.listener, context, lambda fd: make_werkzeug_server(host, port, app, fd=fd, **given)
        )
    else:
        inherited = os.environ.get("WERKZEUG_SERVER_FD") if is_running_from_reloader() else None
        fd = None if inherited is None else int(inherited)
        server = make_werkzeug_server(host, port, app, ssl_context=context, fd=fd, **given)
        server.socket.listen(BACKLOG)  # again: it cannot be told to the constructor
    _pause_without_descriptors(server)
    if threaded and context is None:
        _take_back(server)
    if options.use_reloader:
        server.socket.set_inheritable(True)
        os.environ["WERKZEUG_SERVER_FD"] = str(server.fileno())
    return server


def _take_back(server: BaseWSGIServer) -> None:
    """Have its application know how it is given a connection back."""
    app, keep_alive = server.app, KeepAlive(longest_s=KEPT_S, give_back=partial(_give_back, server))

    def shown(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ[KEEP_ALIVE] = keep_alive
        return app(environ, start_response)

    server.app = shown


def _give_back(server: BaseWSGIServer, connection: _socket.socket) -> None:
    """Have the server serve a connection in a thread, as one that it has just accepted."""
    sock = socket.socket(fileno=connection.detach())
    try:
        sock.setblocking(True)
        server.process_request(sock, sock.getpeername())
    except (OSError, RuntimeError):  # the client is gone; there is no thread left
        sock.close()


def _share(listener: Listener, context: Any, make: Callable[[int], BaseWSGIServer]) -> BaseWSGIServer:
    """Make a server that accepts from a socket of several processes, without waiting for what another one took."""
    try:
        server = make(listener.fd)
    finally:
        os.close(listener.fd)  # the server has a copy
    server.socket.setblocking(False)
    server.multiprocess = True
    server.ssl_context = context
    accept = server.get_request

    def get_request() -> Any:
        connection, address = accept()
        connection.setblocking(True)  # some systems let it inherit that from the listening socket
        if context is not None:
            # Not the listening socket: wrapping that changes for a moment whether accept() blocks, for all processes.
            connection = context.wrap_socket(connection, server_side=True)
        return connection, address

    server.get_request = get_request  # type: ignore[method-assign]  # which class it is, Werkzeug decides
    return server


def _pause_without_descriptors(server: BaseWSGIServer) -> None:
    """Have it wait when there is no descriptor for a connection: by itself it would try again at once, and so on."""
    accept = server.get_request

    def get_request() -> Any:
        try:
            return accept()
        except OSError as error:
            if error.errno in NO_DESCRIPTORS:
                report_no_descriptor(error)
                time.sleep(ACCEPT_PAUSE_S)
            raise

    server.get_request = get_request  # type: ignore[method-assign]  # which class it is, Werkzeug decides


def run(server: BaseWSGIServer, app: WSGIApplication, options: ServeOptions) -> None:
    """Serve until the server is shut down, with the reloader where it was asked for."""
    if options.listener is not None:
        options.listener.on_serving()
    elif not is_running_from_reloader():
        with suppress(OSError):  # the standard output is on a full disk, say
            show_server_banner(options.debug, getattr(app, "name", None))
        server.log_startup()
    if not options.use_reloader:
        server.serve_forever()
        return
    try:
        run_with_reloader(server.serve_forever, options)
    finally:
        server.server_close()


def check_production(options: ServeOptions) -> None:
    """Refuse to serve what looks like production, as Flask-SocketIO does: no terminal, and nobody said it is fine.

    :raises UnsafeServer: with what to do.
    """
    if sys.stdin and sys.stdin.isatty():
        return
    if not options.allow_unsafe_werkzeug:
        raise UnsafeServer(
            "the Werkzeug web server is not designed to run in production, and this process has no terminal: use "
            "another server (`gunicorn -k gthread --threads 100 module:app`, or install "
            "flask-socketio-core[gevent]), or pass allow_unsafe_werkzeug=True to run(), --allow-unsafe-werkzeug to "
            "`flask socketio run`"
        )
    logger.warning("Werkzeug appears to be used in a production deployment, consider another web server")
