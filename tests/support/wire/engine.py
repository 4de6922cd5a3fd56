"""Engine.IO 4 as raw as it comes: the test decides what is sent and sees what arrives.

Source: engine.io-protocol v4, "Transports" and "Packet encoding".
"""

from __future__ import annotations

import base64
import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import websocket

from support.wire import remember
from support.wire.http import HOST, Response, request

SEPARATOR = "\x1e"
TIMEOUT_S = 5.0


class Closed(Exception):
    """The connection or session ended.

    :param code: WebSocket close code, or ``None`` if there was none.
    """

    def __init__(self, code: int | None = None) -> None:
        super().__init__(f"closed with code {code}")
        self.code = code


def target(path: str = "/socket.io/", **query: str) -> str:
    """Make a request target; ``EIO=4`` is added unless given, and left out when given empty."""
    fields = {"EIO": "4", **query}
    return f"{path}?{urlencode({name: value for name, value in fields.items() if value != ''})}"


class WebSocket:
    """A WebSocket that yields whole messages and tells an orderly end from a time-out."""

    def __init__(
        self,
        port: int,
        *,
        sid: str | None = None,
        path: str = "/socket.io/",
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """Open it.

        :raises websocket.WebSocketBadStatusException: when the server refuses the upgrade.
        """
        fields = {"transport": "websocket", **({} if sid is None else {"sid": sid}), **(query or {})}
        self.timeout_s = timeout_s
        self._socket: websocket.WebSocket = websocket.create_connection(
            f"ws://{HOST}:{port}{target(path, **fields)}",
            timeout=timeout_s,
            header=headers or {},
            suppress_origin=True,
            redirect_limit=0,
        )
        remember(self)

    @property
    def headers(self) -> Mapping[str, str]:
        """Return the headers of the 101, names in lower case."""
        return self._socket.getheaders() or {}

    def send(self, message: str | bytes) -> None:
        """Send one message, as a text or a binary frame."""
        if isinstance(message, str):
            self._socket.send(message)
        else:
            self._socket.send_binary(message)

    def ping(self) -> None:
        """Wait for the answer to a ping: then the server counts this connection, a moment after its 101."""
        self._socket.ping()
        opcode, _ = self._socket.recv_data(control_frame=True)
        assert opcode == websocket.ABNF.OPCODE_PONG

    def send_raw(self, data: bytes) -> None:
        """Write bytes to the TCP connection, past all framing."""
        assert self._socket.sock is not None
        self._socket.sock.sendall(data)

    def receive(self, *, timeout_s: float | None = None) -> str | bytes:
        """Return the next message.

        :raises Closed: when the server ended the connection.
        :raises TimeoutError: when nothing arrived in time.
        """
        self._socket.settimeout(self.timeout_s if timeout_s is None else max(timeout_s, 0.001))
        try:
            opcode, data = self._socket.recv_data()
        except websocket.WebSocketTimeoutException:
            raise TimeoutError("no message arrived in time") from None
        except (websocket.WebSocketConnectionClosedException, ConnectionError):
            raise Closed from None
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            raise Closed(int.from_bytes(data[:2], "big") if len(data) >= 2 else None)
        return data.decode() if opcode == websocket.ABNF.OPCODE_TEXT else bytes(data)

    def wait_closed(self, *, timeout_s: float = TIMEOUT_S) -> int | None:
        """Read until the server ends the connection, and return the close code.

        :raises TimeoutError: when it stays open.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                self.receive(timeout_s=deadline - time.monotonic())
            except Closed as closed:
                return closed.code
            if time.monotonic() > deadline:
                raise TimeoutError("the connection stayed open")

    def close(self) -> None:
        """Close with a close frame."""
        self._socket.close(timeout=1)

    def abort(self) -> None:
        """Drop the TCP connection without a word."""
        with contextlib.suppress(websocket.WebSocketException):
            self._socket.shutdown()


@dataclass(frozen=True, slots=True)
class Handshake:
    """The fields of the OPEN packet, by their names on the wire."""

    fields: dict[str, Any]

    @property
    def sid(self) -> str:
        """Return the session id."""
        sid: str = self.fields["sid"]
        return sid


def parse_open(packet: str | bytes) -> Handshake:
    """Read an OPEN packet.

    :raises AssertionError: if it is another packet.
    """
    assert isinstance(packet, str), f"expected an OPEN packet, got {packet!r}"
    assert packet.startswith("0"), f"expected an OPEN packet, got {packet!r}"
    return Handshake(json.loads(packet[1:]))


def decode_payload(body: str) -> list[str | bytes]:
    """Split a polling payload into messages as a WebSocket would carry them."""
    packets = body.split(SEPARATOR) if body else []
    return [base64.b64decode(packet[1:]) if packet.startswith("b") else packet for packet in packets]


def encode_payload(*packets: str | bytes) -> str:
    """Join messages to a polling payload."""
    return SEPARATOR.join(p if isinstance(p, str) else "b" + base64.b64encode(p).decode() for p in packets)


class Polling:
    """A polling session: opened by the constructor, then one request per call."""

    def __init__(
        self,
        port: int,
        *,
        path: str = "/socket.io/",
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        self.port = port
        self.path = path
        self.headers = headers or {}
        opened = request(
            port, "GET", target(path, transport="polling", **(query or {})), headers=self.headers
        )
        assert opened.status == 200, f"the handshake failed: {opened}"
        self.opened = opened
        self.handshake = parse_open(opened.text)
        self.sid = self.handshake.sid

    @property
    def target(self) -> str:
        """Return the target of this session's requests."""
        return target(self.path, transport="polling", sid=self.sid)

    def get(self, *, timeout_s: float = TIMEOUT_S) -> Response:
        """Poll once."""
        return request(self.port, "GET", self.target, headers=self.headers, timeout_s=timeout_s)

    def post(self, *packets: str | bytes) -> Response:
        """Send packets in one payload."""
        return request(self.port, "POST", self.target, body=encode_payload(*packets), headers=self.headers)

    def receive(self, *, timeout_s: float = TIMEOUT_S) -> list[str | bytes]:
        """Poll once and return the packets.

        :raises Closed: when the session is gone.
        """
        answer = self.get(timeout_s=timeout_s)
        if answer.status != 200:
            raise Closed
        return decode_payload(answer.text)
