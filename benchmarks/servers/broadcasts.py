"""Emit to clients of this process: ``python broadcasts.py RECOVERY CLIENTS EVENTS``.

What is written goes through TCP to a second process that does nothing but read. The clients are connected by WebSocket
as the engine sees it, so all that counts is the server's work, of ``socketio.emit`` to the last ``send``. Prints the
CPU time of a delivery, microseconds.
"""

from __future__ import annotations

import os
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flask import Flask

from flask_socketio_core import SocketIO

if TYPE_CHECKING:
    from flask_socketio_core.websocket_protocol.deflate import Deflate

HOST = "127.0.0.1"
WARM_UP = 20
"""Events before the time counts."""


class DirectTransport:
    """A WebSocket that is written to by who emits."""

    name = "websocket"
    deflate: Deflate | None = None

    def __init__(self, write: Callable[[bytes], int]) -> None:
        self.write: Callable[[bytes], int] | None = write

    def wake(self) -> None:
        """Learn that something waits, which would be no broadcast that this program measures.

        :raises BlockingIOError: always.
        """
        raise BlockingIOError("the reader is too slow")

    def close(self, code: int) -> None:
        """Do nothing."""

    def hold(self) -> None:
        """Do nothing: nothing is read."""

    def release(self) -> None:
        """Do nothing."""


def main(recovery: str, clients: str, events: str) -> None:
    """Connect the clients, and emit so many events to all of them."""
    app = Flask(__name__)
    options: dict[str, Any] = {"recovery": float(recovery)} if float(recovery) else {}
    socketio = SocketIO(app, async_mode="threading", monitor_clients=False, connect_timeout=86_400, **options)
    binding = socketio.binding_of(app)
    binding.join()
    assert binding.engine is not None
    server = binding.engine.server
    listener = socket.create_server((HOST, 0))
    reader = subprocess.Popen([sys.executable, __file__, "read", str(listener.getsockname()[1]), clients])
    for _ in range(int(clients)):
        connection = listener.accept()[0]
        server.eio.add_session({"wsgi.url_scheme": "http"}, DirectTransport(connection.send)).receive("40")
    while len(server.members(None)) < int(clients) or server.load().busy_workers:
        binding.mode.sleep(0.01)
    begun_s = 0.0
    for number in range(int(events)):
        if number == WARM_UP:
            begun_s = time.process_time()
        socketio.emit("event", {"seq": number, "text": "the quick brown fox jumps"})
    taken_s = time.process_time() - begun_s
    reader.kill()
    reader.wait()
    print(taken_s / ((int(events) - WARM_UP) * int(clients)) * 1e6, flush=True)
    os._exit(0)


def read(port: str, clients: str) -> None:
    """Read whatever comes, until the process is killed."""
    selector = selectors.DefaultSelector()
    for _ in range(int(clients)):
        selector.register(socket.create_connection((HOST, int(port))), selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.recv(65536)


if __name__ == "__main__":
    if sys.argv[1] == "read":
        read(*sys.argv[2:])
    else:
        main(*sys.argv[1:])
