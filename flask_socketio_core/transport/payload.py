"""Bodies of HTTP long-polling: several Engine.IO packets in one request or response. No I/O.

Packets are separated by U+001E; a binary one is ``b`` followed by base64.

Source: engine.io-protocol v4, "Packet encoding", "HTTP long-polling".
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable

from ..errors import ProtocolError

SEPARATOR = "\x1e"

_TYPES = frozenset("0123456")


def encode_payload(packets: Iterable[str | bytes]) -> bytes:
    """Return packets as the body of a response.

    :param packets: text packets with their type, and the bytes of binary ones.
    """
    return SEPARATOR.join(
        [
            packet if isinstance(packet, str) else "b" + base64.b64encode(packet).decode("ascii")
            for packet in packets
        ]
    ).encode()


def decode_payload(body: bytes, max_packets: int) -> list[str | bytes]:
    """Return the packets in the body of a request: text ones with their type, binary ones as bytes.

    :param max_packets: most packets in one body.
    :raises ProtocolError: if there are more, or one of them is malformed; then none is returned.
    """
    count = body.count(b"\x1e") + 1
    if count > max_packets:
        raise ProtocolError(f"payload of {count} packets exceeds max_packets_per_payload={max_packets}")
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise ProtocolError(f"payload that is not UTF-8: {error}") from None
    return [_decode_packet(packet) for packet in text.split(SEPARATOR)]


def _decode_packet(packet: str) -> str | bytes:
    kind = packet[:1]
    if kind in _TYPES:
        return packet
    if kind == "b":
        lines = packet[1:].replace("\r", "").replace("\n", "")  # the Java client breaks them, as mail does
        try:
            return base64.b64decode(lines, validate=True)
        except (binascii.Error, ValueError) as error:
            raise ProtocolError(f"binary packet that is not base64: {error}") from None
    raise ProtocolError(f"Engine.IO packet of unknown type {kind!r}" if kind else "empty Engine.IO packet")
