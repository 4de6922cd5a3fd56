"""eventlet's WSGI server, bound, encrypted and ended by us."""

from __future__ import annotations

import logging
from collections.abc import Callable
from socket import SOCK_STREAM
from typing import TYPE_CHECKING, Any

import eventlet
import eventlet.wsgi
from eventlet.green import socket
from eventlet.greenio import GreenSocket
from eventlet.patcher import original

from flask_socketio_core.contracts.concurrency.servers import (
    ACCEPT_PAUSE_S,
    NO_DESCRIPTORS,
    ErrorStream,
    explain_bind_error,
    report_no_descriptor,
    split_options,
)

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

    from flask_socketio_core.contracts import ServeOptions

logger = logging.getLogger("flask_socketio_core.concurrency")

LISTEN_OPTIONS = ("backlog", "reuse_port")
SERVER_OPTIONS = (
    "capitalize_response_headers",
    "custom_pool",
    "environ",
    "keepalive",
    "log",
    "log_format",
    "log_x_forwarded_for",
    "max_http_version",
    "max_size",
    "minimum_chunk_size",
    "protocol",
    "socket_timeout",
    "url_length_limit",
)
BACKLOG = 1024


class Pool(eventlet.GreenPool):
    """Requests in greenlets; the server does not wait for pending ones, because only the engine can answer them.

    :param keeps_new: at its end the server leaves connections open that have not sent a request yet.
    """

    def __init__(self, size: int, *, keeps_new: bool = False) -> None:
        super().__init__(size)  # type: ignore[no-untyped-call]  # eventlet is not typed
        self._keeps_new = keeps_new

    def spawn(self, function: Callable[..., object], *arguments: Any) -> Any:
        """Serve a connection; a client that is gone, or does not speak TLS, is no news."""
        if self._keeps_new:
            connection = arguments[0]  # address, socket, state; the server ends those that are idle
            connection[2] = eventlet.wsgi.STATE_REQUEST

        def serve_connection() -> None:
            try:
                function(*arguments)
            except (OSError, ValueError) as error:  # a TLS socket that is shut down raises the latter
                logger.debug("a connection ended: %s", error)

        return super().spawn(serve_connection)  # type: ignore[no-untyped-call]  # eventlet is not typed

    def waitall(self) -> None:
        """Do not wait."""


class Listener:
    """A listening socket whose ``accept`` goes on after errors that concern one connection only.

    eventlet's server ends when it has no descriptor left, and when a client does not speak TLS.
    """

    def __init__(self, sock: Any) -> None:
        self._sock = sock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def accept(self) -> Any:
        """Return the next connection and its address."""
        while True:
            try:
                return self._sock.accept()
            except OSError as error:
                if self._sock.fileno() < 0:
                    raise
                if error.errno in NO_DESCRIPTORS:
                    report_no_descriptor(error)
                    eventlet.sleep(ACCEPT_PAUSE_S)


def listen(host: str, port: int, options: ServeOptions) -> tuple[Listener, dict[str, Any]]:
    """Bind the port; return the listening socket and the options for the server."""
    given, context = split_options(options, SERVER_OPTIONS + LISTEN_OPTIONS, "eventlet's server")
    given.setdefault("debug", options.debug)
    given.setdefault("log_output", options.log_output)
    given.setdefault("log", ErrorStream())
    # Its request bodies end by themselves, also without Content-Length; it only does not say so.
    given["environ"] = {"wsgi.input_terminated": True, **(given.get("environ") or {})}
    size: int = given.pop("max_size", eventlet.wsgi.DEFAULT_MAX_SIMULTANEOUS_REQUESTS)
    given.setdefault("custom_pool", Pool(size, keeps_new=options.listener is not None))
    backlog = given.pop("backlog", BACKLOG)
    # Not as eventlet does by itself: two programs on one port would take turns with the requests.
    reuse_port = given.pop("reuse_port", False)
    if options.listener is not None:
        sock = GreenSocket(original("socket").socket(fileno=options.listener.fd))
        given["environ"]["wsgi.multiprocess"] = True
    else:
        try:
            family, _, _, _, address = socket.getaddrinfo(host, port, 0, SOCK_STREAM)[0]
            sock = eventlet.listen(address, family, backlog=backlog, reuse_port=reuse_port)
        except OSError as error:
            raise explain_bind_error(error, host, port) from error
    if context is not None:
        # The handshake is left to each connection's greenlet: in accept() a slow client would hold up the others.
        sock = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
    return Listener(sock), given


def serve(listener: Listener, app: WSGIApplication, given: dict[str, Any]) -> None:
    """Accept connections until ``SystemExit`` is thrown into this greenlet."""
    eventlet.wsgi.server(listener, app, **given)
