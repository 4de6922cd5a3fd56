"""Werkzeug's server, in a form that can be stopped: ``app.run()`` gives it to nobody."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from flask.cli import show_server_banner
from werkzeug.serving import WSGIRequestHandler, is_running_from_reloader
from werkzeug.serving import make_server as make_werkzeug_server

from flask_socketio_core.contracts.concurrency.reloader import run_with_reloader
from flask_socketio_core.contracts.concurrency.servers import (
    ACCEPT_PAUSE_S,
    NO_DESCRIPTORS,
    report_no_descriptor,
    split_options,
)
from flask_socketio_core.errors import UnsafeServer

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication
    from werkzeug.serving import BaseWSGIServer

    from flask_socketio_core.contracts import Listener, ServeOptions

logger = logging.getLogger("werkzeug")

SERVER_OPTIONS = ("processes", "request_handler", "passthrough_errors", "threaded", "static_files")
IGNORED_OPTIONS = ("use_debugger", "use_evalex", "load_dotenv")
"""Options of ``app.run()`` that have been dealt with before, or mean nothing here."""


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
    _pause_without_descriptors(server)
    if options.use_reloader:
        server.socket.set_inheritable(True)
        os.environ["WERKZEUG_SERVER_FD"] = str(server.fileno())
    return server


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
