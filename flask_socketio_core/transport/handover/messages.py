"""What one worker writes to another, and what it is answered. Pure: bytes in, requests and answers out.

::

    4 bytes   length of the head, big-endian
    4 bytes   length of the body
    head      JSON
    body

One request is written on each connection, with a descriptor beside its first bytes if the client's connection goes
along (``SCM_RIGHTS``). Then nothing is answered here: the other worker answers the client.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from ...common.quoting import MOST_SENTENCE

if TYPE_CHECKING:
    from ...common.headers import Headers

POLL: Final = "poll"
POST: Final = "post"
WEBSOCKET: Final = "websocket"
QUEUE: Final = "queue"
_LENGTHS = struct.Struct(">II")
PREFIX = _LENGTHS.size
MOST_HEAD_BYTES = 1024 * 1024
"""Most bytes of a head: sid, and headers of a response, of which plugins may add any."""


class BrokenMessage(ValueError):
    """Not what a worker of this version writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be done for a client of another worker's session.

    :param kind: ``"poll"`` and ``"post"`` as the HTTP methods have it, ``"websocket"`` to upgrade the session;
        ``"queue"`` asks by which message queue the workers are joined.
    :param sid: of the session; of an application, where its queue is asked for.
    :param headers: of the response, as far as they are decided: for a client whose connection goes along.
    :param encodings: what its ``Accept-Encoding`` says, likewise.
    :param head: the response to a WebSocket handshake, likewise.
    :param compresses: whether compression was agreed on in it.
    :param error: what is wrong with the body, which was not passed on; ends the session.
    """

    kind: Literal["poll", "post", "websocket", "queue"]
    sid: str
    headers: Headers | tuple[()] = ()
    encodings: str = ""
    head: str = ""
    compresses: bool = False
    error: str = ""

    @property
    def method(self) -> str:
        """Of the HTTP request."""
        return "POST" if self.kind == POST else "GET"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of a request without a descriptor; the body is that of the response.

    :param code: of the refusal, as Engine.IO numbers them; ``None`` if the request was served.
    :param message: of the refusal.
    :param closes: whether the client's connection has to be closed.
    """

    status: int = 200
    code: int | None = None
    message: str = ""
    closes: bool = False


_FIELDS = {kind: [(field.name, field.default) for field in fields(kind)] for kind in (Request, Answer)}
_encode = json.JSONEncoder(separators=(",", ":")).encode


def encode(head: Request | Answer, body: bytes = b"") -> bytes:
    """Return a message as it is written, with the fields that say something."""
    said = {name: value for name, default in _FIELDS[type(head)] if (value := getattr(head, name)) != default}
    data = _encode(said).encode()
    return _LENGTHS.pack(len(data), len(body)) + data + body


class MessageReader:
    """Take one message, in whatever pieces it comes.

    :param max_body_bytes: of the largest body.
    """

    __slots__ = ("_buffer", "_max_body_bytes", "_size")

    def __init__(self, max_body_bytes: int) -> None:
        self._max_body_bytes = max_body_bytes
        self._buffer = bytearray()
        self._size: tuple[int, int] | None = None

    def feed(self, data: bytes) -> tuple[dict[str, Any], bytes] | None:
        """Take what was received; return head and body when they are complete.

        :raises BrokenMessage: for lengths beyond the limits, what is no JSON, and for more than one message.
        """
        self._buffer += data
        if self._size is None:
            if len(self._buffer) < PREFIX:
                return None
            head, body = _LENGTHS.unpack_from(self._buffer)
            if head > MOST_HEAD_BYTES or body > self._max_body_bytes:
                raise BrokenMessage(f"a head of {head} bytes and a body of {body}")
            self._size = head, body
        head, body = self._size
        end = PREFIX + head + body
        if len(self._buffer) < end:
            return None
        if len(self._buffer) > end:
            raise BrokenMessage(f"{len(self._buffer) - end} bytes behind the message")
        return self._head(head), bytes(memoryview(self._buffer)[PREFIX + head :])

    def _head(self, size: int) -> dict[str, Any]:
        try:
            found = json.loads(self._buffer[PREFIX : PREFIX + size].decode())
        except (ValueError, RecursionError) as error:
            raise BrokenMessage(f"a head that is no JSON: {error}") from error
        if not isinstance(found, dict):
            raise BrokenMessage(f"a head that is {type(found).__name__}, expected an object")
        return found


def request_of(head: dict[str, Any]) -> Request:
    """Return the request of a head.

    :raises BrokenMessage: if it is none.
    """
    made: Request = _made(Request, head)
    return replace(made, headers=[(name, value) for name, value in made.headers]) if made.headers else made


def answer_of(head: dict[str, Any]) -> Answer:
    """Return the answer of a head.

    :raises BrokenMessage: if it is none.
    """
    made: Answer = _made(Answer, head)
    return made


def _made(kind: Any, head: dict[str, Any]) -> Any:
    for name, value in head.items():
        if not _CHECKS.get(name, _is_text)(value):
            raise BrokenMessage(f"{kind.__name__.lower()} with {name}={value!r}"[:MOST_SENTENCE])
    try:
        return kind(**head)
    except TypeError as error:
        raise BrokenMessage(f"{kind.__name__.lower()} with other fields: {error}") from error


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_latin(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_number(value: object) -> bool:
    return type(value) is int


def _are_headers(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(header, list) and len(header) == 2 and all(map(_is_text, header)) for header in value
    )


_CHECKS: Final[dict[str, Callable[[object], bool]]] = {
    "headers": _are_headers,
    "head": _is_latin,
    "compresses": _is_flag,
    "closes": _is_flag,
    "status": _is_number,
    "code": lambda value: value is None or _is_number(value),
}
"""What a field's value may be, if not any text."""
