"""The blocking WebSocket over a socket that the web server keeps."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from functools import partial

import pytest

from flask_socketio_core.contracts.framed import FramedSocketTransport, open_framed
from flask_socketio_core.errors import ProtocolError
from flask_socketio_core.testing.rawclient import BINARY, CLOSE, PING, PONG, TEXT, masked

MAX_BYTES = 1000
Pair = tuple[FramedSocketTransport, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Give a transport and its client's socket."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(5)
    with ours, theirs:
        yield make_transport(ours), theirs


def make_transport(sock: socket.socket, first_bytes: bytes = b"") -> FramedSocketTransport:
    """Speak WebSocket over a socket."""
    return FramedSocketTransport(
        recv=sock.recv,
        sendall=sock.sendall,
        shutdown=partial(sock.shutdown, socket.SHUT_RDWR),
        max_message_bytes=MAX_BYTES,
        first_bytes=first_bytes,
    )


def frame(opcode: int, payload: bytes) -> bytes:
    """Build a short frame of a server."""
    return bytes((0x80 | opcode, len(payload))) + payload


def test_text_and_binary_arrive_as_such(pair: Pair) -> None:
    transport, client = pair
    client.sendall(masked(TEXT, "grüß".encode()) + masked(BINARY, b"\x00"))
    assert transport.receive() == "grüß"
    assert transport.receive() == b"\x00"


def test_text_and_binary_are_sent_as_such(pair: Pair) -> None:
    transport, client = pair
    transport.send("text")
    transport.send(b"binary")
    assert client.recv(100) == frame(TEXT, b"text") + frame(BINARY, b"binary")


def test_what_came_with_the_handshake_comes_first() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        transport = make_transport(ours, masked(TEXT, b"early") + masked(TEXT, b"half")[:3])
        assert transport.receive() == "early"
        theirs.sendall(masked(TEXT, b"half")[3:])
        assert transport.receive() == "half"


def test_a_ping_is_answered_without_a_message(pair: Pair) -> None:
    transport, client = pair
    client.sendall(masked(PING, b"?") + masked(TEXT, b"message"))
    assert transport.receive() == "message"
    assert client.recv(100) == frame(PONG, b"?")


def test_a_close_frame_is_answered_with_its_code(pair: Pair) -> None:
    transport, client = pair
    client.sendall(masked(CLOSE, b"\x03\xe9"))
    assert transport.receive() is None
    assert client.recv(100) == frame(CLOSE, b"\x03\xe9")
    assert client.recv(100) == b""


def test_the_end_of_the_connection_is_the_end(pair: Pair) -> None:
    transport, client = pair
    client.close()
    assert transport.receive() is None
    with pytest.raises(OSError, match="closed"):
        transport.send("nobody")


def test_too_much_is_refused_with_its_code(pair: Pair) -> None:
    transport, client = pair
    client.sendall(masked(BINARY, b"x" * (MAX_BYTES + 1))[:8])
    with pytest.raises(
        ProtocolError, match=r"packet of 1001 bytes exceeds max_http_buffer_size=1000"
    ) as caught:
        transport.receive()
    assert caught.value.close_code == 1009


def test_messages_before_a_violation_are_not_lost(pair: Pair) -> None:
    transport, client = pair
    client.sendall(masked(TEXT, b"fine") + b"\x81\x01x")
    assert transport.receive() == "fine"
    with pytest.raises(ProtocolError, match="without a mask"):
        transport.receive()


def test_closing_wakes_the_reader_and_says_why(pair: Pair) -> None:
    transport, client = pair
    received: list[object] = []
    reader = threading.Thread(target=lambda: received.append(transport.receive()))
    reader.start()
    transport.close(1001, "bye")
    transport.close()
    reader.join(5)
    assert received == [None]
    assert client.recv(100) == frame(CLOSE, b"\x03\xe9bye")


def test_a_pong_does_not_split_a_message_that_is_being_sent() -> None:
    sent: list[bytes] = []
    entered, gate = threading.Event(), threading.Event()

    def sendall(data: bytes) -> None:
        entered.set()
        gate.wait(5)
        sent.append(data)

    arrivals = iter([masked(PING, b"?"), b""])
    transport = FramedSocketTransport(
        recv=lambda _: next(arrivals), sendall=sendall, shutdown=lambda: None, max_message_bytes=MAX_BYTES
    )
    writer = threading.Thread(target=transport.send, args=("message",))
    writer.start()
    entered.wait(5)
    assert transport.receive() is None  # the pong is left to the writer
    gate.set()
    writer.join(5)
    assert sent == [frame(TEXT, b"message"), frame(PONG, b"?")]


def test_the_handshake_is_answered_on_the_socket_and_told_to_the_server() -> None:
    said, written = list[str](), list[bytes]()

    def start_response(status: str, *_: object) -> object:
        said.append(status)
        return written.append

    transport = open_framed(
        {"HTTP_SEC_WEBSOCKET_KEY": "dGhlIHNhbXBsZSBub25jZQ=="},
        start_response,  # type: ignore[arg-type]  # a protocol with overloads for nothing
        recv=lambda _: b"",
        sendall=written.append,
        shutdown=lambda: None,
        max_message_bytes=MAX_BYTES,
    )
    assert transport is not None
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in written[0]
    assert said == ["101 Switching Protocols"]


def test_a_client_that_is_gone_gets_no_transport() -> None:
    def sendall(data: bytes) -> None:
        raise BrokenPipeError

    opened = open_framed(
        {"HTTP_SEC_WEBSOCKET_KEY": "dGhlIHNhbXBsZSBub25jZQ=="},
        lambda *_: lambda data: None,
        recv=lambda _: b"",
        sendall=sendall,
        shutdown=lambda: None,
        max_message_bytes=MAX_BYTES,
    )
    assert opened is None
