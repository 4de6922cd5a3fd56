"""WebSockets of the servers that run each request in a greenlet of gevent."""

from __future__ import annotations

import io
import socket as constants
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from gevent.socket import socket
from gevent.ssl import SSLSocket

from flask_socketio_core.contracts import SocketLocation, WebSocketProvider
from flask_socketio_core.contracts.concurrency import gunicorn
from flask_socketio_core.contracts.detach import send_at_once
from flask_socketio_core.contracts.framed import open_framed

from .handler import leave_to_engine
from .mode import forget_descriptor

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from flask_socketio_core.contracts import BlockingTransport


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server keeps a connection.

    :param sock: its socket.
    :param stream: the buffered file that the server reads from, if it has one.
    :param take: otherwise, what takes the bytes that were read too much, if that can be found.
    """

    sock: Any  # gevent's socket or SSLSocket, or a stranger's
    stream: io.BufferedReader | None = None
    take: Callable[[], bytes] | None = None

    @property
    def is_plain(self) -> bool:
        """Whether the socket carries what it is given, without encryption."""
        return isinstance(self.sock, socket) and not isinstance(self.sock, SSLSocket)


def _is_open(environ: WSGIEnvironment) -> bool:
    """Return whether gevent-websocket's handler has answered the handshake already."""
    return environ.get("wsgi.websocket") is not None


class _GreenProvider(WebSocketProvider):
    """A server whose connection can be found somehow."""

    @abstractmethod
    def _find(self, environ: WSGIEnvironment, start_response: StartResponse) -> Place | None:
        """Say where the connection is, or ``None`` if middleware has hidden it."""

    def locate(self, environ: WSGIEnvironment, start_response: StartResponse) -> SocketLocation | None:
        place = self._find(environ, start_response)
        if place is None or not place.is_plain:
            return None
        read = place.take if place.stream is None else place.stream.read
        if read is None:
            return None
        fd = place.sock.fileno()
        return SocketLocation(
            fd=fd,
            handshake_done=_is_open(environ),
            read_buffered=read,
            forget=partial(forget_descriptor, fd),
        )

    def open(
        self, environ: WSGIEnvironment, start_response: StartResponse, *, max_message_bytes: int
    ) -> BlockingTransport | None:
        place = self._find(environ, start_response)
        if place is None:
            return None
        send_at_once(place.sock)
        return open_framed(
            environ,
            start_response,
            recv=place.sock.recv if place.stream is None else place.stream.read1,
            sendall=place.sock.sendall,
            shutdown=partial(place.sock.shutdown, constants.SHUT_RDWR),
            max_message_bytes=max_message_bytes,
            first_bytes=b"" if place.take is None else place.take(),
            handshake_done=_is_open(environ),
        )


class PywsgiProvider(_GreenProvider):
    """gevent's own server, also as gunicorn's ``gevent_pywsgi`` worker."""

    name: ClassVar[str] = "gevent-builtin"

    def serve_at(self, path: str) -> None:
        leave_to_engine(path)

    def detect(self, environ: WSGIEnvironment) -> bool:
        return str(environ.get("SERVER_SOFTWARE", "")).startswith("gevent/")

    def _find(self, environ: WSGIEnvironment, start_response: StartResponse) -> Place | None:
        handler = getattr(start_response, "__self__", None)
        body = environ.get("wsgi.input")  # for an upgrade, gevent gives the file itself
        stream = getattr(body, "rfile", body)
        if not isinstance(stream, io.BufferedReader):
            stream = getattr(handler, "rfile", None)
        if not isinstance(stream, io.BufferedReader):
            return None
        sock = getattr(handler, "socket", None) or getattr(stream.raw, "_sock", None)
        return None if sock is None else Place(sock, stream)


class GeventWebSocketProvider(PywsgiProvider):
    """gevent's server with gevent-websocket's handler; a connection that this has opened all the same is taken over.

    It opens those whose path it does not know: where middleware turns another one into Socket.IO's.
    """

    name: ClassVar[str] = "gevent-websocket"

    def detect(self, environ: WSGIEnvironment) -> bool:
        return _is_open(environ) or super().detect(environ)

    def _find(self, environ: WSGIEnvironment, start_response: StartResponse) -> Place | None:
        if not _is_open(environ):
            return super()._find(environ, start_response)
        handler = getattr(environ["wsgi.websocket"], "handler", None)
        sock, stream = getattr(handler, "socket", None), getattr(handler, "rfile", None)
        if sock is None or not isinstance(stream, io.BufferedReader):
            return None
        return Place(sock, stream)


class EnvironSocketProvider(_GreenProvider):
    """gunicorn's gevent worker, and Werkzeug's server in a patched process: they show the socket in the environ."""

    name: ClassVar[str] = "gevent-gunicorn"

    def detect(self, environ: WSGIEnvironment) -> bool:
        return gunicorn.SOCKET in environ or "werkzeug.socket" in environ

    def _find(self, environ: WSGIEnvironment, start_response: StartResponse) -> Place | None:
        if gunicorn.SOCKET in environ:
            return Place(environ[gunicorn.SOCKET], take=gunicorn.find_read_ahead(environ))
        stream = environ.get("wsgi.input")
        return Place(environ["werkzeug.socket"], stream if isinstance(stream, io.BufferedReader) else None)
