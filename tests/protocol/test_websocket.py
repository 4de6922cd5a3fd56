"""The WebSocket transport: RFC 6455 below, Engine.IO packets above.

Source: RFC 6455, sections 4.2 (handshake), 5.4 (fragmentation), 5.5 (control frames), 7.4 (close codes);
engine.io-protocol v4, "WebSocket" and "Heartbeat".
"""

from __future__ import annotations

import base64
import json
import socket
import time
from typing import TYPE_CHECKING

import pytest

from support.servers import Server, wait_until
from support.wire.engine import Closed, WebSocket
from support.wire.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    INVALID_DATA,
    NORMAL,
    PING,
    PONG,
    PROTOCOL_ERROR,
    TEXT,
    TOO_BIG,
    Frame,
    FrameSocket,
    accept_key,
    frame,
    handshake_request,
)
from support.wire.http import HOST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.servers import StartServer


def connected(server: Server) -> FrameSocket:
    """Open a WebSocket that is in the default namespace."""
    client = FrameSocket(server.port)
    assert client.read_text().startswith("0{")
    client.send(frame(TEXT, "40"))
    assert client.read_text().startswith("40{")
    return client


@pytest.fixture
def client(server: Server) -> Iterator[FrameSocket]:
    """Give a WebSocket that is in the default namespace."""
    opened = connected(server)
    yield opened
    opened.abort()


def upgrade_status(server: Server, headers: dict[str, str | None]) -> int:
    """Ask for an upgrade with other headers and return the status of the answer."""
    with socket.create_connection((HOST, server.port), timeout=5) as connection:
        connection.sendall(handshake_request(server.port, headers))
        return int(connection.recv(4096).split()[1])


def test_handshake_answers_the_key(server: Server) -> None:
    client = FrameSocket(server.port)
    client.abort()
    fields = dict(line.lower().split(": ", 1) for line in client.head.split("\r\n")[1:])
    key = base64.b64encode(b"sixteen bytes ok").decode()
    assert fields["sec-websocket-accept"] == accept_key(key).lower()
    assert fields["upgrade"] == "websocket"
    assert fields["connection"] == "upgrade"
    assert "sec-websocket-extensions" not in fields


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-WebSocket-Key": None},
        {"Sec-WebSocket-Key": "too short"},
        {"Sec-WebSocket-Key": "no base64 at all"},
        {"Sec-WebSocket-Version": None},
        {"Sec-WebSocket-Version": "8"},
        {"Upgrade": None},
        {"Connection": "keep-alive"},
    ],
)
def test_bad_upgrade_request_is_refused(server: Server, headers: dict[str, str | None]) -> None:
    begin = len(server.log_text())
    assert upgrade_status(server, headers) in (400, 426)
    assert server.get("/ready").status == 200
    assert "Traceback" not in server.log_text()[begin:]


def test_upgrade_headers_may_be_spelled_freely(server: Server) -> None:
    assert upgrade_status(server, {"Upgrade": "WebSocket", "Connection": "keep-alive, upgrade"}) == 101


def test_frames_in_the_same_segment_as_the_request_are_not_lost(server: Server) -> None:
    ping = frame(PING, b"early")
    client = FrameSocket(server.port, after_request=frame(TEXT, "40") + ping[:4])
    client.send(ping[4:])
    assert client.read_text().startswith("0{")
    assert {client.read().opcode, client.read().opcode} == {
        TEXT,
        PONG,
    }  # the answer to CONNECT takes a handler
    client.abort()


def test_text_and_binary_go_both_ways(client: FrameSocket) -> None:
    client.send(frame(TEXT, '451-["message",{"_placeholder":true,"num":0}]') + frame(BINARY, b"0\x00\xff"))
    assert client.read_text() == '451-["message-back",{"_placeholder":true,"num":0}]'
    assert client.read() == Frame(BINARY, b"0\x00\xff")


@pytest.mark.parametrize("size", [0, 1, 100, 125, 126, 127, 65_000, 65_535, 65_536, 200_000])
def test_messages_of_every_size_class(client: FrameSocket, size: int) -> None:
    client.send(frame(TEXT, f'42["message","{"x" * size}"]'))
    assert json.loads(client.read_text()[2:]) == ["message-back", "x" * size]


def test_frame_may_arrive_byte_by_byte(client: FrameSocket) -> None:
    for byte in frame(TEXT, '42["message","é"]'):
        client.send(bytes([byte]))
    assert json.loads(client.read_text()[2:]) == ["message-back", "é"]


def test_many_frames_may_arrive_at_once(client: FrameSocket) -> None:
    client.send(b"".join(frame(TEXT, f'42{number}["message-with-ack"]') for number in range(200)))
    assert {client.read_text() for _ in range(200)} == {f"43{number}[]" for number in range(200)}


def test_fragments_are_joined_even_across_a_character(client: FrameSocket) -> None:
    text = '42["message","é☃"]'.encode()
    middle = text.index("☃".encode()) + 1
    client.send(frame(TEXT, text[:5], fin=False))
    client.send(frame(CONTINUATION, text[5:middle], fin=False))
    client.send(frame(PING, b"in between"))
    client.send(frame(CONTINUATION, text[middle:]))
    assert client.read() == Frame(PONG, b"in between")
    assert json.loads(client.read_text()[2:]) == ["message-back", "é☃"]


def test_ping_frame_is_answered_with_its_payload(client: FrameSocket) -> None:
    client.send(frame(PING, b"x" * 125))
    assert client.read() == Frame(PONG, b"x" * 125)


def test_unexpected_pong_frame_is_ignored(client: FrameSocket) -> None:
    client.send(frame(PONG, b"nobody asked") + frame(TEXT, '42["message",1]'))
    assert client.read_text() == '42["message-back",1]'


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        pytest.param(frame(TEXT, "2", masked=False), PROTOCOL_ERROR, id="unmasked"),
        pytest.param(frame(TEXT, "2", rsv=1), PROTOCOL_ERROR, id="reserved bit"),
        pytest.param(frame(TEXT, "2", rsv=4), PROTOCOL_ERROR, id="compressed without agreement"),
        pytest.param(frame(0x3, "2"), PROTOCOL_ERROR, id="unknown opcode"),
        pytest.param(frame(0xB, "2"), PROTOCOL_ERROR, id="unknown control opcode"),
        pytest.param(frame(PING, b"x" * 126), PROTOCOL_ERROR, id="long ping"),
        pytest.param(frame(PING, b"x", fin=False), PROTOCOL_ERROR, id="fragmented ping"),
        pytest.param(frame(CONTINUATION, "2"), PROTOCOL_ERROR, id="continuation of nothing"),
        pytest.param(frame(TEXT, "4", fin=False) + frame(TEXT, "2"), PROTOCOL_ERROR, id="unfinished message"),
        pytest.param(frame(CLOSE, b"\x03"), PROTOCOL_ERROR, id="half a close code"),
        pytest.param(frame(CLOSE, (1005).to_bytes(2, "big")), PROTOCOL_ERROR, id="close code never sent"),
        pytest.param(frame(CLOSE, b"\x03\xe8\xff"), INVALID_DATA, id="close reason not UTF-8"),
        pytest.param(frame(TEXT, b'42["\xff"]'), INVALID_DATA, id="not UTF-8"),
        pytest.param(frame(TEXT, b'42["\xed\xa0\x80"]'), INVALID_DATA, id="a lone surrogate"),
    ],
)
def test_broken_frame_ends_the_connection_with_its_code(
    server: Server, client: FrameSocket, sent: bytes, code: int
) -> None:
    client.send(sent)
    assert client.close_code() == code
    server.wait_journal("disconnect")


@pytest.mark.one_kind
def test_message_beyond_the_limit_ends_the_connection(start: StartServer) -> None:
    server = start(max_http_buffer_size=1000)
    client = connected(server)
    client.send(frame(TEXT, f'42["message","{"x" * 900}"]'))
    assert client.read_text().startswith('42["message-back"')
    client.send(frame(TEXT, f'42["message","{"x" * 1000}"]'))
    assert client.close_code() == TOO_BIG
    said = "packet of 1016 bytes exceeds max_http_buffer_size=1000"
    assert wait_until(lambda: said in server.log_text(), timeout_s=15), server.log_text()


def test_message_beyond_the_limit_is_refused_before_it_arrives(server: Server, client: FrameSocket) -> None:
    client.send(bytes([0x82, 0xFF]) + (1 << 40).to_bytes(8, "big") + b"mask")
    assert client.close_code() == TOO_BIG
    server.wait_journal("disconnect")


@pytest.mark.one_kind
def test_fragments_count_together_against_the_limit(start: StartServer) -> None:
    client = connected(start(max_http_buffer_size=1000))
    client.send(frame(TEXT, "4" * 600, fin=False) + frame(CONTINUATION, "4" * 600, fin=False))
    assert client.close_code() == TOO_BIG


def test_close_frame_is_answered_and_ends_the_session(server: Server, client: FrameSocket) -> None:
    client.send(frame(CLOSE, (NORMAL).to_bytes(2, "big") + b"bye"))
    assert client.close_code() == NORMAL
    assert server.wait_journal("disconnect")[-1] == ["disconnect", "/", "transport close"]


def test_dropped_connection_ends_the_session(server: Server, client: FrameSocket) -> None:
    client.abort()
    assert server.wait_journal("disconnect")[-1] == ["disconnect", "/", "transport close"]


@pytest.mark.parametrize("packet", ["abc", "9", ""])
def test_invalid_engine_packet_ends_the_connection(server: Server, client: FrameSocket, packet: str) -> None:
    client.send(frame(TEXT, packet))
    client.close_code()
    with pytest.raises((Closed, ConnectionError)):
        client.read()
    server.wait_journal("disconnect")


def test_close_packet_ends_the_connection(server: Server, client: FrameSocket) -> None:
    client.send(frame(TEXT, "1"))
    client.close_code()
    assert server.wait_journal("disconnect")[-1] == ["disconnect", "/", "client disconnect"]


def test_server_pings_and_a_pong_keeps_the_connection(hasty: Server) -> None:
    client = WebSocket(hasty.port)
    client.receive()
    begin = time.monotonic()
    for _ in range(3):
        assert client.receive() == "2"
        client.send("3")
    assert 0.75 <= time.monotonic() - begin <= 2.0
    client.abort()


def test_client_that_answers_no_ping_is_closed(hasty: Server) -> None:
    client = connected(hasty)
    begin = time.monotonic()
    client.close_code()
    assert 0.4 <= time.monotonic() - begin <= 1.5
    assert hasty.wait_journal("disconnect")[-1] == ["disconnect", "/", "ping timeout"]


def test_other_traffic_does_not_count_as_a_pong(hasty: Server) -> None:
    client = connected(hasty)
    begin = time.monotonic()

    def chatter() -> None:
        while time.monotonic() - begin < 3:
            client.send(frame(TEXT, '42["note"]'))
            client.send(frame(PING, b""))
            client.read()

    with pytest.raises((Closed, ConnectionError)):
        chatter()
    assert time.monotonic() - begin < 1.5


def test_broken_client_does_not_disturb_others(server: Server, client: FrameSocket) -> None:
    others = [connected(server) for _ in range(3)]
    for number, sent in enumerate((frame(0x3, "2"), b"\xff" * 20, frame(TEXT, "4zzz"))):
        others[number].send(sent)
    for other in others:
        other.close_code()
    client.send(frame(TEXT, '42["message",1]'))
    assert client.read_text() == '42["message-back",1]'


@pytest.mark.parametrize("begun", [b"", frame(TEXT, '42["message",1]')[:9]], ids=["idle", "mid-frame"])
def test_connection_reset_does_not_disturb_others(server: Server, client: FrameSocket, begun: bytes) -> None:
    other = connected(server)
    other.send(begun)
    linger = (1).to_bytes(4, "little") + (0).to_bytes(4, "little")
    other._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    other.abort()  # with no linger time the kernel sends RST instead of FIN
    assert ["disconnect", "/", "transport error"] in server.wait_journal("disconnect")
    client.send(frame(TEXT, '42["message",1]'))
    assert client.read_text() == '42["message-back",1]'
