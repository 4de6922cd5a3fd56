"""WebSockets under uWSGI with its gevent loop.

uWSGI's own WebSocket functions do not say whether a message is text, and may only be called by the request's own
greenlet. So the frames are ours here as well, over the connection that uWSGI keeps.
"""

from __future__ import annotations

import os
import socket as constants
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from gevent.socket import socket

from flask_socketio_core.contracts import WebSocketProvider
from flask_socketio_core.contracts.detach import send_at_once
from flask_socketio_core.contracts.framed import open_framed

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from flask_socketio_core.contracts import BlockingTransport


class UwsgiProvider(WebSocketProvider):
    """A connection between uWSGI's HTTP router, or the client itself, and this worker."""

    name: ClassVar[str] = "uwsgi"

    def detect(self, environ: WSGIEnvironment) -> bool:
        return "uwsgi.version" in environ and "uwsgi" in sys.modules

    def open(
        self, environ: WSGIEnvironment, start_response: StartResponse, *, max_message_bytes: int
    ) -> BlockingTransport | None:
        uwsgi: Any = sys.modules["uwsgi"]
        try:
            # Not ours: uWSGI would write a head of its own at the end, unless it knows that there is one. It answers
            # with the origin that it is given, in a header of a draft that nobody reads: better not the client's text.
            uwsgi.websocket_handshake(environ["HTTP_SEC_WEBSOCKET_KEY"], "*")
        except OSError:
            return None
        sock = socket(fileno=os.dup(uwsgi.connection_fd()))
        send_at_once(sock)
        return open_framed(
            environ,
            _ignore,
            handshake_done=True,
            recv=sock.recv,
            sendall=sock.sendall,
            shutdown=partial(_end, sock),
            max_message_bytes=max_message_bytes,
        )


def _ignore(*_: object) -> Callable[[bytes], object]:
    """Stand in for ``start_response``."""
    return _ignore


def _end(sock: socket) -> None:
    try:
        sock.shutdown(constants.SHUT_RDWR)
    finally:
        sock.close()  # our duplicate; uWSGI closes its own
