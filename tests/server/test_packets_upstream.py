"""Our own path for JSON writes and reads the same as python-socketio's ``Packet``."""

from __future__ import annotations

from typing import Any

import pytest
from engineio.packet import Packet as EnginePacket
from hypothesis import example, given
from hypothesis import strategies as st
from socketio.packet import Packet

from flask_socketio_core.common.sendable import RESERVED_EVENTS
from flask_socketio_core.errors import ProtocolError
from flask_socketio_core.server.packets import (
    ACK,
    BINARY_EVENT,
    CONNECT,
    CONNECT_ERROR,
    DISCONNECT,
    EVENT,
    Codec,
    Decoder,
    Incoming,
)
from flask_socketio_core.transport.packets import Outgoing

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**98), 10**98)  # at most 100 characters
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
)


def values(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
        max_leaves=12,
    )


plain = st.lists(values(scalars), max_size=4)
binary = st.lists(values(scalars | st.binary(max_size=20) | st.binary(max_size=5).map(bytearray)), max_size=4)
namespaces = st.just("/") | st.text(
    st.characters(exclude_characters=",?", exclude_categories=["Cs"]), max_size=10
).map(lambda name: "/" + name)
ids = st.none() | st.integers(0, 10**20)
names = st.text(max_size=12).filter(lambda name: name not in RESERVED_EVENTS)
codec = Codec(max_attachments=1000)


def theirs(kind: int, data: Any, namespace: str, ack_id: int | None) -> tuple[str | bytes, ...]:
    """Encode as upstream does, through both of its packet classes."""
    encoded = Packet(kind, data=data, namespace=namespace, id=ack_id).encode()
    parts = encoded if isinstance(encoded, list) else [encoded]
    return tuple(EnginePacket(4, data=part).encode() for part in parts)


def read_theirs(messages: list[str | bytes]) -> tuple[int, str, int | None, Any]:
    """Decode as upstream does."""
    packet = Packet(encoded_packet=messages[0])
    for attachment in messages[1:]:
        packet.add_attachment(attachment)
    kind = packet.packet_type - 3 if packet.packet_type >= BINARY_EVENT else packet.packet_type
    return kind, packet.namespace or "/", packet.id, packet.data


def read_ours(messages: list[str | bytes]) -> Incoming | None:
    decoder = Decoder(codec)
    found = None
    for message in messages:
        assert found is None
        found = decoder.decode(message)
    return found


def messages_of(outgoing: Outgoing) -> list[str | bytes]:
    return [packet[1:] if isinstance(packet, str) else packet for packet in outgoing.packets]


@given(names, plain, namespaces, ids)
@example("a", [], "/", None)
@example("connect!", [1e300, -0.0], "/a[1", 0)
def test_events_of_text(name: str, args: list[Any], namespace: str, ack_id: int | None) -> None:
    ours = codec.encode_event(name, tuple(args), namespace, ack_id)
    assert ours.packets == theirs(EVENT, [name, *args], namespace, ack_id)
    assert read_ours(messages_of(ours)) == read_theirs(messages_of(ours))


@given(names, binary, namespaces, ids)
@example("a", [b"", {"b": bytearray(b"x")}], "/", None)
def test_events_with_bytes(name: str, args: list[Any], namespace: str, ack_id: int | None) -> None:
    ours = codec.encode_event(name, tuple(args), namespace, ack_id)
    assert ours.packets == theirs(EVENT, [name, *args], namespace, ack_id)
    assert read_ours(messages_of(ours)) == read_theirs(messages_of(ours))


@given(binary, namespaces, st.integers(0, 10**20))
def test_acks(args: list[Any], namespace: str, ack_id: int) -> None:
    ours = codec.encode_ack(tuple(args), namespace, ack_id)
    assert ours.packets == theirs(ACK, args, namespace, ack_id)
    assert read_ours(messages_of(ours)) == read_theirs(messages_of(ours))


@given(values(scalars), namespaces)
def test_the_packets_of_a_connection(data: Any, namespace: str) -> None:
    assert codec.encode_connect("sid", namespace).packets == theirs(CONNECT, {"sid": "sid"}, namespace, None)
    assert codec.encode_disconnect(namespace).packets == theirs(DISCONNECT, None, namespace, None)
    ours = codec.encode_connect_error(data, namespace)
    assert ours.packets == theirs(CONNECT_ERROR, data, namespace, None)
    # Upstream takes a bare number for an ack id.
    if not isinstance(data, (int, float)) or isinstance(data, bool):
        assert read_ours(messages_of(ours)) == read_theirs(messages_of(ours))


@given(names, binary, namespaces, ids)
def test_the_applications_json_gives_the_same(
    name: str, args: list[Any], namespace: str, ack_id: int | None
) -> None:
    with_json = Codec(json=Packet.json, max_attachments=1000)
    ours = with_json.encode_event(name, tuple(args), namespace, ack_id)
    assert ours.packets == theirs(EVENT, [name, *args], namespace, ack_id)
    decoder = Decoder(with_json)
    found = [decoder.decode(message) for message in messages_of(ours)]
    assert found[-1] == read_theirs(messages_of(ours))


pieces = st.sampled_from(
    [
        "0",
        "2",
        "3",
        "5",
        "6",
        "1-",
        "2-",
        "/",
        "/a",
        ",",
        "?x",
        "[",
        "]",
        '"a"',
        "{",
        "}",
        ":",
        "12",
        "null",
        " ",
        "-",
    ]
)


@given(st.lists(pieces, max_size=8).map("".join) | st.text(max_size=20))
def test_any_text_is_read_as_upstream_reads_it_or_refused(message: str) -> None:
    try:
        ours = Decoder(codec).decode(message)
    except ProtocolError:
        return
    if ours is None:  # attachments are to come
        assert Packet(encoded_packet=message).attachment_count > 0
    elif ours.kind in (EVENT, ACK):
        kind, namespace, ack_id, data = read_theirs([message])
        assert (ours.kind, ours.namespace, ours.ack_id) == (kind, namespace, ack_id)
        if ours.kind == EVENT:
            assert ours.data == [str(data[0]), *data[1:]]
        else:
            assert ours.data == (data or [])


@given(st.binary(max_size=40))
def test_any_bytes_are_read_by_msgpack_or_refused(message: bytes) -> None:
    pytest.importorskip("msgpack")
    decoder = Decoder(Codec(serializer="msgpack"))
    try:
        decoder.decode(message)
    except ProtocolError:
        return
