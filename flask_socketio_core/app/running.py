"""``SocketIO.run()``: from what users pass to what an async mode serves with."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..common import values
from ..contracts import ServeOptions
from ..contracts.concurrency.servers import TLS_OPTIONS, explain_bind_error
from ..errors import ConfigurationError, InvalidOption

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from flask import Flask

    from ..contracts import AsyncMode, Listener
    from .middleware import SocketIOMiddleware

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 5000
"""Flask's own port."""

MAX_PORT = 65_535

EVERY_HOST = "0.0.0.0"
"""What an empty host means, as for a socket: all addresses of the machine."""

UNIX = "unix://"
"""What a path to a socket begins with. Source: Werkzeug's server."""

DEBUGGER_OPTIONS = ("use_debugger", "use_evalex")
"""Options of Flask's ``app.run()`` that we deal with ourselves."""


def address(app: Flask, host: str | None, port: int | str | None) -> tuple[str, int]:
    """Return where to listen: what was asked for, else the port of ``SERVER_NAME``, else Flask's own.

    :raises InvalidOption: for a port that is no number from 0 to 65535.
    :raises OSError: for a host whose name stands for no address, with that name; the servers leave it out.
    """
    if port is None:
        name: str = app.config.get("SERVER_NAME") or ""
        port = name.rpartition(":")[2] if ":" in name else DEFAULT_PORT
    number = _checked_port(port)
    host = DEFAULT_HOST if host is None else host or EVERY_HOST
    if not host.startswith(UNIX):
        try:
            socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise explain_bind_error(error, host, number) from error
    return host, number


def _checked_port(port: int | str) -> int:
    try:
        number = values.whole(port)
    except (ValueError, OverflowError):
        number = -1
    if not 0 <= number <= MAX_PORT:
        raise InvalidOption(f"port={port!r} must be a whole number from 0 to {MAX_PORT}")
    return number


def serve_options(
    *,
    debug: bool,
    log_output: bool | None,
    use_reloader: bool | None,
    reloader_options: Mapping[str, Any] | None,
    extra_files: list[str] | None,
    allow_unsafe_werkzeug: bool,
    server: Mapping[str, Any],
    listener: Listener | None,
) -> ServeOptions:
    """Sort the arguments of ``run()``; what is not given follows ``debug``."""
    reloader = dict(reloader_options or {})
    if extra_files:
        reloader["extra_files"] = extra_files
    others = {name: value for name, value in server.items() if name not in DEBUGGER_OPTIONS}
    return ServeOptions(
        debug=debug,
        log_output=debug if log_output is None else log_output,
        log_asked=bool(log_output),
        use_reloader=debug if use_reloader is None else use_reloader,
        reloader_options=reloader,
        allow_unsafe_werkzeug=allow_unsafe_werkzeug,
        tls={name: value for name, value in others.items() if name in TLS_OPTIONS and value is not None},
        server={name: value for name, value in others.items() if name not in TLS_OPTIONS},
        listener=listener,
    )


LINGER_S = 0.25
"""How long a worker that accepts nothing more still takes clients, seconds: a request follows its connection, and the
web server has not read it yet."""
LOOK_S = 0.02
"""How often it is looked whether requests have ended, seconds."""


class Requests:
    """Count the requests that an application is busy with, its answers included, until they are sent.

    For workers that end while others go on: what they have begun is not broken off.
    """

    def __init__(self, app: WSGIApplication, mode: AsyncMode) -> None:
        self._app = app
        self._mode = mode
        self._lock = mode.create_lock()
        self._running = 0

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request (WSGI)."""
        self._count(1)
        try:
            return _Answer(self._app(environ, start_response), self._ended)
        except BaseException:
            self._ended()
            raise

    def linger(self) -> None:
        """Let requests of accepted connections begin; blocks for :data:`LINGER_S`."""
        self._mode.sleep(LINGER_S)

    def wait(self) -> None:
        """Wait until all have ended, however long that takes."""
        while self._running:
            self._mode.sleep(LOOK_S)

    def _ended(self) -> None:
        self._count(-1)

    def _count(self, more: int) -> None:
        with self._lock:
            self._running += more


class _Answer:
    """An answer that tells when it is through, whatever becomes of it.

    Werkzeug's server does not close one whose client has reset the connection meanwhile: then it is just forgotten.
    """

    def __init__(self, answer: Iterable[bytes], ended: Callable[[], object]) -> None:
        self._answer = answer
        self._next = iter(answer).__next__
        self._ended = ended
        self._open = True

    def __iter__(self) -> _Answer:
        return self

    def __next__(self) -> bytes:
        return self._next()

    def close(self) -> None:
        """Close the answer itself."""
        try:
            if hasattr(self._answer, "close"):
                self._answer.close()
        finally:
            self._end()

    def _end(self) -> None:
        if self._open:
            self._open = False
            self._ended()

    __del__ = _end


def check_listener(mode: AsyncMode, listener: Listener | None, *, use_reloader: bool) -> None:
    """Refuse a listener that cannot be served.

    :raises ConfigurationError: if the mode takes none, or with the reloader.
    """
    if listener is None:
        return
    if not mode.capabilities.takes_listener:
        raise ConfigurationError(
            f"async mode {mode.name!r} binds its own socket and cannot share one with other workers: start it without "
            "--workers, or with another async mode"
        )
    if use_reloader:
        raise ConfigurationError(
            "a socket of several workers is not served with the reloader: use_reloader=False"
        )


def wrap_debugger(middleware: SocketIOMiddleware, server: Mapping[str, Any]) -> None:
    """Put Werkzeug's debugger around everything inside our middleware, once.

    Inside, so that it never stands between the web server and a WebSocket.
    """
    from werkzeug.debug import DebuggedApplication  # here: nobody imports the debugger in production

    inner = middleware.wsgi_app
    if not isinstance(inner, DebuggedApplication):
        middleware.wsgi_app = DebuggedApplication(inner, evalex=server.get("use_evalex", True))
