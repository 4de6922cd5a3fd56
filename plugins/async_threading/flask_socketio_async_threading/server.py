"""Werkzeug's server, in a form that can be stopped: ``app.run()`` gives it to nobody."""

from __future__ import annotations

import _thread
import logging
import os
import sys
from typing import TYPE_CHECKING, Any

from flask.cli import show_server_banner
from werkzeug.serving import WSGIRequestHandler, is_running_from_reloader
from werkzeug.serving import make_server as make_werkzeug_server

from flask_socketio_core.errors import UnsafeServer

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication
    from werkzeug.serving import BaseWSGIServer

    from flask_socketio_core.contracts import ServeOptions

logger = logging.getLogger("werkzeug")

SERVER_OPTIONS = ("processes", "request_handler", "passthrough_errors", "threaded", "static_files")
DEBUGGER_OPTIONS = ("use_debugger", "use_evalex", "load_dotenv")
"""Options of ``app.run()`` that have been dealt with before, or mean nothing here."""


class QuietRequestHandler(WSGIRequestHandler):
    """Serve without a log line per request."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log nothing."""


def make_server(app: WSGIApplication, host: str, port: int, options: ServeOptions) -> BaseWSGIServer:
    """Bind the port; the socket is taken over from the reloader where there is one."""
    check_production(options)
    given = check_options(options)
    if files := given.pop("static_files", None):
        from werkzeug.middleware.shared_data import SharedDataMiddleware

        app = SharedDataMiddleware(app, files)
    processes = given.pop("processes", 1)
    threaded = given.pop("threaded", processes == 1)
    if not options.log_output:
        given.setdefault("request_handler", QuietRequestHandler)
    inherited = os.environ.get("WERKZEUG_SERVER_FD") if is_running_from_reloader() else None
    server = make_werkzeug_server(
        host,
        port,
        app,
        threaded=threaded,
        processes=processes,
        ssl_context=ssl_context(options),
        fd=None if inherited is None else int(inherited),
        **given,
    )
    if options.use_reloader:
        server.socket.set_inheritable(True)
        os.environ["WERKZEUG_SERVER_FD"] = str(server.fileno())
    return server


def run(server: BaseWSGIServer, app: WSGIApplication, options: ServeOptions) -> None:
    """Serve until the server is shut down, with the reloader where it was asked for."""
    if not is_running_from_reloader():
        show_server_banner(options.debug, getattr(app, "name", None))
        server.log_startup()
    if not options.use_reloader:
        server.serve_forever()
        return
    from werkzeug._reloader import run_with_reloader

    def serve() -> None:
        server.serve_forever()
        _thread.interrupt_main()  # it was stopped; the reloader watches files in the main thread

    try:
        run_with_reloader(serve, **options.reloader_options)
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
            "flask-socketio-core[gevent]), or pass allow_unsafe_werkzeug=True to run()"
        )
    logger.warning("Werkzeug appears to be used in a production deployment, consider another web server")


def check_options(options: ServeOptions) -> dict[str, Any]:
    """Return the options for the server itself.

    :raises TypeError: for one that does not exist.
    """
    given = {name: value for name, value in options.server.items() if name not in DEBUGGER_OPTIONS}
    for name in given:
        if name not in SERVER_OPTIONS:
            raise TypeError(
                f"run() got an unexpected keyword argument {name!r}; Werkzeug's server takes "
                f"{', '.join(sorted(SERVER_OPTIONS))}"
            )
    return given


def ssl_context(options: ServeOptions) -> Any:
    """Return what Werkzeug takes as ``ssl_context``: a context, a pair of files, ``"adhoc"`` or ``None``.

    :raises TypeError: for a TLS option that Werkzeug does not know.
    """
    tls = {name: value for name, value in options.tls.items() if value is not None}
    context = tls.pop("ssl_context", None)
    files = tls.pop("certfile", None), tls.pop("keyfile", None)
    if tls:
        raise TypeError(
            f"Werkzeug's server does not know the TLS options {', '.join(sorted(tls))}: pass ssl_context="
        )
    if context is None and files[0] is not None:
        return files
    return context
