"""What holds for every input of every parser: only the errors that are promised, and no more than is allowed."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from flask_socketio_core.cluster.envelope import Malformed, Wire
from flask_socketio_core.cluster.signing import Signer, Unauthentic
from flask_socketio_core.common import options
from flask_socketio_core.errors import ProtocolError
from flask_socketio_core.server.engine import Engine
from flask_socketio_core.server.packets import Codec, Decoder
from flask_socketio_core.transport.payload import decode_payload, encode_payload
from flask_socketio_core.websocket_protocol.deflate import DeflatedFrameReader, negotiate
from flask_socketio_core.websocket_protocol.frames import FrameReader
from support.engine import ManualMode, RecordingApplication

MOST_BYTES = 2_000
"""Largest message that the targets allow, so that fuzzing reaches the limit."""

MOST_PACKETS = 10


def frames(data: bytes) -> None:
    """Any bytes are whole messages within the limit, however they are cut, and then perhaps one error."""
    whole, pieces = FrameReader(MOST_BYTES), FrameReader(MOST_BYTES)
    at_once = list(whole.feed(data))
    in_parts = [message for byte in data[:300] for message in pieces.feed(bytes([byte]))]
    if len(data) <= 300:
        assert in_parts == at_once, (in_parts, at_once)
        assert str(whole.error) == str(pieces.error)
    assert all(len(value) <= MOST_BYTES for _, value in at_once)


def inflate(data: bytes) -> None:
    """Compressed messages are no larger than others, and an offer is answered or not."""
    reader = DeflatedFrameReader(MOST_BYTES)
    assert all(len(value) <= MOST_BYTES for _, value in reader.feed(data))
    answer = negotiate(data.decode("latin-1"))
    assert answer is None or answer.startswith("permessage-deflate")


def payload(data: bytes) -> None:
    """A body is a bounded number of packets that can be written again."""
    try:
        packets = decode_payload(data, MOST_PACKETS)
    except ProtocolError:
        return
    assert 0 < len(packets) <= MOST_PACKETS
    assert decode_payload(encode_payload(packets), MOST_PACKETS) == packets


def _packets(data: bytes, codec: Codec) -> None:
    """Messages are packets, which become no more than they were when they are sent again."""
    decoder = Decoder(codec)
    parts = data.split(b"\xff")  # in no UTF-8 text, so it may stand between messages
    for part in parts:
        try:
            message: str | bytes = part.decode()
        except UnicodeDecodeError:
            message = part
        for form in (message, part):
            try:
                packet = decoder.decode(form)
            except ProtocolError:
                return
            if packet is not None and packet.kind == 2:
                again = codec.encode_event(
                    packet.data[0], tuple(packet.data[1:]), packet.namespace, packet.ack_id
                )
                assert again.size <= 8 * len(data) + 200, (again.size, len(data))


def packets(data: bytes) -> None:
    """Packets in JSON."""
    _packets(data, Codec(max_attached_bytes=MOST_BYTES))


def packets_of_msgpack(data: bytes) -> None:
    """Packets in msgpack."""
    _packets(data, Codec(serializer="msgpack", max_attached_bytes=MOST_BYTES))


class _Endpoint:
    """One engine for all requests, with a session that may be addressed."""

    def __init__(self) -> None:
        self.engine = Engine(RecordingApplication(), options.build({"logger": True}), ManualMode())

    def ask(self, environ: dict[str, Any]) -> str:
        statuses: list[str] = []
        body = self.engine.handle(environ, lambda status, headers, error=None: statuses.append(status))  # type: ignore[arg-type]  # no write() is needed
        b"".join(body)
        return statuses[0]


def http(data: bytes) -> None:
    """A request is answered, never with an error of the server; none of its text gets into a header unchecked."""
    fields = [field.decode("latin-1") for field in data.split(b"\n", 5)] + [""] * 6
    environ = {
        "REQUEST_METHOD": fields[0] or "POST",
        "QUERY_STRING": fields[1],
        "PATH_INFO": "/socket.io/",
        "HTTP_HOST": fields[2],
        "HTTP_ORIGIN": fields[3],
        "CONTENT_LENGTH": fields[4],
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(fields[5].encode("latin-1")),
    }
    if environ["REQUEST_METHOD"] == "GET" and "sid=" in fields[1]:
        return  # a poll, which waits
    status = _Endpoint().ask(environ)
    assert status[:1] in "24", status


def bus(data: bytes) -> None:
    """What comes from the message queue is a message, or it is refused; with a secret, it is."""
    try:
        Signer((b"x" * 16,), "c", 3600.0).verify(data, 0.0)
    except Unauthentic:
        pass
    else:
        raise AssertionError("forged")
    wire = Wire()
    try:
        message = wire.decode(data)
    except Malformed:
        return
    assert isinstance(message["method"], str)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "frames": frames,
    "inflate": inflate,
    "payload": payload,
    "packets": packets,
    "packets_of_msgpack": packets_of_msgpack,
    "http": http,
    "bus": bus,
}

SEEDS: dict[str, tuple[bytes, ...]] = {
    "frames": (
        b"\x81\x85\x01\x02\x03\x04igomn",
        b"\x01\x83\0\0\0\0abc\x80\x82\0\0\0\0de",
        b"\x88\x82\0\0\0\0\x03\xe8\x89\x80\0\0\0\0",
        b"\x82\xfe\x00\x7e\0\0\0\0" + b"x" * 126,
    ),
    "inflate": (
        b"\xc1\x87\0\0\0\0\xf2\x48\xcd\xc9\xc9\x07\x00",
        b"permessage-deflate; client_max_window_bits=15; server_no_context_takeover, x",
    ),
    "payload": (b'40\x1e42["a",1]\x1ebAQID', b"4\x1eb\x1e2", b"bAQ\r\nID"),
    "packets": (
        b'2["say","hello",{"a":[1,2.5,null]}]',
        b'2/chat?x=1,17["say"]',
        b'51-["b",{"_placeholder":true,"num":0}]\xffabc',
        b"0/chat,{}",
        b'31["ok"]',
        b"1/chat,",
    ),
    "packets_of_msgpack": (
        b"\x84\xa4type\x02\xa4data\x92\xa3say\x01\xa3nsp\xa1/\xa2id\x07",
        b"\x83\xa4type\x00\xa4data\x80\xa3nsp\xa1/",
    ),
    "http": (
        b"GET\nEIO=4&transport=polling\nhost:80\nhttp://host:80\n\n",
        b"POST\nEIO=4&transport=polling&sid=x\nhost\n\n3\n40x",
        b"OPTIONS\ntransport=websocket\nhost\nnull\n9999999999\n",
    ),
    "bus": (
        b'{"method":"emit","event":"e","data":[1],"namespace":"/","room":null,"host_id":"x"}',
        b'{"method":"emit","event":"e","data":["YQ=="],"binary":true,"node":"n","seq":1}',
        b'{"method":"emit_sids","event":"e","data":[],"room":"r","sids":["xuy1yW1VkELyE2x1sf2b1d1c"],"node":"n","seq":2}',
        b'{"method":"node","state":"here","node":"n","seq":3,"interval":5}',
        b'{"method":"node","state":"here","node":"n","seq":3,"interval":5,"protocol":1,"topics":["t"],"to":{"0a1b2c":7}}',
        b'{"method":"ask","host_id":"n","topic":"t","args":[1],"id":5,"expires_at":1.5,"to":"m","node":"n","seq":1}',
        b'{"method":"answer","host_id":"m","args":["YQ=="],"binary":true,"error":null,"id":5,"node":"n","seq":1}',
        b'{"method":"callback","host_id":"x","sid":"s","namespace":"/","id":1,"args":[]}',
        b'{"method":"emit","event":"e","node":"n","seq":1,"sig":"' + b"0" * 92 + b'"}',
    ),
}
"""Good inputs to begin with."""
