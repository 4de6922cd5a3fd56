"""What carries Engine.IO packets, for many clients in one event loop: WebSocket and polling, written byte for byte.

They can do what a client library would not: stop reading, vanish, reset, break off in the middle of a frame.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from typing import Protocol

from flask_socketio_core.testing.rawclient import BINARY, CLOSE, PING, PONG, TEXT, handshake, masked
from support.wire.engine import Closed, decode_payload, encode_payload, parse_open, target
from support.wire.http import HOST

NOOP = "6"
LINGER_NOT = b"\1\0\0\0\0\0\0\0"  # l_onoff=1, l_linger=0: close with a reset
ANSWER_S = 60.0
"""Seconds that a server may take for a handshake or a POST, on a busy machine."""


class Line(Protocol):
    """A way to one session."""

    name: str

    async def send(self, *packets: str | bytes) -> None:
        """Send packets.

        :raises OSError: when the connection is gone.
        :raises Closed: when the session is.
        """

    async def receive(self) -> str | bytes:
        """Return the next packet; raises as :meth:`send` does."""

    def reset(self) -> None:
        """Reset what is open."""


class WebSocketLine:
    """A WebSocket; :meth:`open` makes one."""

    name = "websocket"

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int, sid: str = "") -> WebSocketLine:
        """Open one, for a session that exists or a new one.

        :raises Closed: when the server does not switch protocols.
        """
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(handshake(target(transport="websocket", sid=sid)))
        line = cls(reader, writer)
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), ANSWER_S)
            if not head.startswith(b"HTTP/1.1 101 "):
                raise Closed
        except BaseException:
            line.reset()
            raise
        return line

    async def send(self, *packets: str | bytes) -> None:
        for packet in packets:
            text = isinstance(packet, str)
            self._writer.write(
                masked(TEXT if text else BINARY, packet.encode() if isinstance(packet, str) else packet)
            )
        await self._writer.drain()

    async def receive(self) -> str | bytes:
        while True:
            opcode, payload = await self._read_frame()
            if opcode == PING:
                self._writer.write(masked(PONG, payload))
            elif opcode == CLOSE:
                raise Closed(int.from_bytes(payload[:2], "big") if payload else None)
            else:
                return payload.decode() if opcode == TEXT else payload

    async def _read_frame(self) -> tuple[int, bytes]:
        try:
            head = await self._reader.readexactly(2)
            size = head[1] & 0x7F
            if size > 125:
                size = int.from_bytes(await self._reader.readexactly(2 if size == 126 else 8), "big")
            return head[0] & 0x0F, await self._reader.readexactly(size)
        except asyncio.IncompleteReadError:
            raise Closed from None

    async def wait_end(self) -> None:
        """Read whatever comes until the server ends the connection."""
        with contextlib.suppress(OSError):
            while await self._reader.read(65_536):
                pass

    def close(self) -> None:
        """Send a close frame, and leave the rest to the server."""
        self._writer.write(masked(CLOSE, b"\x03\xe8"))

    def break_off(self) -> None:
        """Write half a frame."""
        self._writer.write(masked(TEXT, b"4" + 100 * b"x")[:50])

    def reset(self) -> None:
        _reset(self._writer)


class PollingLine:
    """A polling session; :meth:`open` makes one. A connection per request, as some proxies do."""

    name = "polling"

    def __init__(self, port: int) -> None:
        self.sid = ""
        self.port = port
        self._received: deque[str | bytes] = deque()
        self._open: set[asyncio.StreamWriter] = set()

    @classmethod
    async def open(cls, port: int) -> PollingLine:
        """Make the handshake; its OPEN packet can be received."""
        line = cls(port)
        packets = decode_payload(await asyncio.wait_for(line._request("GET"), ANSWER_S))
        line.sid = parse_open(packets[0]).sid
        line._received.extend(packets)
        return line

    async def send(self, *packets: str | bytes) -> None:
        await asyncio.wait_for(self._request("POST", encode_payload(*packets)), ANSWER_S)

    async def receive(self) -> str | bytes:
        while not self._received:
            self._received.extend(decode_payload(await self._request("GET")))
        return self._received.popleft()

    def take_rest(self) -> list[str | bytes]:
        """Return what has been polled and not been received."""
        rest = list(self._received)
        self._received.clear()
        return rest

    async def _request(self, method: str, body: str = "") -> str:
        data = body.encode()
        reader, writer = await asyncio.open_connection(HOST, self.port)
        self._open.add(writer)
        try:
            lines = [
                f"{method} {target(transport='polling', sid=self.sid)} HTTP/1.1",
                f"Host: {HOST}",
                "Connection: close",
                f"Content-Length: {len(data)}",
            ]
            writer.write("\r\n".join([*lines, "", ""]).encode() + data)
            head, _, answer = (await reader.read()).partition(b"\r\n\r\n")
            if b" 200 " not in head.partition(b"\r\n")[0]:
                raise Closed
            return answer.decode()
        finally:
            self._open.discard(writer)
            writer.close()

    def reset(self) -> None:
        for writer in list(self._open):
            _reset(writer)


def _reset(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        sock: socket.socket = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
    writer.transport.abort()


async def upgraded(polling: PollingLine) -> WebSocketLine:
    """Probe with a WebSocket. Then the poll is answered with a NOOP, and the client says ``5`` on the WebSocket.

    Source: engine.io-protocol v4, "Upgrade".
    """
    line = await WebSocketLine.open(polling.port, polling.sid)
    try:
        await line.send("2probe")
        answer = await asyncio.wait_for(line.receive(), ANSWER_S)
        assert answer == "3probe", answer
    except BaseException:
        line.reset()
        raise
    return line
