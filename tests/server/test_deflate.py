"""permessage-deflate: what is agreed, what is sent, and what a client may and may not send."""

from __future__ import annotations

import socket
import threading
import tracemalloc
import zlib
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import BytesMessage, TextMessage
from wsproto.events import Message as WsprotoMessage
from wsproto.extensions import PerMessageDeflate

from flask_socketio_core.contracts.framed import open_framed
from flask_socketio_core.errors import PayloadTooLarge, ProtocolError
from flask_socketio_core.transport.detached import _RawFrames
from flask_socketio_core.transport.packets import Outgoing
from flask_socketio_core.websocket_protocol import deflate as deflate_module
from flask_socketio_core.websocket_protocol.deflate import (
    ANSWER,
    DEFLATE,
    Deflate,
    DeflatedFrameReader,
    negotiate,
)
from flask_socketio_core.websocket_protocol.frames import (
    BINARY,
    CONTINUATION,
    PING,
    TEXT,
    Message,
    build_frame,
)
from support.engine import DirectTransport, Host, WokenTransport
from support.wire.frames import frame

LIMIT = 100_000
COMPRESSED = 4  # the reserved bits of a frame that begins a compressed message
HELLO = bytes.fromhex("f248cdc9c90700")  # of the examples in RFC 7692, section 7.2.3

payloads = st.one_of(st.binary(max_size=300), st.binary(max_size=40).map(lambda part: part * 200))
texts = st.one_of(st.text(max_size=300), st.text(max_size=20).map(lambda part: part * 200))


def squeeze(payload: bytes, level: int = -1, strategy: int = zlib.Z_DEFAULT_STRATEGY) -> bytes:
    """Compress a message as a client does."""
    compressor = zlib.compressobj(level, wbits=-15, strategy=strategy)
    whole = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return whole.removesuffix(b"\x00\x00\xff\xff")


def read(*pieces: bytes, limit: int = LIMIT) -> tuple[list[Message], ProtocolError | None]:
    reader = DeflatedFrameReader(limit)
    found = [message for piece in pieces for message in reader.feed(piece)]
    return found, reader.error


@pytest.mark.parametrize(
    ("offers", "answer"),
    [
        ("permessage-deflate", ANSWER),
        ("permessage-deflate; client_max_window_bits", ANSWER),
        ('permessage-deflate;client_max_window_bits="9" ;server_no_context_takeover', ANSWER),
        ("permessage-deflate; client_no_context_takeover; client_max_window_bits=8", ANSWER),
        ("permessage-deflate; server_max_window_bits=15", f"{ANSWER}; server_max_window_bits=15"),
        ("x-webkit-deflate-frame, permessage-deflate", ANSWER),
        ("permessage-deflate; server_max_window_bits=10, permessage-deflate", ANSWER),
        (
            "permessage-deflate; unknown, permessage-deflate; server_max_window_bits=15, permessage-deflate",
            f"{ANSWER}; server_max_window_bits=15",
        ),
    ],
)
def test_the_first_offer_that_can_be_served_is_accepted(offers: str, answer: str) -> None:
    assert negotiate(offers) == answer


@pytest.mark.parametrize(
    "offers",
    [
        "",
        "permessage-bzip2",
        "x-permessage-deflate",
        "permessage-deflate; server_max_window_bits=14",
        "permessage-deflate; server_max_window_bits=8",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=015",
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; client_max_window_bits=",
        'permessage-deflate; client_max_window_bits="10',
        "permessage-deflate; client_max_window_bits; client_max_window_bits",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover=15",
        "permessage-deflate; something_else",
        "permessage-deflate;",
        "; permessage-deflate",
    ],
)
def test_an_offer_that_is_malformed_or_cannot_be_served_is_declined(offers: str) -> None:
    assert negotiate(offers) is None


@given(st.text(alphabet='permssag-dfltcinowbkvxu_15=";, ', max_size=80))
def test_any_offer_is_answered_or_declined(offers: str) -> None:
    assert negotiate(offers) in (None, ANSWER, f"{ANSWER}; server_max_window_bits=15")


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param("f248cdc9c90700", id="one block"),
        pytest.param("000500faff48656c6c6f00", id="no compression"),
        pytest.param("f348cdc9c9070000", id="a last block"),
        pytest.param("f348cdc9c90700", id="a last block and nothing behind it"),
        pytest.param("f24805000000ffffcac9c90700", id="two blocks"),
    ],
)
def test_the_examples_of_the_rfc_are_read(payload: str) -> None:
    assert read(frame(TEXT, bytes.fromhex(payload), rsv=COMPRESSED)) == ([(TEXT, "Hello")], None)


def test_the_fragments_of_the_rfc_are_joined_with_a_control_frame_between() -> None:
    found = read(
        frame(TEXT, HELLO[:3], fin=False, rsv=COMPRESSED), frame(PING, b"?"), frame(CONTINUATION, HELLO[3:])
    )
    assert found == ([(PING, b"?"), (TEXT, "Hello")], None)


@pytest.mark.parametrize("payload", [b"\x00", b"\x02\x00", b"\x01\x00\x00\xff\xff\x00"])
def test_an_empty_message_is_read(payload: bytes) -> None:
    assert read(frame(BINARY, payload, rsv=COMPRESSED)) == ([(BINARY, b"")], None)


def test_plain_and_compressed_messages_may_follow_each_other() -> None:
    sent = [frame(TEXT, HELLO, rsv=COMPRESSED), frame(TEXT, "plain"), frame(TEXT, HELLO, rsv=COMPRESSED)]
    sent += [frame(BINARY, b"pl", fin=False), frame(CONTINUATION, b"ain")]
    assert read(b"".join(sent)) == (
        [(TEXT, "Hello"), (TEXT, "plain"), (TEXT, "Hello"), (BINARY, b"plain")],
        None,
    )


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        pytest.param(frame(PING, b"", rsv=COMPRESSED), 1002, id="compressed ping"),
        pytest.param(
            frame(TEXT, HELLO[:3], fin=False, rsv=COMPRESSED)
            + frame(CONTINUATION, HELLO[3:], rsv=COMPRESSED),
            1002,
            id="compressed twice",
        ),
        pytest.param(
            frame(TEXT, b"a", fin=False) + frame(CONTINUATION, HELLO, rsv=COMPRESSED),
            1002,
            id="compressed late",
        ),
        pytest.param(
            frame(TEXT, HELLO, fin=False, rsv=COMPRESSED) + frame(TEXT, HELLO, rsv=COMPRESSED),
            1002,
            id="interleaved",
        ),
        pytest.param(frame(TEXT, HELLO, rsv=COMPRESSED | 1), 1002, id="another reserved bit"),
        pytest.param(frame(TEXT, HELLO, rsv=2), 1002, id="only another reserved bit"),
        pytest.param(frame(0x3, HELLO, rsv=COMPRESSED), 1002, id="unknown opcode"),
        pytest.param(frame(BINARY, b"\xff\xff\xff", rsv=COMPRESSED), 1007, id="no DEFLATE"),
        pytest.param(frame(BINARY, b"", rsv=COMPRESSED), 1007, id="no stream at all"),
        pytest.param(frame(BINARY, squeeze(b"x" * 99)[:-3], rsv=COMPRESSED), 1007, id="cut off"),
        pytest.param(frame(BINARY, b"\x00\x64\x00\x9b\xffshort", rsv=COMPRESSED), 1007, id="cut off, stored"),
        pytest.param(frame(BINARY, b"\x03\x00" + HELLO, rsv=COMPRESSED), 1007, id="more behind the end"),
        pytest.param(frame(TEXT, squeeze(b"\xff"), rsv=COMPRESSED), 1007, id="not UTF-8"),
    ],
)
def test_what_breaks_the_rules_has_its_close_code(sent: bytes, code: int) -> None:
    found, error = read(frame(TEXT, HELLO, rsv=COMPRESSED) + sent + frame(TEXT, "too late"))
    assert error is not None
    assert error.close_code == code
    assert found == [(TEXT, "Hello")]


def test_a_message_that_grows_beyond_the_limit_is_refused_before_it_takes_memory() -> None:
    bomb = frame(BINARY, squeeze(b"\0" * 50_000_000), rsv=COMPRESSED)
    assert len(bomb) < LIMIT, "its frame is within the limit"
    reader = DeflatedFrameReader(LIMIT)
    tracemalloc.start()
    try:
        found = reader.feed(bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == []
    assert isinstance(reader.error, PayloadTooLarge)
    assert reader.error.close_code == 1009
    assert peak < 8 * LIMIT


def test_the_limit_itself_is_allowed() -> None:
    whole = frame(BINARY, squeeze(b"x" * 1000), rsv=COMPRESSED)
    assert read(whole, limit=1000) == ([(BINARY, b"x" * 1000)], None)
    assert isinstance(read(whole, limit=999)[1], PayloadTooLarge)


@given(st.data(), st.lists(st.one_of(payloads, texts), max_size=4))
def test_what_zlib_makes_is_read_however_it_is_cut(data: st.DataObject, sent: list[str | bytes]) -> None:
    stream, expected = b"", list[Message]()
    for value in sent:
        opcode = TEXT if isinstance(value, str) else BINARY
        expected.append((opcode, value))
        small = squeeze(
            value.encode() if isinstance(value, str) else value,
            level=data.draw(st.integers(0, 9)),
            strategy=data.draw(st.sampled_from((zlib.Z_DEFAULT_STRATEGY, zlib.Z_HUFFMAN_ONLY, zlib.Z_FIXED))),
        )
        cut = data.draw(st.integers(0, len(small)))
        stream += frame(opcode, small[:cut], fin=False, rsv=COMPRESSED) + frame(CONTINUATION, small[cut:])
    split = data.draw(st.integers(0, len(stream)))
    assert read(stream[:split], stream[split:]) == (expected, None)


@given(st.binary(max_size=60), st.integers(0, 200))
def test_any_bytes_give_a_message_or_an_error_and_never_an_exception(payload: bytes, limit: int) -> None:
    found, error = read(frame(BINARY, payload, rsv=COMPRESSED), limit=limit)
    assert (error is None) == bool(found)
    assert all(len(value) <= limit for _, value in found)


@given(st.one_of(payloads, texts), st.integers(0, 100))
def test_wsproto_reads_what_we_send_and_we_read_what_it_sends(message: str | bytes, threshold: int) -> None:
    extension = PerMessageDeflate()
    extension.finalize(ANSWER)
    peer = Connection(ConnectionType.CLIENT, [extension])
    for _ in range(2):  # no context is kept
        peer.receive_data(Deflate(threshold).frame(message))
        parts: list[Any] = [event.data for event in peer.events() if isinstance(event, WsprotoMessage)]
        assert type(message)().join(parts) == message
        as_event = TextMessage(message) if isinstance(message, str) else BytesMessage(message)
        opcode = TEXT if isinstance(message, str) else BINARY
        assert read(peer.send(as_event)) == ([(opcode, message)], None)


@pytest.mark.parametrize(("size", "first"), [(99, 0x81), (100, 0xC1), (5000, 0xC1)])
def test_only_messages_from_the_threshold_on_are_compressed(size: int, first: int) -> None:
    assert Deflate(100).frame("é" * (size // 2) + "e" * (size % 2))[0] == first


def test_a_message_that_would_grow_stays_as_it_is() -> None:
    message = bytes(range(256))
    assert Deflate(0).frame(message) == build_frame(BINARY, message)
    assert Deflate(0).frame("") == build_frame(TEXT, b"")


def test_each_message_of_a_packet_is_compressed_for_itself() -> None:
    packet = Outgoing(("4" + "x" * 100, b"short", b"y" * 100))
    deflate = Deflate(50)
    assert deflate.frames(packet) == b"".join(deflate.frame(part) for part in packet.packets)


def test_control_frames_stay_as_they_are() -> None:
    pong = build_frame(0xA, b"x" * 125)
    assert Deflate(0).frames(_RawFrames(pong)) == pong


def compressing(deflate: Deflate | None, room: int = 1 << 30) -> DirectTransport:
    """Make a transport whose client has agreed."""
    transport = DirectTransport(room=room)
    transport.deflate = deflate
    return transport


def test_a_packet_for_many_is_compressed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[bytes] = []
    real = deflate_module._compressed_frame

    def count(opcode: int, payload: bytes) -> bytes:
        made.append(payload)
        return real(opcode, payload)

    monkeypatch.setattr(deflate_module, "_compressed_frame", count)
    deflate = Deflate(50)
    transports = [compressing(deflate) for _ in range(3)]
    packet = Outgoing(("4" + "x" * 100,))
    for transport in transports:
        Host().open(transport).send(packet)
    assert made == [b"4" + b"x" * 100]
    assert {transport.written for transport in transports} == {packet.deflated}
    for _ in range(3):  # as a transport that takes messages one by one
        assert deflate.frame("4" + "x" * 100) == packet.deflated
    assert len(made) == 1


def test_clients_that_did_not_agree_get_plain_frames() -> None:
    plain, deflated = compressing(None), compressing(Deflate(50))
    packet = Outgoing(("4" + "x" * 100,))
    for transport in (plain, deflated):
        Host().open(transport).send(packet)
    assert plain.written == packet.frames
    assert deflated.written[0] == 0xC1


def test_what_waits_is_compressed_too() -> None:
    transport = compressing(Deflate(50), room=5)
    session = Host().open(transport)
    packets = [Outgoing((f"4{number}" + "x" * 100,)) for number in range(3)]
    for packet in packets:
        session.send(packet)
    transport.room = 1 << 30
    assert session.flush()
    assert transport.written == b"".join(packet.deflated for packet in packets)


def test_a_session_that_is_upgraded_is_compressed_from_then_on() -> None:
    polling, websocket = WokenTransport(), compressing(Deflate(50))
    session = Host().open(polling)
    packet = Outgoing(("4" + "x" * 100,))
    session.send(packet)
    assert session.begin_upgrade(websocket)
    assert session.upgrade(websocket)
    assert websocket.written == packet.deflated


@pytest.mark.parametrize(
    ("environ", "handshake_done", "agreed"),
    [
        pytest.param({DEFLATE: Deflate(50)}, False, True, id="on"),
        pytest.param({}, False, False, id="off"),
        pytest.param({DEFLATE: Deflate(50)}, True, False, id="answered by the server"),
    ],
)
def test_a_framed_socket_compresses_what_was_agreed(
    environ: dict[str, Deflate], handshake_done: bool, agreed: bool
) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(5)
        transport = open_framed(
            {
                "HTTP_SEC_WEBSOCKET_KEY": "dGhlIHNhbXBsZSBub25jZQ==",
                "HTTP_SEC_WEBSOCKET_EXTENSIONS": "permessage-deflate; client_max_window_bits",
                **environ,
            },
            lambda *_: lambda data: None,
            recv=ours.recv,
            sendall=ours.sendall,
            shutdown=partial(ours.shutdown, socket.SHUT_RDWR),
            max_message_bytes=LIMIT,
            handshake_done=handshake_done,
        )
        assert transport is not None
        if not handshake_done:
            assert (f"Sec-WebSocket-Extensions: {ANSWER}\r\n".encode() in theirs.recv(1000)) == agreed
        transport.send("x" * 100)
        assert theirs.recv(1000)[0] == (0xC1 if agreed else 0x81)
        theirs.sendall(frame(TEXT, HELLO, rsv=COMPRESSED))
        if agreed:
            assert transport.receive() == "Hello"
        else:
            with pytest.raises(ProtocolError, match="reserved bits"):
                transport.receive()


def test_many_tasks_may_compress_the_same_packet() -> None:
    deflate, packet = Deflate(50), Outgoing(("4" + "x" * 100_000,))
    made: list[bytes] = []
    tasks = [threading.Thread(target=lambda: made.append(deflate.frames(packet))) for _ in range(8)]
    for task in tasks:
        task.start()
    for task in tasks:
        task.join(5)
    assert len(made) == 8 and len(set(made)) == 1
