"""A WebSocket made of bare bytes, for what a well-behaved client library would never send.

Source: RFC 6455, sections 4.1 (handshake), 5.2 (frames), 7.4 (close codes).
"""

from __future__ import annotations

import base64
import hashlib
import os
import socket
from dataclasses import dataclass

from support.wire import remember
from support.wire.engine import TIMEOUT_S, Closed, target
from support.wire.http import HOST

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

NORMAL = 1000
PROTOCOL_ERROR = 1002
INVALID_DATA = 1007
TOO_BIG = 1009

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame of the server."""

    opcode: int
    payload: bytes
    fin: bool = True


def frame(opcode: int, payload: bytes | str, *, fin: bool = True, masked: bool = True, rsv: int = 0) -> bytes:
    """Build a client frame; the mask is random, as it must be."""
    data = payload.encode() if isinstance(payload, str) else payload
    first = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    bit = 0x80 if masked else 0
    if len(data) < 126:
        length = bytes([bit | len(data)])
    elif len(data) < 1 << 16:
        length = bytes([bit | 126]) + len(data).to_bytes(2, "big")
    else:
        length = bytes([bit | 127]) + len(data).to_bytes(8, "big")
    if not masked:
        return first + length + data
    mask = os.urandom(4)
    return first + length + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))


def handshake_request(port: int, headers: dict[str, str | None] | None = None, **query: str) -> bytes:
    """Build the upgrade request.

    :param headers: replaces headers; ``None`` as a value leaves one out.
    """
    fields: dict[str, str | None] = {
        "Host": f"{HOST}:{port}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": base64.b64encode(b"sixteen bytes ok").decode(),
        "Sec-WebSocket-Version": "13",
        **(headers or {}),
    }
    lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return "\r\n".join([f"GET {target(transport='websocket', **query)} HTTP/1.1", *lines, "", ""]).encode()


def accept_key(key: str) -> str:
    """Compute ``Sec-WebSocket-Accept``."""
    return base64.b64encode(hashlib.sha1((key + _GUID).encode()).digest()).decode()


class FrameSocket:
    """A TCP connection that asked for a WebSocket.

    :param after_request: bytes sent in the same segment as the request.
    :raises Closed: when the server does not switch protocols.
    """

    def __init__(self, port: int, *, after_request: bytes = b"", **query: str) -> None:
        self._socket = socket.create_connection((HOST, port), timeout=TIMEOUT_S)
        self._buffer = b""
        remember(self)
        self._socket.sendall(handshake_request(port, None, **query) + after_request)
        self.head = ""
        self.head = self._read_head()
        if not self.head.startswith("HTTP/1.1 101"):
            self.abort()
            raise Closed

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._socket.sendall(data)

    def read(self) -> Frame:
        """Read one frame.

        :raises Closed: when the server ends the TCP connection.
        :raises TimeoutError: when no frame arrives.
        """
        first, second = self._take(2)
        assert not second & 0x80, "a server must not mask its frames"
        size = second & 0x7F
        if size == 126:
            size = int.from_bytes(self._take(2), "big")
        elif size == 127:
            size = int.from_bytes(self._take(8), "big")
        return Frame(first & 0x0F, self._take(size), bool(first & 0x80))

    def read_text(self) -> str:
        """Read one text frame.

        :raises AssertionError: if it is another one.
        """
        found = self.read()
        assert found.opcode == TEXT, f"expected text, got {found}"
        return found.payload.decode()

    def close_code(self) -> int | None:
        """Read to the end and return the code of the server's close frame, or ``None`` if it sent none."""
        code = None
        try:
            while True:
                found = self.read()
                if found.opcode == CLOSE and found.payload:
                    code = int.from_bytes(found.payload[:2], "big")
        except Closed:
            return code

    def abort(self) -> None:
        """Drop the connection."""
        self._socket.close()

    def _read_head(self) -> str:
        while b"\r\n\r\n" not in self._buffer:
            self._receive()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        return head.decode("latin-1")

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._receive()
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def _receive(self) -> None:
        try:
            data = self._socket.recv(65536) if self._socket.fileno() >= 0 else b""
        except ConnectionError:
            data = b""
        if not data:
            self.abort()
            raise Closed
        self._buffer += data
