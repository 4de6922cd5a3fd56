"""Bodies of HTTP long-polling."""

from __future__ import annotations

import pytest
from engineio.packet import Packet as UpstreamPacket
from engineio.payload import Payload as UpstreamPayload
from hypothesis import given
from hypothesis import strategies as st

from flask_socketio_core.errors import ProtocolError
from flask_socketio_core.transport.payload import decode_payload, encode_payload

MAX_PACKETS = 16


@pytest.mark.parametrize(
    ("packets", "body"),
    [
        (["4hello"], b"4hello"),
        (["4hello", "2", "4world"], b"4hello\x1e2\x1e4world"),  # the protocol's example
        (["4hello", b"\1\2\3\4"], b"4hello\x1ebAQIDBA=="),  # likewise
        ([b""], b"b"),
        ([b"0123", "6"], b"bMDEyMw==\x1e6"),
        (["4\N{SNOWMAN}"], b"4\xe2\x98\x83"),
        (["4"], b"4"),
    ],
)
def test_packets_and_body_belong_together(packets: list[str | bytes], body: bytes) -> None:
    assert encode_payload(packets) == body
    assert decode_payload(body, MAX_PACKETS) == packets


@pytest.mark.parametrize("body", [b"bAQIDBA==\n", b"bAQID\r\nBA==\r\n"])
def test_base64_may_be_broken_into_lines(body: bytes) -> None:
    # As the Java client does it: a line end after every 76 characters and at the end.
    assert decode_payload(body, MAX_PACKETS) == [b"\1\2\3\4"]


def test_no_packets_make_an_empty_body() -> None:
    assert encode_payload([]) == b""


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "empty Engine.IO packet"),
        (b"4a\x1e", "empty Engine.IO packet"),
        (b"\x1e4a", "empty Engine.IO packet"),
        (b"4a\x1e\x1e4b", "empty Engine.IO packet"),
        (b"abc", "unknown type 'a'"),
        (b"7", "unknown type '7'"),
        (b"4a\x1e9", "unknown type '9'"),
        (b"d=4hello", "unknown type 'd'"),
        ("4a\x1e\N{ARABIC-INDIC DIGIT FOUR}".encode(), "unknown type"),
        (b"4\xff", "not UTF-8"),
        (b"4\xed\xa0\x80", "not UTF-8"),
        (b"bA", "not base64"),
        (b"bAQIDBA", "not base64"),
        (b"bAQID BA==", "not base64"),
        (b"b!QIDBA==", "not base64"),
        (b"bAQIDBA==AQIDBA==", "not base64"),
        (b"b\xc3\xa9", "not base64"),
        (b"\x1e".join([b"2"] * 17), "payload of 17 packets exceeds max_packets_per_payload=16"),
    ],
)
def test_a_malformed_body_is_refused_whole(body: bytes, text: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode_payload(body, MAX_PACKETS)
    assert text in str(caught.value)
    assert caught.value.status == 400


def test_the_limit_itself_is_allowed() -> None:
    assert decode_payload(b"\x1e".join([b"2"] * 16), MAX_PACKETS) == ["2"] * 16


texts = st.text(max_size=50).filter(lambda text: "\x1e" not in text)
packets = st.one_of(
    st.builds(str.__add__, st.sampled_from("0123456"), texts),
    st.binary(max_size=50),
)


@given(st.lists(packets, min_size=1, max_size=MAX_PACKETS))
def test_any_packets_come_back(sent: list[str | bytes]) -> None:
    assert decode_payload(encode_payload(sent), MAX_PACKETS) == sent


@given(st.lists(st.one_of(texts, st.binary(min_size=1, max_size=50)), min_size=1, max_size=MAX_PACKETS))
def test_upstream_writes_and_reads_the_same_bodies(contents: list[str | bytes]) -> None:
    # Upstream reads text that is JSON as JSON, except after a digit, which every Socket.IO packet begins with.
    contents = ["2" + content if isinstance(content, str) else content for content in contents]
    theirs = UpstreamPayload([UpstreamPacket(4, data=content) for content in contents]).encode()
    ours = encode_payload(["4" + content if isinstance(content, str) else content for content in contents])
    assert ours == theirs.encode()
    read = UpstreamPayload(encoded_payload=ours.decode()).packets
    assert [packet.encode() for packet in read if not packet.binary] == [
        packet for packet in decode_payload(ours, MAX_PACKETS) if isinstance(packet, str)
    ]
    assert [packet.data for packet in read if packet.binary] == [
        packet for packet in decode_payload(ours, MAX_PACKETS) if isinstance(packet, bytes)
    ]


@given(st.binary(max_size=100))
def test_any_body_gives_packets_or_a_protocol_error(body: bytes) -> None:
    try:
        found = decode_payload(body, MAX_PACKETS)
    except ProtocolError:
        return
    assert 0 < len(found) <= MAX_PACKETS
