"""A broker on loopback for `socketio_pigeon`: whoever subscribed to a subject gets what is published on it."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

HOST = "127.0.0.1"


class PigeonPost:
    """A broker that can be stopped and started again on its port.

    :param password: what clients have to send first; ``""`` for none.
    """

    def __init__(self, password: str = "") -> None:
        self.password = password
        self._server: _Server | None = None
        self.port = 0
        self.start()

    def start(self) -> None:
        self._server = server = _Server((HOST, self.port), _Visitor)
        server.password = self.password
        self.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

    def pause(self) -> None:
        """Keep every connection and answer nothing."""
        if self._server is not None:
            self._server.flowing.clear()

    def resume(self) -> None:
        if self._server is not None:
            self._server.flowing.set()

    def stop(self) -> None:
        self.resume()
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
            server.leave_all()


@contextmanager
def pigeon_post(password: str = "") -> Iterator[PigeonPost]:
    """Run a broker for the time of a test."""
    post = PigeonPost(password)
    try:
        yield post
    finally:
        post.stop()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    password = ""

    def __init__(self, *arguments: object) -> None:
        self.lock = threading.Lock()
        self.flowing = threading.Event()
        self.flowing.set()
        self.visitors: set[_Visitor] = set()
        super().__init__(*arguments)  # type: ignore[arg-type]  # as they were given

    def leave_all(self) -> None:
        for visitor in tuple(self.visitors):
            visitor.leave()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no error here."""


class _Visitor(socketserver.StreamRequestHandler):
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.subject = b""
        self.admitted = not self.server.password
        self.writing = threading.Lock()
        self.server.visitors.add(self)

    def finish(self) -> None:
        self.server.visitors.discard(self)

    def leave(self) -> None:
        try:
            self.request.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def handle(self) -> None:
        for line in self.rfile:
            self.server.flowing.wait()
            command, _, rest = line.strip().partition(b" ")
            if command == b"PASS" and rest.decode() == self.server.password:
                self.admitted = True
            elif not self.admitted:
                self.write(b"-ERR password %s refused\r\n" % rest)
                break
            elif command == b"PING":
                self.write(b"PONG\r\n")
            elif command == b"SUB":
                self.subject = rest
            elif command == b"PUB":
                subject, size = rest.split()
                self.deliver(subject, self.rfile.read(int(size) + 2))

    def deliver(self, subject: bytes, message: bytes) -> None:
        with self.server.lock:  # one after the other, so that all hear them in one order
            for visitor in tuple(self.server.visitors):
                if visitor.subject == subject:
                    visitor.write(b"MSG %s %d\r\n%s" % (subject, len(message) - 2, message))

    def write(self, data: bytes) -> None:
        with self.writing:
            try:
                self.request.sendall(data)
            except OSError:
                pass  # it is gone
