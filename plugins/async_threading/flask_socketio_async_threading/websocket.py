"""WebSockets of servers that run each request in a thread."""

from __future__ import annotations

import io
import selectors
import socket
import ssl
import threading
from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, ClassVar, TypeVar

from flask_socketio_core.contracts import KeepAlive, SocketLocation, WebSocketProvider
from flask_socketio_core.contracts.concurrency import gunicorn
from flask_socketio_core.contracts.detach import send_at_once
from flask_socketio_core.contracts.framed import open_framed

from .server import KEEP_ALIVE

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from flask_socketio_core.contracts import BlockingTransport

LOST_WAKE_UP_S = 1.0
"""After how long a TLS socket is tried again, seconds: the other thread may have read what this one waits for."""

T = TypeVar("T")

Selector = getattr(selectors, "PollSelector", selectors.SelectSelector)
"""Needs no descriptor of its own; Windows has no poll()."""


def is_plain(sock: object) -> bool:
    """Return whether a socket carries what it is given, without encryption."""
    return isinstance(sock, socket.socket) and not isinstance(sock, ssl.SSLSocket)


class TlsStream:
    """Read and write one TLS socket from two threads: OpenSSL allows one call at a time, so none of them waits.

    :param recv: reads from the socket, through a buffer if there is one.
    """

    def __init__(self, sock: ssl.SSLSocket, recv: Callable[[int], bytes]) -> None:
        self._sock = sock
        self._recv = recv
        self._lock = threading.Lock()
        sock.settimeout(0)

    def recv(self, size: int) -> bytes:
        """Return some bytes, waiting for the first; ``b""`` at the end."""
        return self._when_ready(lambda: self._recv(size), selectors.EVENT_READ)

    def sendall(self, data: bytes) -> None:
        """Write everything."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._when_ready(partial(self._sock.send, rest), selectors.EVENT_WRITE) :]

    def _when_ready(self, call: Callable[[], T], event: int) -> T:
        while True:
            try:
                with self._lock:
                    return call()
            except ssl.SSLWantReadError:
                event = selectors.EVENT_READ
            except ssl.SSLWantWriteError:
                event = selectors.EVENT_WRITE
            with Selector() as selector:
                selector.register(self._sock, event)
                selector.select(LOST_WAKE_UP_S)


class _ThreadedProvider(WebSocketProvider):
    """A server that shows the connection's socket in the environ."""

    key: ClassVar[str]
    responds: ClassVar[str]
    """Module of the server's ``start_response``."""

    @abstractmethod
    def _read_ahead(self, environ: WSGIEnvironment) -> Callable[[], bytes] | None:
        """Return what takes the bytes that the server has read too much, once the socket is at its end."""

    @abstractmethod
    def _receiver(
        self, environ: WSGIEnvironment, sock: socket.socket
    ) -> tuple[Callable[[int], bytes], bytes]:
        """Return what reads from the socket that the server keeps, and what was read before."""

    def detect(self, environ: WSGIEnvironment) -> bool:
        return self.key in environ

    def _forgetter(self, start_response: StartResponse) -> Callable[[], object]:
        """Return what has the server not wait for another request on a connection that is taken."""
        return lambda: None

    def _keep_alive(self, environ: WSGIEnvironment) -> KeepAlive | None:
        """Return how the server keeps connections and can be given one back."""
        return None

    def locate(self, environ: WSGIEnvironment, start_response: StartResponse) -> SocketLocation | None:
        sock = environ[self.key]
        take = self._read_ahead(environ)
        if take is None or not is_plain(sock):
            return None
        carries_polls = getattr(start_response, "__module__", None) == self.responds
        return SocketLocation(
            fd=sock.fileno(),
            read_buffered=take,
            carries_polls=carries_polls,
            keep_alive=self._keep_alive(environ) if carries_polls else None,
            forget=self._forgetter(start_response),
        )

    def open(
        self, environ: WSGIEnvironment, start_response: StartResponse, *, max_message_bytes: int
    ) -> BlockingTransport | None:
        sock = environ[self.key]
        send_at_once(sock)
        recv, first_bytes = self._receiver(environ, sock)
        sendall: Callable[[bytes], object] = sock.sendall
        if isinstance(sock, ssl.SSLSocket):
            stream = TlsStream(sock, recv)
            recv, sendall = stream.recv, stream.sendall
        return open_framed(
            environ,
            start_response,
            recv=recv,
            sendall=sendall,
            shutdown=lambda: sock.shutdown(socket.SHUT_RDWR),
            max_message_bytes=max_message_bytes,
            first_bytes=first_bytes,
        )


class WerkzeugProvider(_ThreadedProvider):
    """Werkzeug's server, which reads through a buffered file."""

    name: ClassVar[str] = "werkzeug"
    key: ClassVar[str] = "werkzeug.socket"
    responds: ClassVar[str] = "werkzeug.serving"

    def _keep_alive(self, environ: WSGIEnvironment) -> KeepAlive | None:
        return environ.get(KEEP_ALIVE)

    def _read_ahead(self, environ: WSGIEnvironment) -> Callable[[], bytes] | None:
        stream = environ.get("wsgi.input")
        return stream.read if isinstance(stream, io.BufferedReader) else None

    def _receiver(
        self, environ: WSGIEnvironment, sock: socket.socket
    ) -> tuple[Callable[[int], bytes], bytes]:
        stream = environ.get("wsgi.input")
        return (stream.read1 if isinstance(stream, io.BufferedReader) else sock.recv), b""


class GunicornProvider(_ThreadedProvider):
    """gunicorn's gthread and sync workers."""

    name: ClassVar[str] = "gunicorn"
    key: ClassVar[str] = gunicorn.SOCKET
    responds: ClassVar[str] = "gunicorn.http.wsgi"

    def _forgetter(self, start_response: StartResponse) -> Callable[[], object]:
        return gunicorn.find_closing(start_response)

    def _keep_alive(self, environ: WSGIEnvironment) -> KeepAlive | None:
        return gunicorn.find_keep_alive()

    def _read_ahead(self, environ: WSGIEnvironment) -> Callable[[], bytes] | None:
        return gunicorn.find_read_ahead(environ)

    def _receiver(
        self, environ: WSGIEnvironment, sock: socket.socket
    ) -> tuple[Callable[[int], bytes], bytes]:
        take = gunicorn.find_read_ahead(environ)
        return sock.recv, (take() if take is not None else b"")
