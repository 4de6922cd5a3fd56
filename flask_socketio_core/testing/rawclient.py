"""A WebSocket client that sends exactly the bytes it is told to."""

from __future__ import annotations

import base64
import os
import socket
import ssl
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
TIMEOUT_S = 5.0


def masked(opcode: int, payload: bytes, *, mask: bytes = b"\x11\x22\x33\x44") -> bytes:
    """Build a client's frame."""
    length = len(payload)
    head = bytes((0x80 | opcode,))
    if length < 126:
        head += bytes((0x80 | length,))
    elif length < 0x10000:
        head += bytes((0x80 | 126,)) + length.to_bytes(2, "big")
    else:
        head += bytes((0x80 | 127,)) + length.to_bytes(8, "big")
    long_mask = (mask * (length // 4 + 1))[:length]
    body = (int.from_bytes(payload, "big") ^ int.from_bytes(long_mask, "big")).to_bytes(length, "big")
    return head + mask + body


def handshake(path: str = "/") -> bytes:
    """Build an upgrade request."""
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class RawClient:
    """A connection to a server on loopback.

    :param port: where it listens.
    :param tls: speak TLS, without looking at the certificate.
    """

    def __init__(self, port: int, *, tls: bool = False) -> None:
        sock = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            sock = context.wrap_socket(sock)
        self.sock = sock
        self._rest = b""

    def __enter__(self) -> RawClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.sock.sendall(data)

    def upgrade(self, *, more: bytes = b"") -> RawClient:
        """Send the upgrade request, and more bytes in the same segment; read the answer.

        :raises AssertionError: if it is not 101.
        """
        self.send(handshake() + more)
        head = self.read_head()
        assert head.startswith("HTTP/1.1 101 "), head
        return self

    def read_head(self) -> str:
        """Read the head of an HTTP response."""
        while b"\r\n\r\n" not in self._rest:
            self._fill()
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        return head.decode("latin-1")

    def read_frame(self) -> tuple[int, bytes]:
        """Read one frame of the server, its opcode and payload."""
        head = self._take(2)
        length = head[1] & 0x7F
        if length > 125:
            length = int.from_bytes(self._take(2 if length == 126 else 8), "big")
        return head[0] & 0x0F, self._take(length)

    def read_rest(self) -> bytes:
        """Read until the server closes the connection."""
        try:
            while True:
                self._fill()
        except (EOFError, ConnectionError, ssl.SSLError):
            rest, self._rest = self._rest, b""
            return rest

    def silence(self, duration_s: float) -> bytes:
        """Return what comes in that time: nothing, if all is well."""
        self.sock.settimeout(duration_s)
        try:
            return self._rest + self.sock.recv(65_536)
        except TimeoutError:
            return self._rest
        finally:
            self.sock.settimeout(TIMEOUT_S)

    def reset(self) -> None:
        """Abort the connection: the server gets a reset instead of end-of-file."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self.sock.close()

    def echo(self, payload: bytes, opcode: int = TEXT) -> bytes:
        """Send a message and return what comes back."""
        self.send(masked(opcode, payload))
        answer, data = self.read_frame()
        assert answer == opcode, (answer, data)
        return data

    def _take(self, count: int) -> bytes:
        while len(self._rest) < count:
            self._fill()
        data, self._rest = self._rest[:count], self._rest[count:]
        return data

    def _fill(self) -> None:
        data = self.sock.recv(65_536)
        if not data:
            raise EOFError(f"the server closed the connection; unread: {self._rest!r}")
        self._rest += data


def get(port: int, path: str = "/", *, tls: bool = False) -> Any:
    """Send a plain request on a connection of its own and return its JSON."""
    import json

    with RawClient(port, tls=tls) as client:
        client.send(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        head, _, body = client.read_rest().partition(b"\r\n\r\n")
        assert b" 200 " in head.splitlines()[0], (head, body)
        return json.loads(body)
