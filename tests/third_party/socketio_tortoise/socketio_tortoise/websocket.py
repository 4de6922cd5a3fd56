"""WebSockets of our web server, whose thread stays with its connection."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, ClassVar

from flask_socketio_core.contracts import WebSocketProvider
from flask_socketio_core.contracts.framed import open_framed

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from flask_socketio_core.contracts import BlockingTransport


class TortoiseProvider(WebSocketProvider):
    """Speak WebSocket over the socket that our server shows in the environ."""

    name: ClassVar[str] = "shell"

    def detect(self, environ: WSGIEnvironment) -> bool:
        return "tortoise.socket" in environ

    def open(
        self, environ: WSGIEnvironment, start_response: StartResponse, *, max_message_bytes: int
    ) -> BlockingTransport | None:
        connection: socket.socket = environ["tortoise.socket"]
        return open_framed(
            environ,
            start_response,
            recv=environ["tortoise.input"].read1,
            sendall=connection.sendall,
            shutdown=lambda: connection.shutdown(socket.SHUT_RDWR),
            max_message_bytes=max_message_bytes,
        )
