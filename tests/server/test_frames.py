"""WebSocket frames: what a client may send, what it may not, and what we send."""

from __future__ import annotations

import sys
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_socketio_core.errors import PayloadTooLarge, ProtocolError
from flask_socketio_core.websocket_protocol.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    FrameReader,
    Message,
    binary_frame,
    build_frame,
    close_frame,
    may_be_sent,
    pong_frame,
    text_frame,
    unmask,
)

LIMIT = 1_000_000
KEY = b"\x37\xfa\x21\x3d"  # of the examples in RFC 6455, section 5.7


def client_frame(opcode: int, payload: bytes, *, fin: bool = True, key: bytes = KEY) -> bytes:
    """Build a masked frame, as a client sends it, byte by byte."""
    plain = build_frame(opcode, payload, fin=fin)
    head = plain[: len(plain) - len(payload)]
    body = bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))
    return bytes((head[0], head[1] | 0x80)) + head[2:] + key + body


def close_payload(code: int, reason: bytes = b"") -> bytes:
    return code.to_bytes(2, "big") + reason


def read(*pieces: bytes, limit: int = LIMIT) -> tuple[list[Message], ProtocolError | None]:
    reader = FrameReader(limit)
    found = [message for piece in pieces for message in reader.feed(piece)]
    return found, reader.error


# A conversation with one of everything, and what it means.
CONVERSATION: tuple[tuple[bytes, list[Message]], ...] = (
    (client_frame(TEXT, b"2probe"), [(TEXT, "2probe")]),
    (client_frame(TEXT, b""), [(TEXT, "")]),
    (client_frame(PING, b"are you there"), [(PING, b"are you there")]),
    (client_frame(TEXT, "\N{SNOWMAN}".encode() * 41), [(TEXT, "\N{SNOWMAN}" * 41)]),
    (client_frame(TEXT, b"x" * 125), [(TEXT, "x" * 125)]),
    (client_frame(TEXT, b"x" * 126), [(TEXT, "x" * 126)]),
    (client_frame(BINARY, bytes(range(256)) * 3), [(BINARY, bytes(range(256)) * 3)]),
    (client_frame(BINARY, b""), [(BINARY, b"")]),
    (client_frame(TEXT, b"4\xe2\x98", fin=False), []),
    (client_frame(PONG, b""), [(PONG, b"")]),
    (client_frame(CONTINUATION, b"", fin=False), []),
    (client_frame(CONTINUATION, b"\x83!"), [(TEXT, "4\N{SNOWMAN}!")]),
    (client_frame(BINARY, b"\xff", fin=False), []),
    (client_frame(CONTINUATION, b"\xfe", key=b"\0\0\0\0"), [(BINARY, b"\xff\xfe")]),
    (client_frame(CLOSE, close_payload(1001, b"bye")), [(CLOSE, close_payload(1001, b"bye"))]),
)
ALL_BYTES = b"".join(frame for frame, _ in CONVERSATION)
ALL_MESSAGES = [message for _, messages in CONVERSATION for message in messages]


def test_each_frame_gives_its_messages_at_once() -> None:
    reader = FrameReader(LIMIT)
    assert [reader.feed(frame) for frame, _ in CONVERSATION] == [messages for _, messages in CONVERSATION]
    assert reader.error is None


def test_frames_that_come_together_give_the_same_messages() -> None:
    assert read(ALL_BYTES) == (ALL_MESSAGES, None)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64, 127])
def test_pieces_of_any_size_give_the_same_messages(size: int) -> None:
    pieces = [ALL_BYTES[start : start + size] for start in range(0, len(ALL_BYTES), size)]
    assert read(*pieces) == (ALL_MESSAGES, None)


def test_a_split_at_any_byte_gives_the_same_messages() -> None:
    for split in range(len(ALL_BYTES) + 1):
        assert read(ALL_BYTES[:split], ALL_BYTES[split:]) == (ALL_MESSAGES, None), f"split at {split}"


def test_an_empty_piece_changes_nothing() -> None:
    assert read(b"", ALL_BYTES[:1], b"", ALL_BYTES[1:], b"") == (ALL_MESSAGES, None)


@pytest.mark.parametrize("size", [125, 126, 65_535, 65_536, 131_072, 131_073, 999_999, LIMIT])
def test_every_form_of_length_is_read(size: int) -> None:
    payload = bytes(index * 7 & 0xFF for index in range(size))
    frame = client_frame(BINARY, payload)
    pieces = [frame[start : start + 65_536] for start in range(0, len(frame), 65_536)]
    assert read(*pieces) == ([(BINARY, payload)], None)


def test_the_examples_of_the_rfc_are_read() -> None:
    masked_hello = bytes.fromhex("818537fa213d7f9f4d5158")
    masked_pong = bytes.fromhex("8a8537fa213d7f9f4d5158")
    assert read(masked_hello, masked_pong) == ([(TEXT, "Hello"), (PONG, b"Hello")], None)


VIOLATIONS = {
    "no mask": (build_frame(TEXT, b"hello"), 1002, "without a mask"),
    "no mask, empty": (b"\x81\x00", 1002, "without a mask"),
    "reserved bit 1": (b"\xc1" + client_frame(TEXT, b"a")[1:], 1002, "reserved bits"),
    "reserved bit 2": (b"\xa1" + client_frame(TEXT, b"a")[1:], 1002, "reserved bits"),
    "reserved bit 3": (b"\x91" + client_frame(TEXT, b"a")[1:], 1002, "reserved bits"),
    **{
        f"opcode {opcode}": (client_frame(opcode, b""), 1002, f"reserved opcode 0x{opcode:x}")
        for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
    },
    "fragmented ping": (client_frame(PING, b"", fin=False), 1002, "fragmented control frame"),
    "fragmented close": (client_frame(CLOSE, b"", fin=False), 1002, "fragmented control frame"),
    "ping of 126 bytes": (client_frame(PING, b"x" * 126), 1002, "more than 125 bytes"),
    "nothing to continue": (client_frame(CONTINUATION, b"a"), 1002, "nothing to continue"),
    "interleaved message": (
        client_frame(TEXT, b"a", fin=False) + client_frame(TEXT, b"b"),
        1002,
        "in the middle of a fragmented one",
    ),
    "highest bit of the length": (b"\x82\xff" + b"\xff" * 8 + KEY, 1002, "highest bit"),
    "invalid UTF-8": (client_frame(TEXT, b"\xff"), 1007, "not UTF-8"),
    "half a character": (client_frame(TEXT, b"\xe2\x98"), 1007, "not UTF-8"),
    "a surrogate": (client_frame(TEXT, b"\xed\xa0\x80"), 1007, "not UTF-8"),
    "invalid UTF-8 in fragments": (
        client_frame(TEXT, b"\xe2", fin=False) + client_frame(CONTINUATION, b"\x98"),
        1007,
        "not UTF-8",
    ),
    "close of one byte": (client_frame(CLOSE, b"\x03"), 1002, "invalid code"),
    **{
        f"close code {code}": (client_frame(CLOSE, close_payload(code)), 1002, f"invalid code {code}")
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535)
    },
    "close reason not UTF-8": (client_frame(CLOSE, close_payload(1000, b"\xff")), 1007, "not UTF-8"),
}


@pytest.mark.parametrize(("bad", "code", "text"), VIOLATIONS.values(), ids=list(VIOLATIONS))
def test_a_violation_keeps_what_came_before_it(bad: bytes, code: int, text: str) -> None:
    before = client_frame(TEXT, b"good")
    for pieces in ((before + bad,), (before, bad), [bytes((byte,)) for byte in before + bad]):
        found, error = read(*pieces, client_frame(TEXT, b"too late"))
        assert found == [(TEXT, "good")]
        assert error is not None
        assert error.close_code == code
        assert text in str(error)


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1011, 1012, 1014, 3000, 4999])
def test_a_close_code_that_may_be_sent_is_accepted(code: int) -> None:
    payload = close_payload(code, "\N{SNOWMAN}".encode())
    assert read(client_frame(CLOSE, payload)) == ([(CLOSE, payload)], None)


def test_nothing_is_read_after_a_close_frame() -> None:
    late = client_frame(TEXT, b"late")
    assert read(client_frame(CLOSE, b"") + late, late) == ([(CLOSE, b"")], None)


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("announced", [101, 126, 65_536, 1 << 40])
def test_an_oversize_frame_is_refused_by_its_header(opcode: int, announced: int) -> None:
    length = announced.to_bytes(8, "big")
    found, error = read(bytes((0x80 | opcode, 0xFF)) + length + KEY, limit=100)
    assert found == []
    assert isinstance(error, PayloadTooLarge)
    assert (error.size, error.limit, error.close_code) == (announced, 100, 1009)


def test_the_limit_itself_is_allowed() -> None:
    assert read(client_frame(TEXT, b"x" * 100), limit=100) == ([(TEXT, "x" * 100)], None)
    assert isinstance(read(client_frame(TEXT, b"x" * 101), limit=100)[1], PayloadTooLarge)


def test_fragments_are_limited_together() -> None:
    start = client_frame(BINARY, b"x" * 60, fin=False)
    assert read(start, client_frame(CONTINUATION, b"x" * 40), limit=100)[1] is None
    error = read(start, client_frame(CONTINUATION, b"x" * 41)[:6], limit=100)[1]
    assert isinstance(error, PayloadTooLarge)
    assert error.size == 101


def test_an_idle_reader_is_small() -> None:
    reader = FrameReader(LIMIT)
    reader.feed(ALL_BYTES[:-9])  # all but the end of the close frame
    reader = FrameReader(LIMIT)
    for frame, _ in CONVERSATION[:-1]:
        reader.feed(frame)
    assert sys.getsizeof(reader) < 150
    held = [getattr(reader, name) for name in reader.__slots__]
    assert not any(isinstance(value, (bytes, bytearray, list)) for value in held)


def test_empty_fragments_take_no_memory() -> None:
    reader = FrameReader(LIMIT)
    reader.feed(client_frame(TEXT, b"", fin=False))
    empty = client_frame(CONTINUATION, b"", fin=False)
    tracemalloc.start()
    try:
        for _ in range(10_000):
            reader.feed(empty)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 10_000
    assert reader.feed(client_frame(CONTINUATION, b"end")) == [(TEXT, "end")]


def test_a_big_message_in_tiny_pieces_is_copied_once() -> None:
    # Quadratic buffering would take minutes here.
    payload = b"0123456789" * 40_000
    frame = client_frame(BINARY, payload)
    assert read(*(frame[start : start + 2] for start in range(0, len(frame), 2))) == (
        [(BINARY, payload)],
        None,
    )


@pytest.mark.parametrize(
    ("size", "head"),
    [(0, "8100"), (125, "817d"), (126, "817e007e"), (65_535, "817effff"), (65_536, "817f0000000000010000")],
)
def test_our_frames_have_the_shortest_length_and_no_mask(size: int, head: str) -> None:
    payload = b"x" * size
    assert text_frame(payload) == text_frame("x" * size) == build_frame(TEXT, payload)
    assert text_frame(payload) == bytes.fromhex(head) + payload


def test_our_frames_carry_their_opcode() -> None:
    assert binary_frame(b"ab") == b"\x82\x02ab"
    assert pong_frame(b"ab") == b"\x8a\x02ab"
    assert build_frame(TEXT, b"a", fin=False) == b"\x01\x01a"


def test_a_close_frame_fits_and_never_ends_in_half_a_character() -> None:
    assert close_frame(1001) == b"\x88\x02\x03\xe9"
    assert close_frame(1002, "bad") == b"\x88\x05\x03\xeabad"
    assert close_frame(1000, "x" + "\N{SNOWMAN}" * 50)[4:].decode() == "x" + "\N{SNOWMAN}" * 40


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 2999, 5000])
def test_a_code_that_may_not_be_sent_is_refused(code: int) -> None:
    assert not may_be_sent(code)
    with pytest.raises(ValueError, match=f"{code} is not a WebSocket close code that may be sent"):
        close_frame(code)


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4), st.sampled_from((1, 1000)))
def test_unmasking_is_the_masking_of_the_rfc(payload: bytes, key: bytes, repeat: int) -> None:
    payload *= repeat  # both ways of doing it
    masked = unmask(payload, key)
    assert masked[:300] == bytes(byte ^ key[index % 4] for index, byte in enumerate(payload[:300]))
    assert unmask(bytearray(masked), key) == payload


messages = st.one_of(
    st.tuples(st.just(TEXT), st.text(max_size=200)),
    st.tuples(st.just(BINARY), st.binary(max_size=200)),
    st.tuples(st.sampled_from((PING, PONG)), st.binary(max_size=125)),
)


@given(st.data(), st.lists(messages, max_size=5))
def test_any_messages_survive_any_fragmentation_and_any_split(
    data: st.DataObject, sent: list[Message]
) -> None:
    stream = bytearray()
    for opcode, value in sent:
        payload = value.encode() if isinstance(value, str) else value
        cut = data.draw(st.integers(0, len(payload))) if opcode in (TEXT, BINARY) else 0
        key = data.draw(st.binary(min_size=4, max_size=4))
        if cut:
            stream += client_frame(opcode, payload[:cut], fin=False, key=key)
            opcode = CONTINUATION
        stream += client_frame(opcode, payload[cut:], key=key)
    split = data.draw(st.integers(0, len(stream)))
    assert read(bytes(stream[:split]), bytes(stream[split:])) == (sent, None)


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_any_bytes_give_messages_or_an_error_and_never_an_exception(pieces: list[bytes]) -> None:
    whole = read(b"".join(pieces), limit=1000)
    parts = read(*pieces, limit=1000)
    assert whole[0] == parts[0]
    assert str(whole[1]) == str(parts[1])
