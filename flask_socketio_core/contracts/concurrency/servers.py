"""Web servers: which one made an environ, and what all of them are told alike."""

from __future__ import annotations

import errno
import logging
import socket
import ssl
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from ...common.repeats import Repeats

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from ..async_mode import ServeOptions

__all__ = [
    "ACCEPT_PAUSE_S",
    "NOT_SERVING",
    "NO_DESCRIPTORS",
    "TLS_OPTIONS",
    "ErrorStream",
    "explain_bind_error",
    "is_gunicorn",
    "make_tls_context",
    "name_server",
    "report_no_descriptor",
    "split_options",
    "unannounced_body",
    "warn_of_single_requests",
]


logger = logging.getLogger("flask_socketio_core.concurrency")


def name_server(environ: WSGIEnvironment) -> str | None:
    """Name the server for a message; ``None`` if there is no sign of one, as with a test client."""
    if "uwsgi.version" in environ:
        return "uWSGI"
    software: str = environ.get("SERVER_SOFTWARE", "")
    if software:
        return software
    if "asgi.scope" in environ:
        return "an ASGI server"
    keys = [key for key in environ if key.endswith((".input", ".socket")) and not key.startswith("wsgi.")]
    if keys:
        return f"the server of {keys[0].partition('.')[0]}"
    several = environ.get("wsgi.multithread") or environ.get("wsgi.multiprocess")
    return "a web server without a name" if several else None


def warn_of_single_requests(environ: WSGIEnvironment) -> None:
    """Say it when the server serves one request at a time: one that waits stops everybody else."""
    server = name_server(environ)
    if server is not None and environ.get("wsgi.multithread") is False:
        logger.warning(
            "%s serves one request at a time in each process: while one waits, all others do, and a poll whose "
            "connection cannot be taken from it waits up to 25 seconds by default; use a server with threads, such as "
            "`gunicorn -k gthread --threads 100`",
            server,
        )


def is_gunicorn(environ: WSGIEnvironment) -> bool:
    """Return whether gunicorn made the environ, whichever its worker class."""
    return "gunicorn" in environ.get("SERVER_SOFTWARE", "") or "gunicorn.socket" in environ


def unannounced_body(environ: WSGIEnvironment) -> Callable[[int], bytes] | None:
    """Return what reads a body of unknown length (``Transfer-Encoding: chunked``), or ``None`` if the server cannot.

    It takes the most bytes wanted, and returns them all at once.
    """
    if environ.get("wsgi.input_terminated"):
        read: Callable[[int], bytes] = environ["wsgi.input"].read
        return read
    uwsgi = sys.modules.get("uwsgi")
    if uwsgi is not None and environ.get("HTTP_TRANSFER_ENCODING", "").lower() == "chunked":
        return partial(_read_uwsgi_chunks, uwsgi)
    return None


def _read_uwsgi_chunks(uwsgi: Any, size: int) -> bytes:
    chunks: list[bytes] = []
    missing = size
    while missing > 0:
        try:
            # Ends after --socket-timeout, and is no larger than --chunked-input-limit.
            chunk: bytes = uwsgi.chunked_read()
        except OSError as error:
            hint = "" if chunks else "; with --http, uWSGI needs --http-chunked-input"
            raise OSError(f"{error}{hint}") from error
        if not chunk:
            break
        chunks.append(chunk)
        missing -= len(chunk)
    return b"".join(chunks)


NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)
"""Errors of ``accept`` that pass when other connections end."""

ACCEPT_PAUSE_S = 0.1
"""How long nothing is accepted when there is no descriptor left, seconds: the listening socket stays ready."""

_repeats = Repeats(time.monotonic)


def report_no_descriptor(error: OSError) -> None:
    """Log that there is no descriptor for a connection that is to be accepted."""
    more = _repeats.take("no descriptor left")
    if more is not None:
        logger.error("no descriptor left, new connections have to wait: %s%s", error, more)


class ErrorStream:
    """The standard error, for a web server's own lines: a full disk under it ends neither the server nor a request.

    The standard library's log handlers pass over such errors, too.
    """

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)

    def write(self, text: str) -> int:
        """Write text, if that is possible."""
        with suppress(OSError):
            sys.stderr.write(text)
        return len(text)


TLS_OPTIONS = (
    "certfile",
    "keyfile",
    "ssl_context",
    "ca_certs",
    "cert_reqs",
    "ciphers",
    "ssl_version",
    "password",
)
"""TLS options that every mode's server takes, and all that there are: what else users give is the web server's.

Source: ``ssl.wrap_socket`` of old, whose names Flask-SocketIO takes, without those that a server has no use for.
"""


def split_options(options: ServeOptions, known: tuple[str, ...], server: str) -> tuple[dict[str, Any], Any]:
    """Return the options for a web server and the TLS context, or ``None`` for plain HTTP.

    :param known: what this server takes besides TLS.
    :param server: its name, for the message.
    :raises TypeError: for an option that does not exist.
    """
    given = {name: value for name, value in {**options.server, **options.tls}.items() if value is not None}
    tls = {name: given.pop(name) for name in TLS_OPTIONS if name in given}
    for name in given:
        if name not in known:
            raise TypeError(
                f"run() got an unexpected keyword argument {name!r}; {server} takes {', '.join(sorted(known))} and, "
                f"for TLS, {', '.join(sorted(TLS_OPTIONS))}"
            )
    return given, make_tls_context(tls)


def make_tls_context(tls: Mapping[str, Any]) -> Any:
    """Return an :class:`ssl.SSLContext` for a server, or ``None`` if no TLS option was given.

    ``ssl_context`` may be one, a pair of files, or ``"adhoc"``, as with Flask's ``app.run()``.
    """
    context = tls.get("ssl_context")
    if context == "adhoc":
        from werkzeug.serving import generate_adhoc_ssl_context

        return generate_adhoc_ssl_context()
    if context is not None and not isinstance(context, tuple):
        return context
    files = context if context is not None else (tls.get("certfile"), tls.get("keyfile"))
    if files[0] is None:
        if tls:
            raise TypeError(f"TLS options {', '.join(sorted(tls))} need certfile= or ssl_context=")
        return None
    made = ssl.SSLContext(tls.get("ssl_version", ssl.PROTOCOL_TLS_SERVER))
    made.load_cert_chain(files[0], files[1] if len(files) > 1 else None, tls.get("password"))
    if "ca_certs" in tls:
        made.load_verify_locations(tls["ca_certs"])
    if "cert_reqs" in tls:
        made.verify_mode = tls["cert_reqs"]
    if "ciphers" in tls:
        made.set_ciphers(tls["ciphers"])
    return made


def explain_bind_error(error: OSError | UnicodeError, host: str, port: int) -> OSError:
    """Return an error that says what is the matter with an address.

    :param error: a ``UnicodeError`` is Python's word for a name that cannot be one, such as ``a..b``.
    """
    if isinstance(error, (socket.gaierror, UnicodeError)):
        number = error.errno if isinstance(error, socket.gaierror) else socket.EAI_NONAME
        return socket.gaierror(
            number,
            f"host {host!r} stands for no address ({error}): use 127.0.0.1, or 0.0.0.0 for all addresses",
        )
    if error.errno == errno.EADDRINUSE:
        text = f"port {port} of {host} is in use by another program: stop that one, or choose another port"
    elif error.errno == errno.EACCES:
        text = f"port {port} of {host} is not allowed to this user: choose one from 1024 on"
    elif error.errno == errno.EADDRNOTAVAIL:
        text = f"{host} is no address of this machine: use 127.0.0.1, or 0.0.0.0 for all of its addresses"
    else:
        return error
    return OSError(error.errno, text)


NOT_SERVING = (
    "there is nothing to stop: the server was not started by SocketIO.run() in this process; end the process with "
    "SIGTERM instead"
)
"""Text of the ``RuntimeError`` of :meth:`~flask_socketio_core.contracts.AsyncMode.stop`."""
