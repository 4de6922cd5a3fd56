"""Many clients of one server in one thread: WebSockets over one epoll set, written without a library.

They speak as much of the protocol as honest clients that talk and listen: the handshake, CONNECT, pongs, text events
and acknowledgements. Whatever else comes is an error, and so is an end that the client did not ask for.
"""

from __future__ import annotations

import resource
import select
import socket
import time
from collections.abc import Callable, Sequence

from flask_socketio_core.testing.rawclient import CLOSE, TEXT, handshake, masked
from support.servers import HOST

TARGET = "/socket.io/?EIO=4&transport=websocket"
SPARE_DESCRIPTORS = 200


class Unexpected(AssertionError):
    """The server sent what it should not, refused a client, or left it."""


class Visitor:
    """One client.

    :ivar heard: the text of each event and acknowledgement, without its packet types.
    """

    __slots__ = ("_buffer", "_head", "heard", "joined", "leaving", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.heard: list[bytes] = []
        self.joined = False
        self.leaving = False
        self._buffer = b""
        self._head = True

    def say(self, text: str) -> None:
        """Send one Socket.IO packet."""
        data = masked(TEXT, b"4" + text.encode())
        if self.sock.send(data) != len(data):
            raise Unexpected("the server does not read what it was sent")

    def take(self, data: bytes) -> None:
        """Take what was received."""
        buffer = self._buffer + data
        if self._head:
            head, end, rest = buffer.partition(b"\r\n\r\n")
            if not end:
                self._buffer = buffer
                return
            if not head.startswith(b"HTTP/1.1 101 "):
                raise Unexpected(f"no WebSocket: {buffer!r}")
            self._head, buffer = False, rest
        place = 0
        while len(buffer) - place >= 2:
            begin, size = place + 2, buffer[place + 1]
            if size >= 126:
                width = 2 if size == 126 else 8
                begin += width
                size = int.from_bytes(buffer[place + 2 : begin], "big")
            if len(buffer) < begin + size:
                break
            self._on_frame(buffer[place], buffer[begin : begin + size])
            place = begin + size
        self._buffer = buffer[place:]

    def _on_frame(self, first: int, payload: bytes) -> None:
        if first == 0x80 | TEXT and payload[:2] in (b"42", b"43"):
            self.heard.append(payload[2:])
        elif first == 0x80 | TEXT and payload == b"2":
            self.sock.send(masked(TEXT, b"3"))
        elif first == 0x80 | TEXT and payload[:1] == b"0":
            self.say("0")
        elif first == 0x80 | TEXT and payload[:2] == b"40":
            self.joined = True
        elif first != 0x80 | CLOSE or not self.leaving:
            raise Unexpected(f"frame {first:#x} {payload!r}")


class Crowd:
    """Clients of one server.

    :param forwarded_for: address that a proxy says they come from.
    """

    def __init__(self, port: int, *, forwarded_for: str = "") -> None:
        self.visitors: list[Visitor] = []
        self._port = port
        head = handshake(TARGET)
        self._request = head.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: %b\r\n\r\n" % forwarded_for.encode())
        self._poll = select.epoll()
        self._by_fd: dict[int, Visitor] = {}

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *exception: object) -> None:
        for visitor in self.visitors:
            visitor.sock.close()
        self._poll.close()

    def join(self, count: int, *, at_once: int = 20, timeout_s: float = 30) -> Sequence[Visitor]:
        """Connect more clients, some at a time, and return them when all are let in.

        :param timeout_s: how long that may take for those that come at once, seconds.
        """
        fresh: list[Visitor] = []
        while len(fresh) < count:
            batch = [self._open() for _ in range(min(at_once, count - len(fresh)))]
            fresh += batch
            self.pump(lambda batch=batch: all(visitor.joined for visitor in batch), timeout_s)  # type: ignore[misc]
        return fresh

    def leave(self, timeout_s: float = 30) -> None:
        """Disconnect all clients, and wait until the server has closed their connections."""
        for visitor in self.visitors:
            visitor.leaving = True
            visitor.sock.send(masked(TEXT, b"41") + masked(CLOSE, b"\x03\xe8"))
        self.pump(lambda: not self._by_fd, timeout_s)

    def pump(self, finished: Callable[[], bool], timeout_s: float = 30) -> None:
        """Read until something has happened.

        :raises AssertionError: if it has not in time, or the server did what it should not.
        """
        until_s = time.monotonic() + timeout_s
        while not finished():
            assert time.monotonic() < until_s, f"it did not happen within {timeout_s:g} s"
            self.read(0.05)

    def read(self, timeout_s: float) -> None:
        """Read what is there, or wait for it.

        :param timeout_s: how long, seconds.
        """
        for fd, _ in self._poll.poll(timeout_s):
            visitor = self._by_fd[fd]
            try:
                data = visitor.sock.recv(262_144)
            except ConnectionError:
                data = b""
            if data:
                visitor.take(data)
            elif visitor.leaving:
                self._poll.unregister(fd)
                del self._by_fd[fd]
            else:
                raise Unexpected("the server ended the connection")

    def _open(self) -> Visitor:
        sock = socket.create_connection((HOST, self._port), timeout=10)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(self._request)
        sock.setblocking(False)
        visitor = Visitor(sock)
        self.visitors.append(visitor)
        self._by_fd[sock.fileno()] = visitor
        self._poll.register(sock, select.EPOLLIN)
        return visitor


def allows(count: int) -> bool:
    """Say whether a process may have so many connections, and raise the soft limit of descriptors for them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = count + SPARE_DESCRIPTORS
    if hard != resource.RLIM_INFINITY and hard < needed:
        return False
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    return True
