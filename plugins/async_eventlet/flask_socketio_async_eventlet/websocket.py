"""WebSockets of the servers that run each request in a greenlet of eventlet."""

from __future__ import annotations

import io
import socket as constants
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from eventlet.green.ssl import GreenSSLSocket
from eventlet.greenio import GreenSocket
from eventlet.wsgi import WSGI_LOCAL

from flask_socketio_core.contracts import SocketLocation, WebSocketProvider
from flask_socketio_core.contracts.concurrency import gunicorn
from flask_socketio_core.contracts.detach import send_at_once
from flask_socketio_core.contracts.framed import open_framed

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from flask_socketio_core.contracts import BlockingTransport

INPUT = "eventlet.input"


class EventletProvider(WebSocketProvider):
    """eventlet's server; also gunicorn's eventlet worker, and Werkzeug's server in a patched process."""

    name: ClassVar[str] = "eventlet"

    def detect(self, environ: WSGIEnvironment) -> bool:
        return INPUT in environ or gunicorn.SOCKET in environ or "werkzeug.socket" in environ

    def locate(self, environ: WSGIEnvironment, start_response: StartResponse) -> SocketLocation | None:
        sock, stream = _find(environ)
        read: Callable[[], bytes] | None
        read = gunicorn.find_read_ahead(environ) if stream is None else stream.read
        if read is None or not isinstance(sock, GreenSocket) or isinstance(sock, GreenSSLSocket):
            return None
        return SocketLocation(fd=sock.fileno(), read_buffered=read)

    def open(
        self, environ: WSGIEnvironment, start_response: StartResponse, *, max_message_bytes: int
    ) -> BlockingTransport | None:
        sock, stream = _find(environ)
        send_at_once(sock)
        take = gunicorn.find_read_ahead(environ) if stream is None else None
        if INPUT in environ:
            # Or the server would write a head to the closed connection, and leave it open after that failed.
            WSGI_LOCAL.already_handled = True
        return open_framed(
            environ,
            start_response,
            recv=sock.recv if stream is None else stream.read1,
            sendall=sock.sendall,
            shutdown=partial(sock.shutdown, constants.SHUT_RDWR),
            max_message_bytes=max_message_bytes,
            first_bytes=b"" if take is None else take(),
        )


def _find(environ: WSGIEnvironment) -> tuple[Any, io.BufferedReader | None]:
    """Return the connection's socket, and the buffered file that the server reads from, if there is one."""
    if INPUT in environ:
        request_body = environ[INPUT]
        sock, stream = request_body.get_socket(), request_body.rfile
    elif gunicorn.SOCKET in environ:
        return environ[gunicorn.SOCKET], None
    else:
        sock, stream = environ["werkzeug.socket"], environ.get("wsgi.input")
    return sock, stream if isinstance(stream, io.BufferedReader) else None
