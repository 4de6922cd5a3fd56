"""WebSockets under uWSGI with its gevent loop.

uWSGI's own WebSocket functions do not say whether a message is text, and may only be called by the request's own
greenlet. So the frames are ours here as well, over the connection that uWSGI keeps.
"""

from __future__ import annotations

import os
import socket as constants
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from gevent.socket import socket

from flask_socketio_core.contracts import WebSocketProvider
from flask_socketio_core.server.framed import open_framed

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
        sock = socket(fileno=os.dup(uwsgi.connection_fd()))
        return open_framed(
            environ,
            start_response,
            recv=sock.recv,
            sendall=sock.sendall,
            shutdown=partial(sock.shutdown, constants.SHUT_RDWR),
            max_message_bytes=max_message_bytes,
        )
