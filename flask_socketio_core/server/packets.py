"""Socket.IO packets: encode once for every recipient and transport, decode and validate. No I/O.

==================  ====  ==========================================================
Socket.IO packet    type  payload that is accepted
==================  ====  ==========================================================
CONNECT             0     none or any JSON value (the application's ``auth``)
DISCONNECT          1     none or any JSON value (python-socketio sends a reason)
EVENT               2     array that begins with the event's name
ACK                 3     array; none counts as an empty one
CONNECT_ERROR       4     none or any JSON value
BINARY_EVENT        5     as EVENT, with placeholders for the attachments that follow
BINARY_ACK          6     as ACK, likewise
==================  ====  ==========================================================

JSON text has a path of its own here, which is several times as fast as python-socketio's ``Packet`` and gives the same
bytes; ``Packet`` and its subclasses serve msgpack and the application's own serializers.

Source: socket.io-protocol v5.
"""

from __future__ import annotations

import json as standard_json
import re
from collections.abc import Callable
from json.encoder import encode_basestring_ascii
from typing import Any, NamedTuple, Protocol, TypeGuard

from ..common.json_modules import tried
from ..common.quoting import printable
from ..common.sendable import (
    BINARY,
    FAILURES,
    RESERVED_EVENTS,
    StrictJson,
    carries_all,
    check_count,
    check_name,
    explain,
    finite,
    has_binary,
    placeholder,
    put_back,
    refuse_constant,
    take_out,
)
from ..errors import InvalidData, InvalidOption, ProtocolError, WrongSerializer
from ..transport.packets import EIO_MESSAGE, Outgoing

# Socket.IO packet types. Source: socket.io-protocol v5, "Packet types".
CONNECT = 0
DISCONNECT = 1
EVENT = 2
ACK = 3
CONNECT_ERROR = 4
BINARY_EVENT = 5
BINARY_ACK = 6

MAX_ATTACHMENTS = 10
"""Most attachments of one packet, unless the application says otherwise. Source: socket.io-parser's default."""

MSGPACK_TYPE = b"\xa4type"
"""A packet's first key in msgpack. Source: python-socketio's ``MsgPackPacket``, socket.io-msgpack-parser."""

MSGPACK_LOOK_BYTES = 256
"""Where that key is looked for, bytes."""

MAX_DIGITS = 100
"""Most digits of an ack id or a JSON integer, as in python-socketio: more than that takes long to convert."""


class Incoming(NamedTuple):
    """A packet from the peer, validated and with its attachments in place: its type is never a binary one."""

    kind: int
    namespace: str
    ack_id: int | None
    data: Any


class _Pending(Protocol):
    """A packet whose attachments are on their way."""

    def add(self, attachment: bytes) -> Incoming | None:
        """Take the next attachment; return the packet when that was the last one."""


class Codec:
    """Encode packets, and parse them for :class:`Decoder`. One per server; holds no state of a connection.

    :param serializer: ``"default"`` for JSON, ``"msgpack"``, or a subclass of python-socketio's ``Packet``.
    :param json: module or object with ``dumps(data, separators=...)`` and ``loads(text)``, or one such as orjson, whose
        ``dumps`` knows no ``separators`` and returns bytes; ``None`` for the standard library's. It is given to this
        codec only, not to python-socketio's class as upstream does.
    :param max_attachments: most attachments in one packet, sent or received; msgpack has none.
    :param max_attached_bytes: most bytes in all attachments of one packet from a peer; ``None`` for no limit.
    :raises InvalidOption: if there is no such serializer, or ``json`` is unsuitable.
    """

    def __init__(
        self,
        *,
        serializer: str | type[Any] = "default",
        json: Any = None,
        max_attachments: int = MAX_ATTACHMENTS,
        max_attached_bytes: int | None = None,
    ) -> None:
        self.max_attachments = max_attachments
        self.max_attached_bytes = max_attached_bytes
        if json is not None and json is not standard_json:
            json = tried(json)
        self._json: Any = None if json is None or json is standard_json else StrictJson(json)
        self._packet_class = _packet_class(serializer, json)
        self._encode: Callable[[int, Any, str, int | None], Outgoing]
        self.parse: Callable[[str | bytes], Incoming | _Pending]
        """Parse one message, a text or a binary one; what it returns is complete or waits for attachments."""
        if self._packet_class is not None:
            self._encode, self.parse = self._encode_with_class, self._parse_with_class
        elif self._json is not None:
            self._encode, self.parse = self._encode_with_json, self._parse_text
        else:
            self._encode, self.parse = self._encode_text, self._parse_text
        self._loads = _load if self._json is None else self._load_with_json

    def encode_event(
        self, event: str, args: tuple[Any, ...], namespace: str = "/", ack_id: int | None = None
    ) -> Outgoing:
        """Encode an event; bytes, bytearrays and memoryviews anywhere in the arguments become attachments.

        :param ack_id: asks the peer for an acknowledgement with this id.
        :raises InvalidData: if clients could not read it; says where.
        """
        if event.__class__ is not str or event in RESERVED_EVENTS:
            check_name(event)
        try:
            return self._encode(EVENT, [event, *args], namespace, ack_id)
        except FAILURES as error:
            raise self._explained(f"event {event!r}", args, error) from error

    def encode_ack(self, args: tuple[Any, ...], namespace: str, ack_id: int) -> Outgoing:
        """Encode the acknowledgement of an event.

        :raises InvalidData: if clients could not read it; says where.
        """
        try:
            return self._encode(ACK, list(args), namespace, ack_id)
        except FAILURES as error:
            raise self._explained("acknowledgement", args, error) from error

    def _explained(self, subject: str, data: Any, error: Exception) -> InvalidData:
        return explain(subject, data, error, lambda value: self._encode(CONNECT, value, "/", None))

    def encode_connect(self, sid: str, namespace: str, pid: str | None = None) -> Outgoing:
        """Encode the acceptance of a client.

        :param pid: what it presents to come back after it has lost its connection. Source: socket.io-client 4.6.
        """
        data = {"sid": sid} if pid is None else {"sid": sid, "pid": pid}
        return self._encode(CONNECT, data, namespace, None)

    def encode_connect_error(self, data: Any, namespace: str) -> Outgoing:
        """Encode the refusal of a client.

        :raises ValueError: if there are bytes in the data; this packet can have no attachments.
        """
        return self._encode(CONNECT_ERROR, data, namespace, None)

    def encode_disconnect(self, namespace: str) -> Outgoing:
        """Encode the end of a client, which has no payload: to official clients it would be a parse error.

        Source: socket.io-protocol v5, "Disconnection from a namespace".
        """
        return self._encode(DISCONNECT, None, namespace, None)

    # JSON by an object of the application's

    def _encode_with_json(self, kind: int, data: Any, namespace: str, ack_id: int | None) -> Outgoing:
        attachments: list[bytes] = []
        if has_binary(data):  # or else the module gets what the application gave
            data = take_out(data, attachments)
            check_count(len(attachments), self.max_attachments)
        body = "" if data is None else self._json.dumps(data, separators=(",", ":"))
        return _assemble(kind, body, namespace, ack_id, attachments)

    def _load_with_json(self, text: str, position: int) -> Any:
        try:
            return self._json.loads(text[position:])
        except Exception as error:  # the application's parser may raise anything on bad input
            raise ProtocolError(f"packet with invalid JSON: {error!r}") from error

    # JSON text, with attachments beside it

    def _encode_text(self, kind: int, data: Any, namespace: str, ack_id: int | None) -> Outgoing:
        try:
            body = "" if data is None else _dump(data)
        except _BytesFound:
            pass
        else:
            return _assemble(kind, body, namespace, ack_id, ())
        encoder = _BinaryEncoder()
        body = encoder.encode(data)
        attachments = encoder.attachments
        check_count(len(attachments), self.max_attachments)
        if body.count('"_placeholder":') != len(attachments):  # within a text, its quotes are escaped
            take_out(data, [])  # raises if one of the others could be taken for one of ours
        return _assemble(kind, body, namespace, ack_id, attachments)

    def _parse_text(self, text: str | bytes) -> Incoming | _Pending:
        if not isinstance(text, str):
            raise _unexpected_bytes(text)
        bracket = text.find("[")
        if text.startswith("2") and 0 < bracket < MAX_DIGITS:
            # A shortcut for what nearly all packets are, an event of the main namespace.
            digits = text[1:bracket]
            if not digits or (digits.isdecimal() and digits.isascii()):
                ack_id = int(digits) if digits else None
                return _checked(EVENT, "/", ack_id, self._loads(text, bracket))
        kind = _KINDS.get(text[:1])
        if kind is None:
            raise ProtocolError(f"Socket.IO packet of unknown type {text[:1]!r}")
        position, count = 1, 0
        if kind > CONNECT_ERROR:
            position, count = self._attachment_count(text)
        namespace = "/"
        if text.startswith("/", position):
            namespace, position = _namespace(text, position)
        if kind not in _WITH_ARRAY:
            return Incoming(
                kind, namespace, None, self._loads(text, position) if position < len(text) else None
            )
        bracket = text.find("[", position)
        if bracket == position:
            ack_id = None
        else:
            if bracket < 0:
                bracket = len(text)
            ack_id = _ack_id(text[position:bracket])
        data = self._loads(text, bracket) if bracket < len(text) else None
        if kind < BINARY_EVENT:
            return _checked(kind, namespace, ack_id, data)
        return self._with_attachments(_checked(kind - 3, namespace, ack_id, data), count)

    def _attachment_count(self, text: str) -> tuple[int, int]:
        """Return where the rest begins, and the number of attachments of a binary packet."""
        dash = text.find("-", 1, 12)
        digits = text[1:dash] if dash > 0 else ""
        if not (digits.isdecimal() and digits.isascii()):
            raise ProtocolError("binary packet without a number of attachments")
        count = int(digits)
        self._check_count(count)
        return dash + 1, count

    def _check_count(self, count: int) -> None:
        if count > self.max_attachments:
            raise ProtocolError(f"packet of {count} attachments exceeds the limit of {self.max_attachments}")

    def _with_attachments(self, packet: Incoming, count: int) -> Incoming | _Pending:
        return _PendingText(packet, count, self.max_attached_bytes) if count else packet

    # packet classes

    def _encode_with_class(self, kind: int, data: Any, namespace: str, ack_id: int | None) -> Outgoing:
        assert self._packet_class is not None
        if not carries_all(self._packet_class) and has_binary(data):
            attachments: list[bytes] = []
            structure = take_out(data, attachments)
            check_count(len(attachments), self.max_attachments)
            data = put_back(structure, attachments)  # all of them as bytes
        encoded = self._packet_class(kind, data=data, namespace=namespace, id=ack_id).encode()
        parts = encoded if isinstance(encoded, list) else [encoded]
        return Outgoing(
            tuple([EIO_MESSAGE + part if isinstance(part, str) else bytes(part) for part in parts]),
            kind == EVENT,
        )

    def _parse_with_class(self, message: str | bytes) -> Incoming | _Pending:
        assert self._packet_class is not None
        try:
            packet = self._packet_class(encoded_packet=message)
        except Exception as error:  # a serializer may raise anything on bad input
            if isinstance(message, str) and self._is_binary():
                raise WrongSerializer(
                    "text where a binary packet was expected: probably the client uses the default serializer, JSON, "
                    f"and the server {self._packet_class.__name__}; both have to use the same (option serializer)"
                ) from error
            raise ProtocolError(f"packet that cannot be decoded: {error!r}") from error
        if packet.attachment_count:
            self._check_count(packet.attachment_count)
            _check_placeholders(packet.data, packet.attachment_count)
            return _PendingPacket(packet, self.max_attached_bytes)
        return _from_packet(packet)

    def _is_binary(self) -> bool:
        """Return whether the packet class makes binary messages of everything."""
        try:
            (packet,) = self._encode_with_class(CONNECT, None, "/", None).packets
        except Exception:  # noqa: BLE001  # a serializer of the application's, and it is another error that matters
            return False
        return isinstance(packet, bytes)


def _unexpected_bytes(message: bytes) -> ProtocolError:
    text = "binary message where a packet was expected"
    if MSGPACK_TYPE not in message[:MSGPACK_LOOK_BYTES]:
        return ProtocolError(text)
    return WrongSerializer(
        f"{text}: probably the client uses the serializer msgpack, and the server JSON; both have to use the same "
        "(option serializer)"
    )


class Decoder:
    """Decode the messages of one connection. Keeps a packet until its attachments have come; otherwise nothing.

    Not thread-safe: the messages of a connection come one after the other. After a :exc:`ProtocolError` the
    connection is to be closed.
    """

    __slots__ = ("_parse", "_pending")

    def __init__(self, codec: Codec) -> None:
        self._parse = codec.parse
        self._pending: _Pending | None = None

    def decode(self, data: str | bytes) -> Incoming | None:
        """Take the content of one Engine.IO message.

        JSON is what the standard says: no ``NaN`` and ``Infinity``, also none that is written ``1e999``. Nor are there
        integers of more than 100 digits, as in python-socketio.

        :param data: text without the leading ``4``, or the bytes of a binary message.
        :returns: the packet, or ``None`` if attachments are still to come.
        :raises ProtocolError: if the peer broke the protocol.
        """
        if self._pending is not None:
            return self._attach(self._pending, data)
        found = self._parse(data)
        if isinstance(found, Incoming):
            return found
        self._pending = found
        return None

    def _attach(self, pending: _Pending, data: str | bytes) -> Incoming | None:
        if isinstance(data, str):
            raise ProtocolError("text message where an attachment was expected")
        packet = pending.add(data)
        if packet is not None:
            self._pending = None
        return packet


# encoding JSON text


class _BytesFound(Exception):
    """There are bytes in the data, so the packet is a binary one."""


class _TextEncoder(standard_json.JSONEncoder):
    """Encode JSON and notice bytes on the way, so that data without them is walked once, in C."""

    def default(self, o: Any) -> Any:
        if isinstance(o, BINARY):
            raise _BytesFound
        return super().default(o)


class _BinaryEncoder(standard_json.JSONEncoder):
    """Encode JSON and put a placeholder for everything that is bytes."""

    def __init__(self) -> None:
        super().__init__(separators=(",", ":"), allow_nan=False)
        self.attachments: list[bytes] = []

    def default(self, o: Any) -> Any:
        if isinstance(o, BINARY):
            self.attachments.append(bytes(o))
            return placeholder(len(self.attachments) - 1)
        return super().default(o)


_encoder = _TextEncoder(separators=(",", ":"), allow_nan=False)


def _make_dump() -> Callable[[Any], str]:
    """Return a function that encodes as :data:`_encoder` does.

    ``JSONEncoder.encode`` makes the part of it that is written in C anew for every call, which takes longer than
    encoding a short event does. Here it is made once, where it can be had.
    """
    make: Any = getattr(standard_json.encoder, "c_make_encoder", None)
    try:
        encode = make(None, _encoder.default, encode_basestring_ascii, None, ":", ",", False, False, False)
        if "".join(encode([{"a": 1}, "b"], 0)) != _encoder.encode([{"a": 1}, "b"]):
            return _encoder.encode
    except TypeError:  # another Python's takes something else, or has none
        return _encoder.encode

    def dump(data: Any) -> str:
        try:
            return "".join(encode(data, 0))
        except RecursionError:
            return _encoder.encode(data)  # it tells a circular reference from deep nesting

    return dump


_dump = _make_dump()


def _assemble(
    kind: int, body: str, namespace: str, ack_id: int | None, attachments: list[bytes] | tuple[()]
) -> Outgoing:
    """Source: socket.io-protocol v5, "Packet encoding"."""
    number = "" if ack_id is None else ack_id
    prefix = "" if namespace == "/" or not namespace else namespace + ","
    if not attachments:
        return Outgoing((f"4{kind}{prefix}{number}{body}",), kind == EVENT)
    if kind != EVENT and kind != ACK:
        raise ValueError(f"a packet of type {kind} cannot contain bytes, only events and acks can")
    text = f"4{kind + 3}{len(attachments)}-{prefix}{number}{body}"
    return Outgoing((text, *attachments), kind == EVENT)


# decoding JSON text

_KINDS = {str(kind): kind for kind in range(7)}
_WITH_ARRAY = frozenset((EVENT, ACK, BINARY_EVENT, BINARY_ACK))
_ONLY_SPACE = re.compile(r"[ \t\n\r]*\Z")


def _bounded_int(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"integer of {len(digits)} characters exceeds the limit of {MAX_DIGITS}")
    return int(digits)


_decode_short = standard_json.JSONDecoder(parse_float=finite, parse_constant=refuse_constant).raw_decode
_decode_long = standard_json.JSONDecoder(parse_int=_bounded_int, parse_constant=refuse_constant).raw_decode
_decode_wary = standard_json.JSONDecoder(
    parse_int=_bounded_int, parse_float=finite, parse_constant=refuse_constant
).raw_decode

_EXPONENT = re.compile(r"e\+?[0-9]{3}")
_CAPITAL_EXPONENT = re.compile(r"E\+?[0-9]{3}")  # apart: a search for one letter is several times as fast
_DIGITS = re.compile(r"[0-9]{20}")


def _may_overflow(text: str) -> bool:
    """Return whether there may be a float of 10**309 or more: three digits of exponent, or 210 before it."""
    return (
        _EXPONENT.search(text) is not None
        or _CAPITAL_EXPONENT.search(text) is not None
        or _DIGITS.search(text[::10]) is not None
    )


def _load(text: str, position: int) -> Any:
    """Read the JSON value that makes up the rest of a text."""
    try:
        # A short text has no room for a long integer, and reading numbers in C takes half the time.
        if len(text) <= MAX_DIGITS:
            value, end = _decode_short(text, position)
        else:
            value, end = (_decode_wary if _may_overflow(text) else _decode_long)(text, position)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"packet with invalid JSON: {error!r}") from None
    if end != len(text) and _ONLY_SPACE.match(text, end) is None:
        raise ProtocolError(f"packet with something after its JSON, at character {end}")
    return value


def _namespace(text: str, position: int) -> tuple[str, int]:
    """Read a namespace without its query string; return it and where the rest begins.

    Source: socket.io-protocol v5, "Packet encoding"; python-socketio's ``Packet.decode`` for the query string.
    """
    comma = text.find(",", position)
    if comma < 0:
        comma = len(text)
    return _without_query(text[position:comma]), comma + 1


def _without_query(namespace: str) -> str:
    return namespace.partition("?")[0] if "?" in namespace else namespace


def _ack_id(digits: str) -> int | None:
    if not digits:
        return None
    if not (digits.isdecimal() and digits.isascii()) or len(digits) > MAX_DIGITS:
        raise ProtocolError(f"invalid ack id {digits[:20]!r}")
    return int(digits)


def _checked(kind: int, namespace: str, ack_id: int | None, data: Any) -> Incoming:
    """Return an EVENT or ACK packet whose payload is what it should be.

    A number as an event's name becomes text, as it does in JavaScript.

    Source: socket.io-parser's ``isPayloadValid``.
    """
    if kind == ACK:
        if data is None:
            data = []
        if not isinstance(data, list):
            raise ProtocolError("ack whose payload is not an array")
        return Incoming(ACK, namespace, ack_id, data)
    if not isinstance(data, list) or not data:
        raise ProtocolError("event whose payload is not a non-empty array")
    name = data[0]
    if name.__class__ is not str:
        if isinstance(name, bool) or not isinstance(name, (int, float)):
            raise ProtocolError("event whose name is neither text nor a number")
        data[0] = str(name)
    elif name in RESERVED_EVENTS:
        raise ProtocolError(f"event with the reserved name {name!r}")
    return tuple.__new__(Incoming, (EVENT, namespace, ack_id, data))  # half the time of calling the class


class _PendingText:
    """A JSON packet whose attachments are on their way."""

    __slots__ = ("_attachments", "_count", "_packet", "_room")

    def __init__(self, packet: Incoming, count: int, max_bytes: int | None) -> None:
        self._packet = packet
        self._count = count
        self._room = _Room(max_bytes)
        self._attachments: list[bytes] = []

    def add(self, attachment: bytes) -> Incoming | None:
        """Take the next attachment; return the packet when that was the last one."""
        self._room.take(attachment)
        self._attachments.append(attachment)
        if len(self._attachments) < self._count:
            return None
        try:
            return self._packet._replace(data=put_back(self._packet.data, self._attachments))
        except ValueError as error:
            raise ProtocolError(str(error)) from None
        except RecursionError:
            raise ProtocolError("binary packet that is nested too deeply") from None


class _PendingPacket:
    """A packet of one of python-socketio's classes whose attachments are on their way."""

    __slots__ = ("_packet", "_room")

    def __init__(self, packet: Any, max_bytes: int | None) -> None:
        self._packet = packet
        self._room = _Room(max_bytes)

    def add(self, attachment: bytes) -> Incoming | None:
        """Take the next attachment; return the packet when that was the last one."""
        self._room.take(attachment)
        try:
            complete = self._packet.add_attachment(attachment)
        except Exception as error:  # a serializer may raise anything on bad input
            raise ProtocolError(f"packet that cannot be decoded: {error!r}") from error
        return _from_packet(self._packet) if complete else None


def _check_placeholders(data: Any, count: int) -> None:
    """Check what python-socketio's class does not: that each attachment is used once."""
    try:
        put_back(data, [b""] * count)
    except ValueError as error:
        raise ProtocolError(str(error)) from None
    except RecursionError:
        raise ProtocolError("binary packet that is nested too deeply") from None


class _Room:
    """How many bytes of attachments a packet may still get."""

    __slots__ = ("_left", "_limit")

    def __init__(self, max_bytes: int | None) -> None:
        self._left = self._limit = max_bytes

    def take(self, attachment: bytes) -> None:
        """Count an attachment.

        :raises ProtocolError: if it is more than there is room for.
        """
        if self._left is None:
            return
        self._left -= len(attachment)
        if self._left < 0:
            raise ProtocolError(
                f"packet whose attachments exceed {self._limit} bytes", status=413, close_code=1009
            )


# packet classes


def _packet_class(serializer: str | type[Any], json: Any) -> type[Any] | None:
    """Return the class that encodes and decodes, ``None`` for the JSON path of this module."""
    if serializer == "default":
        return None
    if serializer == "msgpack":
        try:
            from socketio.msgpack_packet import MsgPackPacket
        except ImportError as error:
            raise InvalidOption(
                "serializer='msgpack' needs the package msgpack: pip install msgpack"
            ) from error
        found: type[Any] = MsgPackPacket
    elif _is_packet_class(serializer):
        found = serializer
    else:
        raise InvalidOption(
            f"serializer={serializer!r} does not exist\n"
            "  available: 'default', 'msgpack', or a subclass of socketio.packet.Packet"
        )
    # The class attribute is the process's; a subclass keeps our module to ourselves.
    own = {} if json is None else {"json": json}
    if not carries_all(found):
        own = {"json": StrictJson(found.json if json is None else json)}
    return type(found.__name__, (_WithoutNothing, found), own)


def _is_packet_class(serializer: str | type[Any]) -> TypeGuard[type[Any]]:
    if not isinstance(serializer, type):
        return False
    from socketio.packet import Packet  # here: half a second that JSON does without

    return issubclass(serializer, Packet)


class _WithoutNothing:
    """For serializers that send a mapping: to official clients a DISCONNECT with ``data: null`` is a parse error."""

    packet_type: int

    def _to_dict(self) -> dict[str, Any]:
        fields: dict[str, Any] = super()._to_dict()  # type: ignore[misc]  # python-socketio's, behind it in the order
        if self.packet_type == DISCONNECT:
            fields.pop("data", None)
        return fields


def _from_packet(packet: Any) -> Incoming:
    """Validate a packet that one of python-socketio's classes decoded."""
    kind, namespace, ack_id = packet.packet_type, packet.namespace, packet.id
    if namespace is None:
        namespace = "/"
    if kind.__class__ is not int or not CONNECT <= kind <= BINARY_ACK:
        raise ProtocolError(f"Socket.IO packet of unknown type {printable(repr(kind))}")
    if not isinstance(namespace, str):
        raise ProtocolError("packet whose namespace is not text")
    if ack_id is not None and ack_id.__class__ is not int:
        raise ProtocolError("packet whose ack id is not an integer")
    if kind > CONNECT_ERROR:
        kind -= 3
    namespace = _without_query(namespace)
    if kind in (EVENT, ACK):
        return _checked(kind, namespace, ack_id, packet.data)
    return Incoming(kind, namespace, None, packet.data)
