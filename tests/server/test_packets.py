"""Socket.IO packets: what we send, what we accept and what we refuse."""

from __future__ import annotations

import json
import sys
from typing import Any, NamedTuple

import pytest
from socketio.packet import Packet

from flask_socketio_core.common.sendable import RESERVED_EVENTS
from flask_socketio_core.errors import InvalidData, InvalidOption, ProtocolError
from flask_socketio_core.server.packets import (
    ACK,
    CONNECT,
    CONNECT_ERROR,
    DISCONNECT,
    EVENT,
    Codec,
    Decoder,
    Incoming,
)
from flask_socketio_core.transport.packets import PING_PACKET, PROBE_ANSWER, Outgoing
from flask_socketio_core.websocket_protocol.frames import binary_frame, text_frame


def decode(*messages: str | bytes, codec: Codec | None = None) -> Incoming | None:
    """Feed the messages of one packet; only the last one may complete it."""
    decoder = Decoder(codec or Codec())
    for message in messages[:-1]:
        assert decoder.decode(message) is None
    return decoder.decode(messages[-1])


# encoding


@pytest.mark.parametrize(
    ("outgoing", "text"),
    [
        (Codec().encode_event("message", ()), '42["message"]'),
        (Codec().encode_event("message", ("hello", 1, None)), '42["message","hello",1,null]'),
        (Codec().encode_event("a", ({"b": [1, 2]},), "/chat"), '42/chat,["a",{"b":[1,2]}]'),
        (Codec().encode_event("a", (), "/", 0), '420["a"]'),
        (Codec().encode_event("a", (), "/chat", 12), '42/chat,12["a"]'),
        (Codec().encode_event("a", ("\N{SNOWMAN}",)), '42["a","\\u2603"]'),
        (Codec().encode_event("a", ((1, 2),)), '42["a",[1,2]]'),
        (Codec().encode_ack((), "/", 7), "437[]"),
        (Codec().encode_ack(({"ok": True},), "/chat", 7), '43/chat,7[{"ok":true}]'),
        (Codec().encode_connect("abc", "/"), '40{"sid":"abc"}'),
        (Codec().encode_connect("abc", "/chat"), '40/chat,{"sid":"abc"}'),
        (Codec().encode_connect_error({"message": "no"}, "/"), '44{"message":"no"}'),
        (Codec().encode_connect_error("no", "/chat"), '44/chat,"no"'),
        (Codec().encode_connect_error(None, "/"), "44"),
        (Codec().encode_disconnect("/"), "41"),
        (Codec().encode_disconnect("/chat"), "41/chat,"),
    ],
)
def test_a_text_packet_has_its_exact_form(outgoing: Outgoing, text: str) -> None:
    assert outgoing.packets == (text,)
    assert outgoing.frames == text_frame(text)
    assert outgoing.size == len(outgoing.frames)


def test_bytes_become_attachments_in_order() -> None:
    args = ({"a": b"one", "b": [bytearray(b"two")]}, (b"three",), b"")
    outgoing = Codec().encode_event("up", args, "/chat", 5)
    text = outgoing.packets[0]
    assert isinstance(text, str)
    assert text.startswith("454-/chat,5[")
    assert json.loads(text[11:]) == [
        "up",
        {"a": {"_placeholder": True, "num": 0}, "b": [{"_placeholder": True, "num": 1}]},
        [{"_placeholder": True, "num": 2}],
        {"_placeholder": True, "num": 3},
    ]
    assert outgoing.packets[1:] == (b"one", b"two", b"three", b"")
    assert all(type(part) is bytes for part in outgoing.packets[1:])


def test_the_frames_of_a_binary_packet_follow_each_other() -> None:
    outgoing = Codec().encode_ack((b"\0" * 200,), "/", 3)
    assert outgoing.packets[0] == '461-3[{"_placeholder":true,"num":0}]'
    assert outgoing.frames == text_frame(str(outgoing.packets[0])) + binary_frame(b"\0" * 200)
    assert outgoing.size == len(outgoing.frames)


def test_a_bytearray_may_change_after_it_was_sent() -> None:
    data = bytearray(b"before")
    outgoing = Codec().encode_event("a", (data,))
    data[:] = b"after!"
    assert outgoing.packets[1] == b"before"


@pytest.mark.parametrize("serializer", ["default", "msgpack"])
def test_only_events_count_as_events(serializer: str) -> None:
    codec = Codec(serializer=serializer)
    assert codec.encode_event("a", ()).is_event
    assert codec.encode_event("a", (b"x",)).is_event
    others = (codec.encode_ack((), "/", 1), codec.encode_ack((b"x",), "/", 1), codec.encode_connect("s", "/"))
    assert not any(outgoing.is_event for outgoing in (*others, codec.encode_disconnect("/"), PING_PACKET))


def test_engine_packets_are_outgoing_too() -> None:
    packets = (PING_PACKET, PROBE_ANSWER)
    assert [outgoing.frames for outgoing in packets] == [b"\x81\x012", b"\x81\x063probe"]


@pytest.mark.parametrize(
    "codec", [Codec(), Codec(json=type("J", (), {"dumps": json.dumps, "loads": json.loads}))]
)
def test_a_packet_without_attachments_refuses_bytes(codec: Codec) -> None:
    with pytest.raises(ValueError, match="a packet of type 4 cannot contain bytes"):
        codec.encode_connect_error({"message": b"no"}, "/")


@pytest.mark.parametrize("value", [object(), {1, 2}, [b"binary", object()]])
def test_what_json_cannot_say_is_the_callers_error(value: Any) -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        Codec().encode_event("a", (value,))


def test_a_circular_reference_is_told_from_deep_nesting() -> None:
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(ValueError, match="Circular"):
        Codec().encode_event("circle", (circle,))
    shared: dict[str, int] = {}
    Codec().encode_event("twice", (shared, shared))


NAN = float("nan")
JSON_CODECS = [
    Codec(),
    Codec(json=type("J", (), {"dumps": json.dumps, "loads": json.loads})),
    Codec(serializer=Packet),
]


@pytest.mark.parametrize("codec", JSON_CODECS, ids=["own", "json=", "Packet"])
@pytest.mark.parametrize(
    ("args", "text"),
    [
        (({"temperature": NAN},), 'data[0]["temperature"] is nan: JSON has no such number'),
        ((1, [0, float("-inf")]), "data[1][1] is -inf: JSON has no such number"),
        ((["NaN", {"a": (b"x", NAN)}],), 'data[0][1]["a"][1] is nan'),
        (({"x": {1}},), 'data[0]["x"] is of type set: Object of type set is not JSON serializable'),
        (({"x": {(1, 2): 3}},), 'a key of data[0]["x"] is of type tuple'),
        (tuple([b"x"] * 11), "11 attachments exceed max_attachments=10"),
        ((b"x", {"a": [{"_placeholder": True, "num": 0}]}), 'data[1]["a"][0] is of type dict: it looks like'),
    ],
)
def test_what_a_client_cannot_read_is_refused_with_its_place(
    codec: Codec, args: tuple[Any, ...], text: str
) -> None:
    with pytest.raises(InvalidData) as event:
        codec.encode_event("measured", args)
    assert str(event.value).startswith(f"event 'measured' cannot be sent: {text}")
    with pytest.raises(InvalidData) as ack:
        codec.encode_ack(args, "/", 1)
    assert str(ack.value).startswith(f"acknowledgement cannot be sent: {text}")


@pytest.mark.parametrize("serializer", ["default", "msgpack", Packet])
@pytest.mark.parametrize("name", [*sorted(RESERVED_EVENTS), None, 5, b"a"])
def test_a_name_that_clients_refuse_is_refused(serializer: Any, name: Any) -> None:
    with pytest.raises(InvalidData, match=r"reserved|its name is of type \w+, not text"):
        Codec(serializer=serializer).encode_event(name, ())


@pytest.mark.parametrize("codec", JSON_CODECS, ids=["own", "json=", "Packet"])
def test_text_about_numbers_and_placeholders_is_text(codec: Codec) -> None:
    args = ('"NaN', "\\", "Infinity 1e999", '{"_placeholder":true}', {"_placeholder": False, "NaN": 1}, b"x")
    found = decode(*messages_of(codec.encode_event("a", args)), codec=codec)
    assert found == (EVENT, "/", None, ["a", *args])
    lookalike = {"_placeholder": True, "num": 0}
    assert decode(*messages_of(codec.encode_event("a", (lookalike,))), codec=codec) == (
        EVENT,
        "/",
        None,
        ["a", lookalike],
    )


@pytest.mark.parametrize("serializer", ["default", "msgpack", Packet])
def test_a_memoryview_is_sent_as_bytes_are(serializer: Any) -> None:
    codec = Codec(serializer=serializer)
    event = codec.encode_event("a", ({"b": memoryview(b"xyz")[1:]},))
    assert decode(*messages_of(event), codec=codec) == (EVENT, "/", None, ["a", {"b": b"yz"}])


def test_msgpack_carries_every_number_and_any_number_of_bytes() -> None:
    codec = Codec(serializer="msgpack")
    args = (float("inf"), *[b"x"] * 11, {"_placeholder": True, "num": 0})
    assert decode(*messages_of(codec.encode_event("a", args)), codec=codec) == (
        EVENT,
        "/",
        None,
        ["a", *args],
    )
    with pytest.raises(InvalidData, match=r"event 'a' cannot be sent: data\[0\]\[1\] is of type int"):
        codec.encode_event("a", ([1, 2**70],))


# decoding


@pytest.mark.parametrize(
    ("message", "packet"),
    [
        ('2["message"]', (EVENT, "/", None, ["message"])),
        ('2["a",1,null,{"b":[]}]', (EVENT, "/", None, ["a", 1, None, {"b": []}])),
        ('20["a"]', (EVENT, "/", 0, ["a"])),
        ('2123["a"]', (EVENT, "/", 123, ["a"])),
        ('2/chat,["a"]', (EVENT, "/chat", None, ["a"])),
        ('2/chat,12["a"]', (EVENT, "/chat", 12, ["a"])),
        ('2/chat?token=1,12["a"]', (EVENT, "/chat", 12, ["a"])),
        ('2/a[b,12["a"]', (EVENT, "/a[b", 12, ["a"])),
        ('2["a"] \n', (EVENT, "/", None, ["a"])),
        ('2["a,b","/c,"]', (EVENT, "/", None, ["a,b", "/c,"])),
        ('2["\N{SNOWMAN}"]', (EVENT, "/", None, ["\N{SNOWMAN}"])),
        ('2["NaN","1e999",1e308,1E-999]', (EVENT, "/", None, ["NaN", "1e999", 1e308, 0.0])),
        ("2[1,2]", (EVENT, "/", None, ["1", 2])),
        ("2[1.5]", (EVENT, "/", None, ["1.5"])),
        ('2["a",' + "9" * 100 + "]", (EVENT, "/", None, ["a", int("9" * 100)])),
        ("2" + "9" * 100 + '["a"]', (EVENT, "/", int("9" * 100), ["a"])),
        ("37[]", (ACK, "/", 7, [])),
        ("37", (ACK, "/", 7, [])),
        ("3[]", (ACK, "/", None, [])),
        ('3/chat,7["connect"]', (ACK, "/chat", 7, ["connect"])),
        ("0", (CONNECT, "/", None, None)),
        ("0{}", (CONNECT, "/", None, {})),
        ('0{"token":"[1"}', (CONNECT, "/", None, {"token": "[1"})),
        ("0/chat", (CONNECT, "/chat", None, None)),
        ("0/chat,", (CONNECT, "/chat", None, None)),
        ("0/chat?a=b", (CONNECT, "/chat", None, None)),
        ('0/chat,{"token":1}', (CONNECT, "/chat", None, {"token": 1})),
        ('0"token"', (CONNECT, "/", None, "token")),
        ("1", (DISCONNECT, "/", None, None)),
        ("1/chat,", (DISCONNECT, "/chat", None, None)),
        ('4{"message":"no"}', (CONNECT_ERROR, "/", None, {"message": "no"})),
        ('50-["a",{"num":0}]', (EVENT, "/", None, ["a", {"num": 0}])),
    ],
)
def test_a_text_packet_is_understood(message: str, packet: tuple[Any, ...]) -> None:
    found = decode(message)
    assert found is not None
    assert tuple(found) == packet


@pytest.mark.parametrize(
    ("messages", "packet"),
    [
        (('51-["a",{"_placeholder":true,"num":0}]', b"x"), (EVENT, "/", None, ["a", b"x"])),
        (
            (
                '52-/chat,9["a",{"b":[{"_placeholder":true,"num":1}],"c":{"_placeholder":true,"num":0}}]',
                b"x",
                b"",
            ),
            (EVENT, "/chat", 9, ["a", {"b": [b""], "c": b"x"}]),
        ),
        (('61-7[{"num":0,"_placeholder":true}]', b"x"), (ACK, "/", 7, [b"x"])),
        (
            ('51-["a",{"_placeholder":true,"num":0},{"_placeholder":false,"num":0}]', b"x"),
            (EVENT, "/", None, ["a", b"x", {"_placeholder": False, "num": 0}]),
        ),
    ],
)
def test_a_binary_packet_is_put_together(messages: tuple[str | bytes, ...], packet: tuple[Any, ...]) -> None:
    assert decode(*messages) == packet


def test_a_decoder_serves_packet_after_packet() -> None:
    decoder = Decoder(Codec())
    binary = ('51-["a",{"_placeholder":true,"num":0}]', b"x")
    for _ in range(2):
        assert [decoder.decode(message) for message in binary] == [None, (EVENT, "/", None, ["a", b"x"])]
        assert decoder.decode('2["b"]') == (EVENT, "/", None, ["b"])


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        (("",), "unknown type ''"),
        (("abc",), "unknown type 'a'"),  # of the official test suite
        (("7",), "unknown type '7'"),
        (("-1",), "unknown type '-'"),
        (("\N{SUPERSCRIPT TWO}[1]",), "unknown type"),
        (('42["a"]',), "something after its JSON"),
        (("2",), "not a non-empty array"),
        (("2/chat",), "not a non-empty array"),
        (("2[]",), "not a non-empty array"),
        (("2{}",), "invalid ack id"),  # of the official test suite
        (('2{"a":[]}',), "invalid ack id"),
        (('2"a"',), "invalid ack id"),
        (
            ('2abc["message-with-ack",1,"2",{"3":[false]}]',),
            "invalid ack id 'abc'",
        ),  # of the official test suite
        (('2-1["a"]',), "invalid ack id '-1'"),
        (('2 1["a"]',), "invalid ack id ' 1'"),
        (('21-["a"]',), "invalid ack id '1-'"),
        (('2\N{SUPERSCRIPT TWO}["a"]',), "invalid ack id"),
        (('2\N{ARABIC-INDIC DIGIT FOUR}["a"]',), "invalid ack id"),
        (("2" + "9" * 101 + '["a"]',), "invalid ack id '99999999999999999999'"),
        (("2[null]",), "neither text nor a number"),
        (("2[true]",), "neither text nor a number"),
        (('2[["a"]]',), "neither text nor a number"),
        (("2[{}]",), "neither text nor a number"),
        *(((f'2["{name}"]',), f"reserved name {name!r}") for name in sorted(RESERVED_EVENTS)),
        (('51-["disconnect",{"_placeholder":true,"num":0}]',), "reserved name 'disconnect'"),
        (("2[",), "invalid JSON"),
        (('2["a"',), "invalid JSON"),
        (("2['a']",), "invalid JSON"),
        (('2["a",]',), "invalid JSON"),
        (('2["\n"]',), "invalid JSON"),
        (('2["a"]x',), "something after its JSON"),
        (('2["a"][]',), "something after its JSON"),
        (('2["a"]\N{NO-BREAK SPACE}',), "something after its JSON"),
        (("2" + "[" * 100_000,), "invalid JSON: RecursionError"),
        (('2["a",' + '{"a":' * 100_000,), "invalid JSON: RecursionError"),
        (('2["a",' + "9" * 101 + "]",), "101 characters exceeds the limit of 100"),
        (('2["a",-' + "9" * 100_000 + "]",), "100001 characters exceeds the limit of 100"),
        (("3{}",), "invalid ack id"),
        (("37{}",), "invalid ack id"),
        (("0{",), "invalid JSON"),
        (("0abc",), "invalid JSON"),
        (("0/chat,}",), "invalid JSON"),
        ((b"binary",), "binary message where a packet was expected"),
        ((b"",), "binary message where a packet was expected"),
        (("5",), "without a number of attachments"),
        (("5[]",), "without a number of attachments"),
        (('5-["a"]',), "without a number of attachments"),
        (('5x-["a"]',), "without a number of attachments"),
        (('5["a-b"]',), "without a number of attachments"),
        (('5\N{SUPERSCRIPT TWO}-["a"]',), "without a number of attachments"),
        (('6["a"]',), "without a number of attachments"),
        (('511-["a"]',), "packet of 11 attachments exceeds the limit of 10"),
        (('59999999999-["a"]',), "exceeds the limit of 10"),
        (("5" + "9" * 5000 + '-["a"]',), "without a number of attachments"),
        (("51-",), "not a non-empty array"),
        (("51-{}",), "invalid ack id"),
        (('51-["a"]', '2["b"]'), "text message where an attachment was expected"),
        (('52-["a"]', b"x", '2["b"]'), "text message where an attachment was expected"),
        (('51-["a",{"_placeholder":true,"num":1}]', b"x"), "attachment 1 of 1"),
        (('51-["a",{"_placeholder":true,"num":-1}]', b"x"), "attachment -1 of 1"),
        (('51-["a",{"_placeholder":true,"num":"0"}]', b"x"), "attachment '0' of 1"),
        (('51-["a",{"_placeholder":true,"num":false}]', b"x"), "attachment False of 1"),
        (('51-["a",{"_placeholder":true,"num":0.0}]', b"x"), "attachment 0.0 of 1"),
        (('51-["a",{"_placeholder":true},{"_placeholder":true,"num":0}]', b"x"), "attachment None of 1"),
        (('51-["a"]', b"x"), "attachment 0 of 1 without a placeholder"),
        (('52-["a",{"_placeholder":true,"num":0}]', b"x", b"y"), "attachment 1 of 2 without a placeholder"),
        (
            ('51-["a",' + ",".join(['{"_placeholder":true,"num":0}'] * 10_000) + "]", b"x"),
            "second placeholder for attachment 0",
        ),
        *(
            ((text,), "JSON has no such number")
            for number in ("NaN", "-Infinity", "1e999", "-1E+0999", "9" * 400 + ".5", "9" * 250 + "e99")
            for text in (
                f'2["a",{number}]',
                f'2["{"a" * 100}",[1.5,{{"x":{number}}}]]',
                f'3/chat,7["\\"",{number}]',
                f'0{{"token":{number}}}',
            )
        ),
    ],
)
def test_a_violation_says_what_is_wrong(messages: tuple[str | bytes, ...], text: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode(*messages)
    assert text in str(caught.value)
    assert (caught.value.status, caught.value.close_code) == (400, 1002)


def test_deep_nesting_is_read_or_a_violation() -> None:
    # Which of the two steps gives up first, and how deep, differs between Python's versions.
    limit = sys.getrecursionlimit()
    refused = 0
    for depth in range(50, 3 * limit, 50):
        try:
            decode('51-["a",{"_placeholder":true,"num":0},' + "[" * depth + "]" * depth + "]", b"x")
        except ProtocolError:
            refused += 1
    assert 0 < refused < 3 * limit // 50 - 1


def test_all_attachments_together_are_limited() -> None:
    codec = Codec(max_attached_bytes=10)
    packet = '52-["a",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]'
    assert decode(packet, b"x" * 6, b"y" * 4, codec=codec) == (EVENT, "/", None, ["a", b"x" * 6, b"y" * 4])
    with pytest.raises(ProtocolError, match="attachments exceed 10 bytes") as caught:
        decode(packet, b"x" * 6, b"y" * 5, codec=codec)
    assert (caught.value.status, caught.value.close_code) == (413, 1009)


def test_the_number_of_attachments_can_be_limited() -> None:
    codec = Codec(max_attachments=1)
    assert decode('51-["a",{"_placeholder":true,"num":0}]', b"x", codec=codec) == (
        EVENT,
        "/",
        None,
        ["a", b"x"],
    )
    with pytest.raises(ProtocolError, match="packet of 2 attachments exceeds the limit of 1"):
        decode('52-["a"]', codec=codec)


def test_an_idle_decoder_is_small() -> None:
    assert sys.getsizeof(Decoder(Codec())) < 100


# the application's JSON


class SpacedJSON:
    """Differs from the standard library's in what it writes and in how it fails."""

    @staticmethod
    def dumps(data: Any, *, separators: tuple[str, str]) -> str:
        assert separators == (",", ":")
        return json.dumps(data, default=str, ensure_ascii=False, indent=1)

    @staticmethod
    def loads(text: str) -> Any:
        try:
            return json.loads(text, parse_float=str)
        except ValueError as error:
            raise LookupError("no JSON") from error


class Custom:
    def __str__(self) -> str:
        return "custom"


@pytest.fixture
def codec() -> Codec:
    return Codec(json=SpacedJSON)


def test_the_applications_json_writes_and_reads(codec: Codec) -> None:
    assert codec.encode_event("a", (Custom(),)).packets == ('42[\n "a",\n "custom"\n]',)
    assert decode('2/chat,1["a", 1.5]', codec=codec) == (EVENT, "/chat", 1, ["a", "1.5"])


def test_the_applications_json_carries_bytes(codec: Codec) -> None:
    outgoing = codec.encode_event("a", ({"b": (b"x", Custom())},))
    assert outgoing.packets[1:] == (b"x",)
    text = str(outgoing.packets[0])
    assert text.startswith("451-[")
    assert decode(text[1:], b"x", codec=codec) == (EVENT, "/", None, ["a", {"b": [b"x", "custom"]}])


def test_whatever_the_applications_json_raises_is_the_peers_fault(codec: Codec) -> None:
    with pytest.raises(ProtocolError, match="no JSON") as caught:
        decode("2[", codec=codec)
    assert isinstance(caught.value.__cause__, LookupError)


def test_text_that_is_not_unicode_fails_at_its_sender(codec: Codec) -> None:
    with pytest.raises(
        InvalidData, match=r"data\[0\]\['x'\] is of type str: .*surrogates not allowed".replace("'", '"')
    ):
        codec.encode_event("a", ({"x": "\ud800"},))


@pytest.mark.parametrize("serializer", ["default", "msgpack", Packet])
def test_the_applications_json_stays_out_of_upstreams_class(serializer: Any) -> None:
    before = Packet.json
    Codec(serializer=serializer, json=SpacedJSON).encode_event("a", ())
    assert Packet.json is before


# serializers


class ReversedPacket(Packet):
    """A serializer of an application's own, with text and attachments."""

    def encode(self) -> Any:
        encoded = super().encode()  # type: ignore[no-untyped-call]  # python-socketio is untyped
        if isinstance(encoded, list):
            return [encoded[0][::-1], *encoded[1:]]
        return encoded[::-1]

    def decode(self, encoded_packet: str) -> Any:
        return super().decode(encoded_packet[::-1])  # type: ignore[no-untyped-call]  # likewise


@pytest.mark.parametrize("serializer", ["default", "msgpack", Packet, ReversedPacket])
@pytest.mark.parametrize(
    ("namespace", "ack_id", "args"),
    [
        ("/", None, ()),
        ("/chat", 5, ("x", {"a": [1, None, "\N{SNOWMAN}"]})),
        ("/", 0, (b"one", {"a": [b"two"]})),
    ],
)
def test_every_serializer_reads_what_it_wrote(
    serializer: Any, namespace: str, ack_id: int | None, args: tuple[Any, ...]
) -> None:
    codec = Codec(serializer=serializer)
    event = codec.encode_event("a", args, namespace, ack_id)
    assert decode(*messages_of(event), codec=codec) == (EVENT, namespace, ack_id, ["a", *args])
    ack = codec.encode_ack(args, namespace, 3)
    assert decode(*messages_of(ack), codec=codec) == (ACK, namespace, 3, [*args])
    connect = codec.encode_connect("abc", namespace)
    assert decode(*messages_of(connect), codec=codec) == (CONNECT, namespace, None, {"sid": "abc"})
    refusal = codec.encode_connect_error("no", namespace)
    assert decode(*messages_of(refusal), codec=codec) == (CONNECT_ERROR, namespace, None, "no")
    end = codec.encode_disconnect(namespace)
    assert decode(*messages_of(end), codec=codec) == (DISCONNECT, namespace, None, None)


def messages_of(outgoing: Outgoing) -> list[str | bytes]:
    """Return the content of the Engine.IO messages that a packet consists of."""
    return [packet[1:] if isinstance(packet, str) else packet for packet in outgoing.packets]


def test_msgpack_is_one_binary_message() -> None:
    outgoing = Codec(serializer="msgpack").encode_event("a", (b"x",), "/", 1)
    assert [type(packet) for packet in outgoing.packets] == [bytes]
    assert outgoing.frames == binary_frame(bytes(outgoing.packets[0]))  # type: ignore[arg-type]  # just tested


@pytest.mark.parametrize(
    ("packet", "text"),
    [
        ({"type": 2, "nsp": "/", "data": []}, "not a non-empty array"),
        ({"type": 2, "nsp": "/", "data": ["connect"]}, "reserved name"),
        ({"type": 2, "nsp": "/"}, "not a non-empty array"),
        ({"type": 3, "nsp": "/", "id": 1, "data": {}}, "ack whose payload is not an array"),
        ({"type": 3, "nsp": "/", "id": "1", "data": []}, "ack id is not an integer"),
        ({"type": 2, "nsp": "/", "id": True, "data": ["a"]}, "ack id is not an integer"),
        ({"type": 2, "nsp": 5, "data": ["a"]}, "namespace is not text"),
        ({"type": 2, "nsp": b"/", "data": ["a"]}, "namespace is not text"),
        ({"type": 7, "nsp": "/", "data": ["a"]}, "unknown type 7"),
        ({"type": "2", "nsp": "/", "data": ["a"]}, "unknown type '2'"),
        ({"type": True, "nsp": "/", "data": ["a"]}, "unknown type True"),
        ({"type": [], "nsp": "/", "data": ["a"]}, "unknown type []"),
        ({"nsp": "/", "data": ["a"]}, "KeyError"),
        ({"type": 2, "data": ["a"]}, "KeyError"),
        ([], "TypeError"),
        (5, "TypeError"),
    ],
)
def test_a_malformed_msgpack_packet_is_a_violation(packet: Any, text: str) -> None:
    msgpack = pytest.importorskip("msgpack")
    with pytest.raises(ProtocolError) as caught:
        decode(msgpack.dumps(packet), codec=Codec(serializer="msgpack"))
    assert text in str(caught.value)


@pytest.mark.parametrize("message", [b"", b"\xc1", b"\x81", b"\x91" * 100_000, '2["a"]', ""])
def test_what_is_no_msgpack_is_a_violation(message: str | bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(message, codec=Codec(serializer="msgpack"))


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        (("",), "not a non-empty array"),
        (("x",), "cannot be decoded"),
        (("2[",), "cannot be decoded"),
        ((b"binary",), "cannot be decoded"),
        (('511-["a"]',), "11 attachments exceeds the limit of 10"),
        (('51-["a",{"_placeholder":true,"num":5}]', b"x"), "attachment 5 of 1"),
        (('51-["a"]', b"x"), "without a placeholder"),
        (
            ('51-["a",{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]', b"x"),
            "second placeholder",
        ),
        (('2["a",NaN]',), "JSON has no such number"),
        (('2["a",1e999]',), "JSON has no such number"),
        (
            ('51-["a",{"_placeholder":true,"num":0}]', '2["b"]'),
            "text message where an attachment was expected",
        ),
    ],
)
def test_a_malformed_packet_of_a_custom_class_is_a_violation(
    messages: tuple[str | bytes, ...], text: str
) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode(*messages, codec=Codec(serializer=Packet))
    assert text in str(caught.value)


@pytest.mark.parametrize("serializer", ["pickle", "cbor", "", 5, None, dict, Packet()])
def test_an_unknown_serializer_names_those_there_are(serializer: Any) -> None:
    with pytest.raises(InvalidOption, match=r"does not exist\n  available: 'default', 'msgpack'"):
        Codec(serializer=serializer)


def test_a_missing_msgpack_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "socketio.msgpack_packet", None)
    with pytest.raises(InvalidOption, match="pip install msgpack"):
        Codec(serializer="msgpack")


class Point(NamedTuple):
    """What simplejson encodes as an object, unless it is made a list before."""

    x: int
    y: int


class ByName(SpacedJSON):
    """Encodes the outermost named tuples as objects, as simplejson does with all of them."""

    @staticmethod
    def dumps(data: Any, *, separators: tuple[str, str]) -> str:
        named = [item._asdict() if isinstance(item, Point) else item for item in data]
        return json.dumps(named, separators=separators)


@pytest.mark.parametrize("others", [(), (b"x",), ({"a": b"x"},)])
def test_data_without_bytes_reaches_the_applications_json_as_it_is(others: tuple[Any, ...]) -> None:
    text = Codec(json=ByName).encode_event("a", (Point(1, 2), *others)).packets[0]
    assert '["a",{"x":1,"y":2}' in str(text)


def test_a_json_module_without_options_that_returns_bytes_will_do() -> None:
    class LikeOrjson:
        @staticmethod
        def dumps(data: object) -> bytes:
            return json.dumps(data, separators=(",", ":")).encode()

        loads = staticmethod(json.loads)

    codec = Codec(json=LikeOrjson)
    assert codec.encode_event("e", ({"x": 1}, b"\1")).packets == (
        '451-["e",{"x":1},{"_placeholder":true,"num":0}]',
        b"\1",
    )
    assert Decoder(codec).decode('2["e",1]') == (2, "/", None, ["e", 1])
