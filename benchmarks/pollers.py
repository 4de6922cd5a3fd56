"""Clients that stay on long polling, as raw as those of the generator: one epoll loop, no HTTP library.

Each keeps a poll waiting. A connection is used again where the server keeps it, as a browser does.
"""

from __future__ import annotations

import json
import select
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

HEADERS = (
    "Host: 127.0.0.1:{port}\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) bench/1\r\n"
    "Accept: */*\r\nAccept-Encoding: gzip, deflate\r\nAccept-Language: en\r\n"
)
TARGET = "/socket.io/?EIO=4&transport=polling"
PING, PONG = b"2", b"3"
TIMEOUT_S = 120.0
MOST_UNUSED = 20
"""So many connections a proxy keeps that nobody uses."""


@dataclass(slots=True)
class Poller:
    """One client.

    :param request: with ``%x`` in the place of what clients add against caches: each is another one.
    :param sock: the connection of its polls; ``None`` before the first one, and where the server closes each.
    :param used: whether a poll was answered on it.
    """

    sid: str
    request: bytes
    sock: socket.socket | None = None
    used: bool = False
    data: bytes = b""


class Pollers:
    """Clients of one server on long polling.

    :param port: on 127.0.0.1.
    :param proxied: have them share their connections, as a proxy does: a poll goes on the one that was unused longest,
        whoever's that was.
    """

    def __init__(self, port: int, *, proxied: bool = False) -> None:
        self.port = port
        self.proxied = proxied
        self._unused: deque[socket.socket] = deque()
        self.clients: list[Poller] = []
        self.polls = 0
        self.answers = 0
        self.reconnects = 0
        self.repeated = 0
        self._by_fd: dict[int, Poller] = {}
        self._poll = select.epoll()
        self._posts: socket.socket | None = None

    def join(self, count: int) -> None:
        """Open sessions that are in the default namespace and have nothing to hear."""
        for _ in range(count):
            opened = self._exchange("GET", TARGET)
            sid = json.loads(opened[1:])["sid"]
            target = f"{TARGET}&sid={sid}"
            self._exchange("POST", target, b"40")
            assert self._exchange("GET", target).startswith(b"40")
            request = f"GET {target}&t=%x HTTP/1.1\r\n{HEADERS.format(port=self.port)}\r\n".encode()
            self.clients.append(Poller(sid, request))

    def ask(self, target: str, count: int, *, keeps: bool) -> None:
        """Be clients of an application that answers at once.

        :param keeps: whether a connection may be used again.
        """
        more = "" if keeps else "Connection: close\r\n"
        request = f"GET {target}?t=%x HTTP/1.1\r\n{HEADERS.format(port=self.port)}{more}\r\n".encode()
        self.clients = [Poller("", request) for _ in range(count)]

    def until_answered(self, count: int) -> None:
        """Wait for so many more answers with an event in them; each client asks again and again."""
        wanted = self.answers + count
        self._until(lambda: self.answers >= wanted)

    def poll_all(self) -> None:
        """Have every client poll."""
        for client in self.clients:
            self._send(client)

    def rounds(self, count: int) -> None:
        """Have the server send an event to all, so many times, each when all have polled again."""
        blast = b'42["blast",1,0]'
        for _ in range(count):
            wanted = self.answers + len(self.clients)
            self._exchange("POST", f"{TARGET}&sid={self.clients[0].sid}", blast)
            self._until(lambda wanted=wanted: self.answers >= wanted)  # type: ignore[misc]  # bound default

    def pause(self, seconds: float) -> None:
        """Answer pings only."""
        until_s = time.monotonic() + seconds
        self._until(lambda: time.monotonic() >= until_s)

    def close(self) -> None:
        """Drop every client."""
        for sock in (*self._unused, *(client.sock for client in self.clients)):
            if sock is not None:
                sock.close()
        if self._posts is not None:
            self._posts.close()
        self._poll.close()

    def _until(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while not done():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.answers} answers, more were expected")
            for fd, _ in self._poll.poll(0.1):
                if fd in self._by_fd:
                    self._read(self._by_fd[fd])
                else:
                    self._lose(fd)

    def _lose(self, fd: int) -> None:
        """Drop a connection that the server has closed while nobody used it."""
        sock = next(sock for sock in self._unused if sock.fileno() == fd)
        self._unused.remove(sock)
        self._poll.unregister(fd)
        sock.close()

    def _read(self, client: Poller) -> None:
        assert client.sock is not None
        try:
            part = client.sock.recv(65_536)
        except BlockingIOError:
            return
        except ConnectionResetError:
            part = b""
        client.data += part
        found = _response(client.data)
        if found is None:
            if not part and client.used and not client.data:
                # The server gave the connection up as the request was on its way; RFC 9112, section 9.5: ask again.
                self.repeated += 1
                self._drop(client)
                self._send(client)
            elif not part:
                raise ConnectionError(f"the server closed a new connection after {client.data[:100]!r}")
            return
        keeps, body = found
        client.data = b""
        client.used = True
        if not keeps:
            self._drop(client)
        elif self.proxied:
            self._share(client)
        if body == PING:
            self._exchange("POST", f"{TARGET}&sid={client.sid}", PONG)
        elif b"tick" in body:
            self.answers += 1
        self._send(client)

    def _drop(self, client: Poller) -> None:
        assert client.sock is not None
        fd = client.sock.fileno()
        self._poll.unregister(fd)
        del self._by_fd[fd]
        client.sock.close()
        client.sock = None
        self.reconnects += 1

    def _share(self, client: Poller) -> None:
        assert client.sock is not None
        self._unused.append(client.sock)
        del self._by_fd[client.sock.fileno()]
        client.sock, client.used = None, False
        if len(self._unused) > MOST_UNUSED:
            client.sock, client.used = self._unused.popleft(), True
            self._by_fd[client.sock.fileno()] = client

    def _send(self, client: Poller) -> None:
        if client.sock is None:
            client.sock = socket.create_connection(("127.0.0.1", self.port), timeout=30)
            client.sock.setblocking(False)
            client.used = False
            self._by_fd[client.sock.fileno()] = client
            self._poll.register(client.sock.fileno(), select.EPOLLIN)
        self.polls += 1
        client.sock.send(client.request % self.polls)

    def _exchange(self, method: str, target: str, body: bytes = b"") -> bytes:
        """Send one request on the connection that is kept for that, and return the body of its answer."""
        length = f"Content-Length: {len(body)}\r\nContent-Type: text/plain\r\n" if body else ""
        head = f"{method} {target} HTTP/1.1\r\n{HEADERS.format(port=self.port)}{length}\r\n"
        for _ in range(2):
            if self._posts is None:
                self._posts = socket.create_connection(("127.0.0.1", self.port), timeout=30)
            try:
                return self._answered(self._posts, head.encode() + body)
            except ConnectionError:  # it was kept for too long
                self._posts.close()
                self._posts = None
        raise ConnectionError(f"{method} was not answered")

    def _answered(self, sock: socket.socket, request: bytes) -> bytes:
        sock.sendall(request)
        data = b""
        while (found := _response(data)) is None:
            part = sock.recv(65_536)
            if not part:
                raise ConnectionResetError("no answer")
            data += part
        if not found[0]:
            sock.close()
            self._posts = None
        return found[1]


def _response(data: bytes) -> tuple[bool, bytes] | None:
    """Return whether the connection is kept, and the body; ``None`` if the response is not complete."""
    head, end, body = data.partition(b"\r\n\r\n")
    if not end:
        return None
    lines = head.lower().split(b"\r\n")
    if b" 200 " not in lines[0] + b" ":
        raise RuntimeError(data.decode(errors="replace"))
    fields = dict(line.split(b": ", 1) for line in lines[1:])
    size = int(fields[b"content-length"])
    return (fields.get(b"connection") != b"close", body) if len(body) >= size else None
