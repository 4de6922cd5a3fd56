"""The load generator: raw sockets and one epoll loop, no Socket.IO library.

It speaks just enough of the protocol to connect over WebSocket, to send events and to count what comes back. It is
pinned to a core of its own, so that the server's CPU time is the server's alone.
"""

from __future__ import annotations

import base64
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

HANDSHAKE = (
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) bench/1\r\nAccept-Encoding: gzip, deflate\r\n"
    "Accept-Language: en\r\nCache-Control: no-cache\r\nPragma: no-cache\r\n\r\n"
)
ZERO_MASK = b"\0\0\0\0"
RANDOM_MASK = b"\x5a\xc3\x17\x88"
ECHO = b'["echo",{"seq":1,"text":"the quick brown fox jumps"}]'


def frame(text: bytes) -> bytes:
    """Return a masked client frame with a text, as a browser sends it."""
    size = len(text)
    mask = RANDOM_MASK
    masked = bytes(byte ^ mask[index & 3] for index, byte in enumerate(text))
    if size < 126:
        return bytes((0x81, 0x80 | size)) + mask + masked
    return struct.pack("!BBH", 0x81, 0xFE, size) + mask + masked


@dataclass(slots=True)
class Client:
    """One connected client."""

    sock: socket.socket
    rest: bytes = b""
    joined: bool = False
    received: int = 0
    sent_at: float = 0.0


@dataclass(slots=True)
class Timings:
    """What a run took.

    :param wall_s: from the first byte sent to the last one expected, seconds.
    :param latencies_s: of each acknowledged event, seconds.
    """

    wall_s: float = 0.0
    latencies_s: list[float] = field(default_factory=list)


class Generator:
    """Clients of one server.

    :param port: on 127.0.0.1.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.clients: dict[int, Client] = {}
        self.stalled = 0
        self._poll = select.epoll()

    def connect_stalled(self, count: int) -> None:
        """Connect more clients, which then read nothing more and for which the kernels buffer little."""
        before = set(self.clients)
        self.connect(count, narrow=True)
        for fd in self.clients.keys() - before:
            self._poll.unregister(fd)
        self.stalled += count

    def connect(
        self,
        count: int,
        *,
        at_once: int = 50,
        timeout_s: float = 120,
        narrow: bool = False,
        users: Iterator[str] | None = None,
    ) -> float:
        """Connect more clients and join the default namespace; return how long it took, seconds.

        :param users: whom each says to be in its CONNECT packet.
        :param narrow: with small segments and a small receive buffer. By the size of the segments Linux chooses the
            server's send buffer: 2 MB for a client on the same machine, which would take all that a benchmark sends.
        """
        started = time.perf_counter()
        done = 0
        while done < count:
            batch = min(at_once, count - done)
            fresh = [self._open(narrow) for _ in range(batch)]
            waiting = {client.sock.fileno() for client in fresh}

            def on_text(client: Client, text: bytes, waiting: set[int] = waiting) -> None:
                if text[:1] == b"0":
                    client.sock.send(frame(b"40" if users is None else b'40"%s"' % next(users).encode()))
                elif text[:2] == b"40":
                    client.joined = True
                    waiting.discard(client.sock.fileno())

            self._loop(on_text, lambda waiting=waiting: not waiting, timeout_s)  # type: ignore[misc]  # bound default
            done += batch
        return time.perf_counter() - started

    def broadcast(
        self,
        count: int,
        *,
        window: int = 20,
        timeout_s: float = 300,
        size: int = 0,
        askers: Sequence[Client] | None = None,
    ) -> Timings:
        """Have the server send so many events to everybody; wait until all clients that read have all of them.

        :param size: least length of each event's text.
        :param askers: who has it sent: one client of each process, where these reach their own clients only.
        """
        if askers is None:
            askers = [next(iter(self.clients.values()))]
        reading = len(self.clients) - self.stalled
        expected = count * reading
        total = 0
        asked = 0

        def ask() -> None:
            nonlocal asked
            step = min(window, count - asked)
            if step:
                asked += step
                for asker in askers:
                    asker.sock.send(frame(b'42["blast",%d,%d]' % (step, size)))

        def on_text(client: Client, text: bytes) -> None:
            nonlocal total
            if text[:9] == b'42["tick"':
                total += 1
                if total == asked * reading:
                    ask()

        started = time.perf_counter()
        ask()
        self._loop(on_text, lambda: total >= expected, timeout_s)
        return Timings(time.perf_counter() - started)

    def events(
        self,
        count: int,
        *,
        in_flight: int = 50,
        timeout_s: float = 300,
        payload: bytes = ECHO,
        clients: Sequence[Client] | None = None,
    ) -> Timings:
        """Send so many events that ask for an ack, one after the other per client, some clients at a time.

        :param payload: name and arguments of the event, JSON.
        :param clients: which may send; without, all.
        """
        message = frame(b"421" + payload)
        busy = list(self.clients.values() if clients is None else clients)[:in_flight]
        sent = answered = 0
        timings = Timings()

        def send(client: Client) -> None:
            nonlocal sent
            if sent < count:
                sent += 1
                client.sent_at = time.perf_counter()
                client.sock.send(message)

        def on_text(client: Client, text: bytes) -> None:
            nonlocal answered
            if text[:3] == b"431":
                answered += 1
                timings.latencies_s.append(time.perf_counter() - client.sent_at)
                send(client)

        started = time.perf_counter()
        for client in busy:
            send(client)
        self._loop(on_text, lambda: answered >= count, timeout_s)
        timings.wall_s = time.perf_counter() - started
        return timings

    def paced(self, seconds: float, each_s: float) -> Timings:
        """Let each client send an event that asks for an ack every so many seconds, once the last one was answered.

        The latency of an event that had to wait for the answer to the one before includes that wait.
        """
        message = frame(b'421["echo",{"seq":1,"text":"the quick brown fox jumps"}]')
        clients = list(self.clients.values())
        started = time.perf_counter()
        due = [(started + each_s * number / len(clients), client) for number, client in enumerate(clients)]
        waiting: set[int] = set()
        timings = Timings()

        def on_text(client: Client, text: bytes) -> None:
            if text[:3] == b"431":
                timings.latencies_s.append(time.perf_counter() - client.sent_at)
                waiting.discard(client.sock.fileno())

        position = 0
        until_s = started + seconds
        while (now_s := time.perf_counter()) < until_s + 10 and (now_s < until_s or waiting):
            while position < len(due) and due[position][0] <= now_s and now_s < until_s:
                at_s, client = due[position]
                if client.sock.fileno() in waiting:
                    break
                position += 1
                due.append((at_s + each_s, client))
                client.sent_at = at_s
                waiting.add(client.sock.fileno())
                client.sock.send(message)
            self._once(on_text, max(min(due[position][0], until_s) - time.perf_counter(), 0.0005))
        timings.wall_s = time.perf_counter() - started
        # What was never answered has waited at least that long.
        timings.latencies_s += [
            time.perf_counter() - client.sent_at for client in clients if client.sock.fileno() in waiting
        ]
        return timings

    def send_paced(self, texts: Sequence[tuple[Client, bytes]], each_s: float) -> int:
        """Send texts, one every so many seconds, and read meanwhile; return how many came.

        :param texts: if there are none, it reads for so many seconds.
        """
        heard = 0

        def on_text(client: Client, text: bytes) -> None:
            nonlocal heard
            heard += 1

        started = time.perf_counter()
        for number in range(max(len(texts), 1)):
            for client, text in texts[number : number + 1]:
                client.sock.send(frame(text))
            while (left_s := started + (number + 1) * each_s - time.perf_counter()) > 0:
                self._once(on_text, left_s)
            self._once(on_text, 0)
        return heard

    def answer_until(self, done: Callable[[], bool], timeout_s: float = 600) -> None:
        """Acknowledge what is asked."""

        def on_text(client: Client, text: bytes) -> None:
            number, bracket, _ = text[2:].partition(b"[")
            if text[:2] == b"42" and bracket and number:
                client.sock.send(frame(b'43%s["yes"]' % number))

        deadline = time.monotonic() + timeout_s
        while not done():
            if time.monotonic() > deadline:
                raise TimeoutError("what was waited for did not happen in time")
            self._once(on_text, 0.005)

    def get(self, count: int, path: bytes = b"/empty") -> None:
        """Make so many plain requests, each on a new connection: what accepting costs without Socket.IO."""
        request = b"GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n" % path
        for _ in range(count):
            with socket.create_connection(("127.0.0.1", self.port), timeout=20) as sock:
                sock.sendall(request)
                while sock.recv(65_536):
                    pass

    def ask(self, client: Client, payload: bytes, timeout_s: float = 30) -> bytes:
        """Send an event and return what it is acknowledged with, JSON."""
        found: list[bytes] = []

        def on_text(other: Client, text: bytes) -> None:
            if other is client and text[:3] == b"437":
                found.append(text[3:])

        client.sock.send(frame(b"427" + payload))
        self._loop(on_text, lambda: bool(found), timeout_s)
        return found[0]

    def receive(self, clients: Sequence[Client], count: int, timeout_s: float = 60) -> None:
        """Read until these clients have received so many messages together, from the first one on."""
        self._loop(
            lambda client, text: None, lambda: sum(client.received for client in clients) >= count, timeout_s
        )

    def adopt(self, sock: socket.socket, rest: bytes = b"") -> Client:
        """Drive one more WebSocket, which has joined the default namespace already."""
        sock.setblocking(False)
        client = Client(sock, rest, joined=True)
        self.clients[sock.fileno()] = client
        self._poll.register(sock.fileno(), select.EPOLLIN)
        return client

    def drop(self, client: Client) -> None:
        """Close one client."""
        fd = client.sock.fileno()
        self._poll.unregister(fd)
        del self.clients[fd]
        client.sock.close()

    def close(self) -> None:
        """Close every client."""
        for client in self.clients.values():
            client.sock.close()
        self.clients.clear()
        self._poll.close()

    def _open(self, narrow: bool) -> Client:
        sock = socket.socket()
        sock.settimeout(30)
        if narrow:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", self.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = base64.b64encode(os.urandom(16)).decode()
        sock.sendall(HANDSHAKE.format(port=self.port, key=key).encode())
        head = b""
        while b"\r\n\r\n" not in head:
            data = sock.recv(65_536)
            if not data:
                raise ConnectionError(f"no WebSocket: {head!r}")
            head += data
        head, _, rest = head.partition(b"\r\n\r\n")
        if b" 101 " not in head.split(b"\r\n")[0]:
            raise ConnectionError(head.decode(errors="replace"))
        sock.setblocking(False)
        client = Client(sock, rest)
        self.clients[sock.fileno()] = client
        self._poll.register(sock.fileno(), select.EPOLLIN)
        return client

    def _loop(
        self, on_text: Callable[[Client, bytes], None], done: Callable[[], bool], timeout_s: float
    ) -> None:
        deadline = time.monotonic() + timeout_s
        for client in list(self.clients.values()):
            self._take(client, b"", on_text)
        while not done():
            if time.monotonic() > deadline:
                raise TimeoutError("the server did not send what was expected in time")
            self._once(on_text, 1.0)

    def _once(self, on_text: Callable[[Client, bytes], None], timeout_s: float) -> None:
        for fd, _ in self._poll.poll(timeout_s):
            client = self.clients[fd]
            try:
                data = client.sock.recv(262_144)
            except BlockingIOError:
                continue
            if not data:
                raise ConnectionError("the server closed a connection")
            self._take(client, data, on_text)

    def _take(self, client: Client, data: bytes, on_text: Callable[[Client, bytes], None]) -> None:
        data = client.rest + data
        start = 0
        while len(data) - start >= 2:
            size, head = data[start + 1] & 127, 2
            if size == 126:
                if len(data) - start < 4:
                    break
                size, head = int.from_bytes(data[start + 2 : start + 4], "big"), 4
            if len(data) - start < head + size:
                break
            text = data[start + head : start + head + size]
            start += head + size
            if text == b"2":
                client.sock.send(frame(b"3"))
            else:
                client.received += 1
                on_text(client, text)
        client.rest = data[start:]
