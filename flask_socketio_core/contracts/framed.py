"""A blocking WebSocket over a socket that the web server keeps: TLS, or one whose descriptor cannot be found."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..websocket_protocol.deflate import DEFLATE, Deflate, DeflatedFrameReader, agree
from ..websocket_protocol.frames import (
    BINARY,
    CLOSE,
    PING,
    TEXT,
    FrameReader,
    binary_frame,
    close_frame,
    pong_frame,
    text_frame,
)
from ..websocket_protocol.handshake import HEADERS, accept_value, response_head
from .websocket_provider import BlockingTransport

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

__all__ = ["open_framed"]


GONE = (OSError, EOFError, ValueError)
"""What sockets, green sockets and buffered readers raise once they are closed."""


class FramedSocketTransport(BlockingTransport):
    """Speak RFC 6455 over three functions of a connected socket.

    :param recv: returns some bytes, at most so many, waiting for the first; ``b""`` at the end.
    :param sendall: writes all of its bytes, waiting as long as need be.
    :param shutdown: ends the connection in both directions, and a ``recv`` that waits.
    :param max_message_bytes: larger messages are refused before they are buffered.
    :param first_bytes: what was received before.
    :param deflate: makes the frames if compression was agreed on.
    """

    def __init__(
        self,
        *,
        recv: Callable[[int], bytes],
        sendall: Callable[[bytes], object],
        shutdown: Callable[[], object],
        max_message_bytes: int,
        first_bytes: bytes = b"",
        deflate: Deflate | None = None,
    ) -> None:
        self._recv = recv
        self._sendall = sendall
        self._shutdown = shutdown
        self._deflate = deflate
        self._reader = (FrameReader if deflate is None else DeflatedFrameReader)(max_message_bytes)
        self._arrived = deque(self._reader.feed(first_bytes)) if first_bytes else deque()
        self._unsent: deque[bytes] = deque()
        self._sending = threading.Lock()  # never waited for, so it suits greenlets as well
        self._closed = False  # nothing more is read or written
        self._ended = False  # shut down as well

    def receive(self) -> str | bytes | None:
        while not self._closed:
            while self._arrived:
                opcode, value = self._arrived.popleft()
                if opcode in (TEXT, BINARY):
                    return value
                self._control(opcode, value)
            if self._reader.error is not None:
                raise self._reader.error
            if not self._closed:
                self._read()
        return None

    def send(self, message: str | bytes) -> None:
        if self._closed:
            raise BrokenPipeError("the WebSocket is closed")
        if self._deflate is not None:
            self._write(self._deflate.frame(message))
        else:
            self._write(text_frame(message) if isinstance(message, str) else binary_frame(message))

    def close(self, code: int = 1000, reason: str = "") -> None:
        if self._ended:
            return
        self._ended = True
        open_until_now, self._closed = not self._closed, True
        try:
            if open_until_now and code:
                self._write(close_frame(code, reason))
        except GONE:
            pass  # the peer was faster
        try:
            self._shutdown()
        except GONE:
            pass

    def _read(self) -> None:
        if self._reader.more:
            self._arrived.extend(self._reader.feed(b""))
            return
        try:
            data = self._recv(self._reader.wanted)
        except GONE:
            data = b""
        if data:
            self._arrived.extend(self._reader.feed(data))
        else:
            self._closed = True

    def _control(self, opcode: int, value: str | bytes) -> None:
        if self.on_control is not None:
            self.on_control()
        payload = value if isinstance(value, bytes) else value.encode()
        if opcode == PING:
            try:
                self._write(pong_frame(payload))
            except GONE:
                self._closed = True
        elif opcode == CLOSE:
            # The code is echoed. Source: RFC 6455, section 5.5.1.
            self.close(int.from_bytes(payload[:2], "big") or 1000)

    def _write(self, frame: bytes) -> None:
        """Send a frame, or leave it to the task that is sending now: a pong and a message must not be interleaved."""
        self._unsent.append(frame)
        while self._unsent and self._sending.acquire(blocking=False):
            try:
                while self._unsent:
                    self._sendall(self._unsent.popleft())
            finally:
                self._sending.release()


def open_framed(
    environ: WSGIEnvironment,
    start_response: StartResponse,
    *,
    recv: Callable[[int], bytes],
    sendall: Callable[[bytes], object],
    shutdown: Callable[[], object],
    max_message_bytes: int,
    first_bytes: bytes = b"",
    handshake_done: bool = False,
) -> FramedSocketTransport | None:
    """Complete a validated handshake on a socket and return the open transport; ``None`` if the peer is gone.

    The parameters are those of ``FramedSocketTransport``.

    :param handshake_done: the server has written the 101 response already.
    """
    deflate: Deflate | None = None
    if not handshake_done:
        key = environ["HTTP_SEC_WEBSOCKET_KEY"].strip()
        deflate, headers = agree(environ, environ.get(DEFLATE))
        if HEADERS in environ:
            headers = environ[HEADERS](environ, headers)
        try:
            sendall(response_head(accept_value(key), headers))
        except GONE:
            return None
    # For the server's access log; it writes the same to the socket when the request is over, and that is shut down.
    start_response("101 Switching Protocols", [])
    return FramedSocketTransport(
        recv=recv,
        sendall=sendall,
        shutdown=shutdown,
        max_message_bytes=max_message_bytes,
        first_bytes=first_bytes,
        deflate=deflate,
    )
