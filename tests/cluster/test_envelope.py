"""The wire format: what goes in comes out, and what makes no sense is refused."""

from __future__ import annotations

import json
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_socketio_core.cluster import envelope
from flask_socketio_core.cluster.envelope import Malformed, Wire
from flask_socketio_core.common.sids import is_sid, new_sid
from flask_socketio_core.contracts.clients import Emission

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text().filter(lambda key: key != "_placeholder"), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(st.lists(VALUES, max_size=4))
def test_values_survive_the_wire(values: list[Any]) -> None:
    data, binary = envelope.pack(values)
    read = envelope.unpack if binary else envelope.arguments
    assert list(read(json.loads(json.dumps(data)))) == values


def test_a_message_is_stamped_with_sender_and_number() -> None:
    wire = Wire()
    encoded = wire.encode({"method": "close_room", "room": "r"})
    message = wire.decode(envelope.stamp(encoded, "abc", 7))
    assert message == {"method": "close_room", "room": "r", "v": 1, "node": "abc", "seq": 7}


def test_a_server_knows_its_own_messages_without_decoding_them() -> None:
    encoded = Wire().encode({"method": "emit", "data": ['"node":"other","seq":']})
    stamped = envelope.stamp(encoded, "own", 12345)
    assert envelope.sent_by(stamped, "own")
    assert not envelope.sent_by(stamped, "other" * 30)
    assert not envelope.sent_by(envelope.stamp(encoded, "other", 1), "own")
    assert not envelope.sent_by(b'{"method":"emit","host_id":"own"}', "own")
    quoted = Wire().encode({"method": "emit", "data": '"node":"own","seq":'})
    assert not envelope.sent_by(quoted, "own")  # in JSON text the quotes are escaped


@pytest.mark.parametrize(
    "raw", [b"", b"\xff\xfe", b"not json", b"[1]", b'{"no":"method"}', b'{"method":1}', b"[" * 100_000]
)
def test_what_is_no_message_is_refused(raw: bytes) -> None:
    with pytest.raises(Malformed):
        Wire().decode(raw)


@pytest.mark.parametrize(
    "data",
    [
        [[{"_placeholder": True, "num": 1}], "AA=="],
        [[{"_placeholder": True, "num": 0}], 5],
        [],
        {},
        None,
    ],
)
def test_attachments_that_do_not_fit_are_refused(data: Any) -> None:
    with pytest.raises(Malformed):
        envelope.unpack(data)


@pytest.mark.parametrize(
    ("to", "wire"),
    [
        (None, None),
        (("room",), "room"),
        ((5,), 5),
        (("a", "b"), ["a", "b"]),
        (((1, "x"),), [[1, "x"]]),
    ],
)
def test_rooms_survive_the_wire(to: tuple[Any, ...] | None, wire: Any) -> None:
    message = envelope.emit(Emission("e", (), to=to), host_id="h", callback=None)
    travelled = json.loads(json.dumps(message))
    assert travelled["room"] == wire
    assert travelled["method"] == "emit"
    assert envelope.addressees(travelled) == to


def test_sids_of_ours_are_no_rooms_on_the_wire() -> None:
    one, two = new_sid(), new_sid()
    for to, method, room, sids in (
        ((one,), "emit_sids", None, [one]),
        ((one, two), "emit_sids", None, [one, two]),
        (("a", one, 5), "emit", ["a", 5], [one]),
        ((one, (1, "x"), two), "emit", [[1, "x"]], [one, two]),
    ):
        message = envelope.emit(Emission("e", (), to=to), host_id="h", callback=None)
        travelled = Wire().decode(Wire().encode(message))
        assert (travelled["method"], travelled.get("room"), travelled["sids"]) == (method, room, sids)
        assert set(envelope.addressees(travelled) or ()) == set(to)
        with pytest.raises(Malformed, match="'sids'"):
            Wire().decode(Wire().encode({**message, "sids": ["a room"]}))


def test_data_of_python_socketio_that_is_no_list_is_one_value() -> None:
    assert envelope.arguments("text") == ("text",)
    assert envelope.arguments({"a": 1}) == ({"a": 1},)


def to_sids(*sids: str, **more: Any) -> bytes:
    message = envelope.emit(Emission("e", ({"sids": ["other"]},), to=sids), host_id="h", callback=None)
    return envelope.stamp(Wire().encode({**message, **more}), "me", 7)


def test_whom_a_message_is_for_is_read_without_decoding_it() -> None:
    one, two = new_sid(), new_sid()
    assert envelope.addressed(to_sids(one)) == ([one], "me", 7)
    assert envelope.addressed(to_sids(one, two)) == ([one, two], "me", 7)


def test_what_everybody_has_to_decode_is_for_nobody_alone() -> None:
    sid = new_sid()
    to_rooms = envelope.emit(Emission("e", (), to=("room", sid)), host_id="h", callback=None)
    for raw in (
        to_sids(sid, ask_all=5),
        envelope.stamp(Wire().encode(to_rooms), "me", 7),
        to_sids(sid)[:-1],
        to_sids(sid).replace(b'"me"', b'"m\xff"'),
        to_sids(sid).replace(b":7}", b":-7}"),
        to_sids(sid).replace(sid.encode() + b'"', sid.encode() + b'":"' + sid.encode() + b'"'),
        to_sids(sid).replace(b"emit_sids", b"emit"),
        b'{"method": "emit_sids"',
        b"",
    ):
        assert envelope.addressed(raw) is None, raw


def test_a_name_with_the_form_of_a_sid_cannot_add_keys_to_a_message() -> None:
    start = '","node":"x",$$$'
    name = start + f"s{zlib.crc32(start.encode()) & 0xFFF_FFFF:07x}"
    assert is_sid(name)
    raw = to_sids(name)
    assert envelope.addressed(raw) is None
    assert (Wire().decode(raw)["sids"], Wire().decode(raw)["node"]) == ([name], "me")


def test_a_message_without_what_it_needs_is_none() -> None:
    with pytest.raises(Malformed, match="'emit' with a wrong 'event'"):
        Wire().decode(b'{"method":"emit","data":[]}')
