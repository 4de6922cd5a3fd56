"""Compressed WebSocket messages: what is agreed, what is sent, what is read. No I/O.

Rules, all from RFC 7692 (section numbers below are its own):

- a client offers ``permessage-deflate``, several times if it likes, in order of preference; an offer that is malformed
  or cannot be served is declined, and without an acceptable one nothing is compressed (5.1, 7.1);
- the first frame of a compressed message has the first reserved bit, and no other frame has it (6.2);
- a message is a raw DEFLATE stream without the four bytes that end its last block (7.2).

Each message is compressed on its own: both sides agree to keep no context (7.1.1). So a broadcast is compressed once,
all who agreed get the same bytes, and a connection costs no memory. See docs/adr/0006.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Protocol

from ..errors import PayloadTooLarge, ProtocolError
from .frames import BINARY, INVALID_DATA, TEXT, FrameReader, Message, build_frame

NAME = "permessage-deflate"
ANSWER = f"{NAME}; server_no_context_takeover; client_no_context_takeover"
"""A server may ask for both, offered or not. Source: RFC 7692, section 7.1.1."""

DEFLATE = "flask_socketio_core.deflate"
"""Where an environ has the :class:`Deflate` for the blocking shell; missing when compression is off."""

RSV1 = 0x40
"""The bit of a frame's first byte that says "compressed". Source: RFC 7692, section 6."""

KEPT_FRAMES = 4
"""So many compressed messages are remembered, for other recipients whose transport takes messages one by one."""

INFLATED_BYTES = 65_536
"""So much of one read is decompressed before who gets it is asked again, bytes and the rest of a message; as much as a
plain read brings."""

LARGE = 131_072
"""Above this, what is compressed is compressed fast, bytes: a seventh of the time for a tenth more bytes."""

_WINDOW_BITS = 15
_TAIL = b"\x00\x00\xff\xff"
_FINAL_BLOCK = b"\x01\x00\x00\xff\xff"
_RESTS = (b"", _TAIL + _FINAL_BLOCK, b"\x00" + _TAIL + _FINAL_BLOCK)
"""What may stand behind a stream's end: nothing, or what we append if the message brought a last block of its own, with
or without the byte that begins the next one (7.2.3.4)."""

_PARAMETER = re.compile(r'(\w+)(?:[ \t]*=[ \t]*("?)([89]|1[0-5])\2)?')
_WITH_VALUE = {
    "server_no_context_takeover": (False,),
    "client_no_context_takeover": (False,),
    "server_max_window_bits": (True,),
    "client_max_window_bits": (False, True),
}
"""Whether a parameter of an offer has a value, the bits of a window. Source: RFC 7692, section 7.1."""


def agree(
    environ: Mapping[str, Any], deflate: Deflate | None
) -> tuple[Deflate | None, list[tuple[str, str]]]:
    """Agree with a client on compression.

    :param deflate: ``None`` if it is switched off.
    :returns: what makes the frames for this client, ``None`` if they are plain, and what to add to the answer.
    """
    answer = None if deflate is None else negotiate(environ.get("HTTP_SEC_WEBSOCKET_EXTENSIONS", ""))
    return (None, []) if answer is None else (deflate, [("Sec-WebSocket-Extensions", answer)])


def negotiate(offers: str) -> str | None:
    """Return the answer to a client's ``Sec-WebSocket-Extensions``, or ``None`` if there is nothing to agree on.

    Source: RFC 7692, sections 5.1 and 7.1.
    """
    return next((answer for offer in offers.split(",") if (answer := _answer(offer))), None)


def _answer(offer: str) -> str | None:
    """Return the answer to one offer, ``None`` to decline it."""
    extension, *parameters = [part.strip(" \t") for part in offer.split(";")]
    if extension != NAME:
        return None
    given: dict[str, str | None] = {}
    for parameter in parameters:
        found = _PARAMETER.fullmatch(parameter)
        if found is None:
            return None
        name, bits = found[1], found[3]
        if name in given or (bits is not None) not in _WITH_VALUE.get(name, ()):
            return None
        given[name] = bits
    # A client's smaller window needs nothing, ours takes them all. For a smaller one of ours there are no bytes.
    server_bits = given.get("server_max_window_bits")
    if server_bits is None:
        return ANSWER
    return f"{ANSWER}; server_max_window_bits={server_bits}" if int(server_bits) == _WINDOW_BITS else None


class Framed(Protocol):
    """What goes to many peers at once: its messages, and their frames."""

    packets: tuple[str | bytes, ...]
    frames: bytes
    deflated: bytes
    """Its frames, compressed; missing until :class:`Deflate` sets it."""


class Deflate:
    """Make frames for the clients that agreed.

    :param threshold: smallest message that is compressed, bytes.
    """

    def __init__(self, threshold: int) -> None:
        self._threshold = threshold
        self._compressed = lru_cache(maxsize=KEPT_FRAMES)(_compressed_frame)

    def frames(self, outgoing: Framed) -> bytes:
        """Return all frames of a packet; made once, for all recipients."""
        plain = outgoing.frames
        if len(plain) < self._threshold:
            return plain
        try:
            return outgoing.deflated
        except AttributeError:
            outgoing.deflated = b"".join([self.frame(packet) for packet in outgoing.packets])
            return outgoing.deflated

    def frame(self, message: str | bytes) -> bytes:
        """Return the frame of one message, compressed if that makes it smaller."""
        opcode, payload = (TEXT, message.encode()) if isinstance(message, str) else (BINARY, message)
        return (
            build_frame(opcode, payload)
            if len(payload) < self._threshold
            else self._compressed(opcode, payload)
        )


def level_for(size: int) -> int:
    """Return zlib's level for so many bytes."""
    return 1 if size > LARGE else 6


def _compressed_frame(opcode: int, payload: bytes) -> bytes:
    compressor = zlib.compressobj(level_for(len(payload)), wbits=-_WINDOW_BITS)
    small = (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(_TAIL)
    return build_frame(opcode | RSV1, small) if len(small) < len(payload) else build_frame(opcode, payload)


def inflate(payload: bytes, limit: int) -> bytes:
    """Decompress a message.

    :param limit: most bytes that may come out; no more are made.
    :raises PayloadTooLarge: if there would be more.
    :raises ProtocolError: if it is not a whole DEFLATE stream.

    Source: RFC 7692, section 7.2.2.
    """
    decompressor = zlib.decompressobj(wbits=-_WINDOW_BITS)
    try:
        # A last block behind the message's end: without it, zlib would not say that something is missing.
        message = decompressor.decompress(payload + _TAIL + _FINAL_BLOCK, limit + 1)
    except zlib.error as error:
        raise ProtocolError(
            f"message that cannot be decompressed: {error}", close_code=INVALID_DATA
        ) from None
    if len(message) > limit:
        raise PayloadTooLarge(len(message), limit)
    if not decompressor.eof or decompressor.unused_data not in _RESTS:
        raise ProtocolError("compressed message that ends too early or too late", close_code=INVALID_DATA)
    return message


class DeflatedFrameReader(FrameReader):
    """Turn the bytes of a client that agreed into messages, fewer at a time if they swell: 64 kB may become 64 MB."""

    __slots__ = ("_inflated_bytes", "_is_compressed")

    def __init__(self, max_message_bytes: int) -> None:
        super().__init__(max_message_bytes)
        self._inflated_bytes = 0

    def _read(self, data: bytes | bytearray) -> list[Message]:
        self._inflated_bytes = 0
        return super()._read(data)

    def _check_reserved(self, first: int) -> None:
        if first & 0x7F not in (RSV1 | TEXT, RSV1 | BINARY):
            super()._check_reserved(first)

    def _take(self, first: int, payload: bytes, found: list[Message]) -> None:
        if first & 0x0F in (TEXT, BINARY):
            self._is_compressed = bool(first & RSV1)
        super()._take(first, payload, found)

    def _value(self, opcode: int, payload: bytes) -> str | bytes:
        if self._is_compressed:
            payload = inflate(payload, self.max_message_bytes)
            self._inflated_bytes += len(payload)
            self.more = self._inflated_bytes >= INFLATED_BYTES
        return super()._value(opcode, payload)
