"""WebSocket frames, server side: bytes in, messages out. No I/O.

Rules, all from RFC 6455 (section numbers below are its own):

- a client masks every frame (5.1), a server masks none;
- without an extension the reserved bits are zero and only opcodes 0, 1, 2, 8, 9 and 10 exist (5.2); ``deflate.py`` has
  the one extension that there is;
- control frames are whole and carry at most 125 bytes (5.5); they may stand between the fragments of a message (5.4);
- a text message and the reason of a close frame are UTF-8 (8.1, 5.5.1).

A frame that would pass the size limit is refused when its header announces it, before its payload is buffered.
"""

from __future__ import annotations

from ..errors import PayloadTooLarge, ProtocolError

CONTINUATION = 0x0
TEXT = 0x1
BINARY = 0x2
CLOSE = 0x8
PING = 0x9
PONG = 0xA

MAX_CONTROL_BYTES = 125
"""Most payload bytes of a control frame. Source: RFC 6455, section 5.5."""

INVALID_DATA = 1007
"""Close code for a message that is not what its type says. Source: RFC 6455, section 7.4.1."""

Message = tuple[int, str | bytes]
"""An opcode and its value: ``str`` for TEXT, ``bytes`` for the others."""

_FIN = 0x80
_RESERVED = 0x70
_MASKED = 0x80
_CONTROL = 0x08
_OPCODES = frozenset((CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG))
_AT_ONCE = 16
"""Most frames that one :meth:`FrameReader.feed` returns. 64 kB of large messages are a few frames; of pongs they are
9,000, and other clients wait for the end of it."""
_FIRST_READ, _LONGEST_READ = 4096, 65_536
"""How many bytes are read from a client at once."""
_BIG_BYTES = 131_072
"""From here on the tables win: about 2 ms for 1 MB against 3.5 ms, on CPython 3.11."""
_SMALL_TEXT_HEADS = tuple(bytes((_FIN | TEXT, length)) for length in range(126))


def build_frame(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    """Build one unmasked frame.

    :param fin: ``False`` for a fragment that is not the last one.

    Source: RFC 6455, section 5.2.
    """
    first = opcode | _FIN if fin else opcode
    length = len(payload)
    if length < 126:
        return bytes((first, length)) + payload
    if length < 0x10000:
        return bytes((first, 126)) + length.to_bytes(2, "big") + payload
    return bytes((first, 127)) + length.to_bytes(8, "big") + payload


def text_frame(data: str | bytes) -> bytes:
    """Build a frame of text.

    :param data: text, or text that is UTF-8 encoded already.
    """
    payload = data.encode() if isinstance(data, str) else data
    if len(payload) < 126:
        return _SMALL_TEXT_HEADS[len(payload)] + payload
    return build_frame(TEXT, payload)


def binary_frame(payload: bytes) -> bytes:
    """Build a frame of binary data."""
    return build_frame(BINARY, payload)


def pong_frame(payload: bytes) -> bytes:
    """Build the answer to a ping, which repeats its payload. Source: RFC 6455, section 5.5.3."""
    return build_frame(PONG, payload)


def close_frame(code: int = 1000, reason: str = "") -> bytes:
    """Build a close frame.

    :param reason: cut to the 123 bytes that fit.
    :raises ValueError: if the code may not be sent.

    Source: RFC 6455, sections 5.5.1 and 7.4.
    """
    if not may_be_sent(code):
        raise ValueError(f"{code} is not a WebSocket close code that may be sent")
    text = reason.encode()[: MAX_CONTROL_BYTES - 2].decode(errors="ignore")  # never half a character
    return build_frame(CLOSE, code.to_bytes(2, "big") + text.encode())


def may_be_sent(code: int) -> bool:
    """Return whether a close code may stand in a close frame.

    Source: RFC 6455, section 7.4, and IANA's registry (1012 to 1014); 1004 to 1006 and 1015 are never sent.
    """
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


def unmask(payload: bytes | bytearray, key: bytes) -> bytes:
    """Apply a masking key; the same operation masks and unmasks.

    One exclusive-or of two big integers, or a table for every fourth byte: both are linear, and far faster than a
    loop over bytes.

    :param key: the four bytes of the header.

    Source: RFC 6455, section 5.3.
    """
    length = len(payload)
    if length > _BIG_BYTES:
        return _unmask_big(payload, key)
    mask = int.from_bytes((key * (length // 4 + 1))[:length], "little")
    return (int.from_bytes(payload, "little") ^ mask).to_bytes(length, "little")


def _unmask_big(payload: bytes | bytearray, key: bytes) -> bytes:
    plain = bytearray(len(payload))
    for offset, mask in enumerate(key):
        table = bytes([byte ^ mask for byte in range(256)])
        plain[offset::4] = payload[offset::4].translate(table)
    return bytes(plain)


class FrameReader:
    """Turn a client's bytes into messages.

    ::

        reader = FrameReader(1_000_000)
        for opcode, value in reader.feed(data):
            ...
        if reader.error is not None:
            close_with(reader.error.close_code)

    A violation is not raised: it is left in :attr:`error`, so that the messages which were complete before it are not
    lost. From then on, and after a close frame, whatever comes is ignored.

    :param max_message_bytes: largest message, also when it comes in fragments, bytes of payload.
    """

    __slots__ = ("_message", "_needed", "_opcode", "_rest", "error", "max_message_bytes", "more", "wanted")

    def __init__(self, max_message_bytes: int) -> None:
        self.max_message_bytes = max_message_bytes
        self.error: ProtocolError | None = None
        """What the peer did wrong, with the close code to answer; ``None`` as long as it did nothing wrong."""
        self.wanted = _FIRST_READ
        """How many bytes are to be read next."""
        self.more = False
        """Whether whole frames may be left, which the next :meth:`feed` takes, of ``b""`` as well."""
        self._rest: bytearray | None = None  # an incomplete frame; None rather than empty, for idle memory
        self._needed = 0  # size of the frame in _rest, 0 if its header is incomplete, -1 to ignore what comes
        self._opcode = CONTINUATION  # of the fragmented message under way
        self._message: bytearray | None = None  # and its payload so far

    def feed(self, data: bytes) -> list[Message]:
        """Take bytes and return what they complete, in order: messages and control frames, a few at a time.

        A ping is to be answered with :func:`pong_frame`; the value of a CLOSE is its payload, empty or a valid code
        and reason. Look at :attr:`error` afterwards.
        """
        rest = self._rest
        if rest is None:
            # The usual case, as short as it can be made: one whole text frame of up to 125 bytes.
            size = len(data)
            if (
                size > 5
                and data[0] == 0x81
                and size == data[1] - 122
                and not self._needed
                and self._message is None
            ):
                length = size - 6
                if length <= self.max_message_bytes:
                    mask = int.from_bytes((data[2:6] * 32)[:length], "little")
                    try:
                        return [
                            (
                                TEXT,
                                (int.from_bytes(data[6:], "little") ^ mask)
                                .to_bytes(length, "little")
                                .decode(),
                            )
                        ]
                    except UnicodeDecodeError:
                        pass  # the general way reports it
            if self._needed < 0:
                return []
            return self._read(data)
        rest += data
        if len(rest) < self._needed:
            self.wanted = min(2 * self.wanted, _LONGEST_READ)
            return []
        self._rest = None
        self._needed = 0
        return self._read(rest)

    def _read(self, data: bytes | bytearray) -> list[Message]:
        found: list[Message] = []
        self.more = False
        try:
            position = self._read_frames(data, found)
        except ProtocolError as error:
            self.error = error
            self._stop()
            return found
        if self._needed >= 0 and position < len(data):
            self._rest = bytearray(memoryview(data)[position:])
        else:
            self.more = False
        if len(data) >= self.wanted and not self.more:
            self.wanted = min(2 * self.wanted, _LONGEST_READ)
        return found

    def _read_frames(self, data: bytes | bytearray, found: list[Message]) -> int:
        """Read whole frames; return where the first incomplete one begins and note its size."""
        position, end = 0, len(data)
        while end - position >= 2:
            first, second = data[position], data[position + 1]
            self._check_head(first, second)
            length = second & 0x7F
            start = position + 6  # of the payload
            if length > 125:
                start += 2 if length == 126 else 8
                if end < start - 4:
                    break
                length = int.from_bytes(data[position + 2 : start - 4], "big")
            self._check_length(first, length)
            if end < start + length:
                self._needed = start + length - position
                break
            position = start + length
            payload = unmask(data[start:position], bytes(data[start - 4 : start]))
            self._take(first, payload, found)
            if len(found) >= _AT_ONCE:
                self.more = True
            if self._needed < 0 or self.more:
                break
        return position

    def _check_head(self, first: int, second: int) -> None:
        opcode = first & 0x0F
        if first & _RESERVED:
            self._check_reserved(first)
        if opcode not in _OPCODES:
            raise ProtocolError(f"frame with reserved opcode 0x{opcode:x}")
        if not second & _MASKED:
            raise ProtocolError("client frame without a mask")
        if opcode & _CONTROL:
            if not first & _FIN:
                raise ProtocolError("fragmented control frame")
            if second & 0x7F > MAX_CONTROL_BYTES:
                raise ProtocolError("control frame of more than 125 bytes")
        elif opcode == CONTINUATION and self._message is None:
            raise ProtocolError("continuation frame with nothing to continue")
        elif opcode != CONTINUATION and self._message is not None:
            raise ProtocolError("new message in the middle of a fragmented one")

    def _check_reserved(self, first: int) -> None:
        raise ProtocolError(f"reserved bits are set in a frame that begins with 0x{first:02x}")

    def _check_length(self, first: int, length: int) -> None:
        if first & _CONTROL:
            return
        if length >> 63:
            raise ProtocolError("frame length with its highest bit set")
        size = length if self._message is None else length + len(self._message)
        if size > self.max_message_bytes:
            raise PayloadTooLarge(size, self.max_message_bytes)

    def _take(self, first: int, payload: bytes, found: list[Message]) -> None:
        opcode = first & 0x0F
        if opcode & _CONTROL:
            if opcode == CLOSE:
                _check_close(payload)
                self._stop()
            found.append((opcode, payload))
            return
        if first & _FIN and self._message is None:
            found.append((opcode, self._value(opcode, payload)))
            return
        if self._message is None:
            self._opcode, self._message = opcode, bytearray()
        self._message += payload
        if first & _FIN:
            payload, self._message = bytes(self._message), None
            found.append((self._opcode, self._value(self._opcode, payload)))

    def _stop(self) -> None:
        self._needed = -1
        self._rest = self._message = None

    def _value(self, opcode: int, payload: bytes) -> str | bytes:
        if opcode != TEXT:
            return payload
        try:
            return payload.decode()
        except UnicodeDecodeError as error:
            raise ProtocolError(f"text message that is not UTF-8: {error}", close_code=INVALID_DATA) from None


def _check_close(payload: bytes) -> None:
    """Refuse a close frame whose code or reason is not allowed. Source: RFC 6455, sections 5.5.1 and 7.4."""
    if not payload:
        return
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not may_be_sent(code):
        raise ProtocolError(f"close frame with invalid code {code}")
    try:
        payload[2:].decode()
    except UnicodeDecodeError as error:
        raise ProtocolError(f"close reason that is not UTF-8: {error}", close_code=INVALID_DATA) from None
