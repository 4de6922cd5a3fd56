"""What a WSGI request is to the engine: its body, its environ, its refusal."""

from __future__ import annotations

import _socket
import contextlib
import io
import json
import sys
import zlib
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ..common.quoting import MOST_SENTENCE, printable
from ..contracts.concurrency.servers import unannounced_body
from ..errors import PayloadTooLarge, ProtocolError
from ..websocket_protocol.deflate import level_for

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from ..common.headers import Headers

UNKNOWN_TRANSPORT = (0, "Transport unknown")
UNKNOWN_SID = (1, "Session ID unknown")
BAD_HANDSHAKE_METHOD = (2, "Bad handshake method")
BAD_REQUEST = (3, "Bad request")
UNSUPPORTED_PROTOCOL = (5, "Unsupported protocol version")

STATUS = {200: "200 OK", 400: "400 Bad Request", 413: "413 Content Too Large", 426: "426 Upgrade Required"}
STATUS |= {403: "403 Forbidden", 411: "411 Length Required", 503: "503 Service Unavailable"}
STATUS[429] = "429 Too Many Requests"
STATUS[431] = "431 Request Header Fields Too Large"


class Refusal(Exception):
    """A request that is answered with an error.

    :param error: code and message of the reference server.
    :param detail: what a developer needs to know besides; replaces the message.
    :param status: HTTP status code.
    :param headers: further response headers.
    """

    def __init__(
        self, error: tuple[int, str], detail: str = "", *, status: int = 400, headers: Headers | None = None
    ) -> None:
        super().__init__(printable(detail or error[1], MOST_SENTENCE))
        self.code = error[0]
        self.status = status
        self.headers = headers or []


def response_bytes(
    status: int, headers: Iterable[tuple[str, str]], body: bytes, *, closes: bool = True
) -> bytes:
    """Return a whole response, for a connection that was taken from its web server.

    :param closes: whether it is to be closed behind the response.

    Source: RFC 9112, sections 4 and 9.6.
    """
    lines = [f"HTTP/1.1 {STATUS.get(status, f'{status} Error')}"]
    lines += [f"{name}: {value}" for name, value in headers]
    lines.append(f"Content-Length: {len(body)}")
    if closes:
        lines.append("Connection: close")
    lines += ["", ""]
    return "\r\n".join(lines).encode("latin-1", "replace") + body


def refusal_body(refusal: Refusal) -> bytes:
    """Return the body that says why."""
    return json.dumps({"code": refusal.code, "message": str(refusal)}).encode()


def refusal_bytes(refusal: Refusal, headers: Iterable[tuple[str, str]]) -> bytes:
    """Return the whole response to a refused request, as :func:`response_bytes` does.

    :param headers: of the response that there would have been.
    """
    more = [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
    more += [header for header in headers if header[0] not in ("Content-Type", "Cache-Control")]
    more += [header for header in refusal.headers if header[0] != "Connection"]
    return response_bytes(refusal.status, more, refusal_body(refusal))


def answer_raw(sock: _socket.socket, refusal: Refusal, headers: Iterable[tuple[str, str]] = ()) -> None:
    """Refuse a request whose connection was taken from its web server, and close it."""
    with contextlib.suppress(OSError):  # the client was faster
        sock.send(refusal_bytes(refusal, headers))
        sock.shutdown(_socket.SHUT_WR)
    sock.close()


_EMPTY = io.BytesIO()

IO_PARTS = ("fileno", "read")
"""By which a socket or a stream is known."""

SHARED_CHARACTERS = 256
"""Longer texts are not looked for among those of other connections."""

KEPT_TEXTS = ("QUERY_STRING", "PATH_INFO", "CONTENT_TYPE")
"""What else of an environ a client writes."""

COMPRESSED_BYTES = 65_536
"""So much of a body is compressed before others get their turn, bytes; 1 to 2 ms."""

_WINDOWS = {"gzip": 31, "deflate": 15}
"""How zlib is told an encoding."""

GIVE_WAY_S = 0.001
"""How long a green loop's other connections have their turn between two parts, seconds. Not 0: gevent looks for what
came in only after fifty such switches."""

MOST_DIGITS = 20
"""So many digits of a length are read: more than any limit has, fewer than Python refuses to convert."""


def check_kept(environ: WSGIEnvironment, limit: int) -> None:
    """Refuse a handshake with more text than a connection may keep of it: headers, path and query string.

    :param limit: bytes.
    :raises Refusal: with status 431.

    Source: RFC 6585, section 5.
    """
    size = sum(
        len(name) + len(value)
        for name, value in environ.items()
        if type(value) is str and (name.startswith("HTTP_") or name in KEPT_TEXTS)
    )
    if size > limit:
        raise Refusal(
            BAD_REQUEST,
            f"headers and query string of {size} bytes, the server keeps {limit} (max_header_bytes)",
            status=431,
        )


def read_body(environ: WSGIEnvironment, limit: int) -> bytes:
    """Read a request's body.

    :param limit: most bytes accepted; checked before reading.
    :raises PayloadTooLarge: if there are more.
    :raises UnreadableBody: if it ends short or is wrongly encoded.
    :raises ProtocolError: if the length is missing or wrong.
    """
    announced = environ.get("CONTENT_LENGTH") or ""
    read_to_end = None if announced else unannounced_body(environ)
    if read_to_end is not None:
        body = _read(read_to_end, limit + 1)
        if len(body) > limit:
            raise PayloadTooLarge(len(body), limit)
        return body
    if not announced.isdecimal():
        raise ProtocolError(f"Content-Length '{printable(announced)}' is not a number", status=411)
    length = int(announced[:MOST_DIGITS])
    if length > limit:
        raise PayloadTooLarge(length, limit)
    body = _read(environ["wsgi.input"].read, length)
    if len(body) != length:
        raise UnreadableBody(f"the body ended after {len(body)} of {length} bytes")
    return body


class UnreadableBody(ProtocolError):
    """A body that cannot be read to its end: where the connection's next request begins is unknown."""


def refusal_of(error: ProtocolError) -> Refusal:
    """Return what a client is answered that broke the protocol."""
    headers = [("Connection", "close")] if isinstance(error, UnreadableBody) else None
    return Refusal(BAD_REQUEST, str(error), status=error.status, headers=headers)


def _read(read: Callable[[int], bytes], size: int) -> bytes:
    try:
        return read(size)
    except MemoryError:
        raise
    except Exception as error:  # each web server has classes of its own for what a client sends wrong
        raise UnreadableBody(f"the body cannot be read: {error or type(error).__name__}") from error


BREAKS = ("\r", "\n", "\0")
"""What no header's value contains. Source: RFC 9110, section 5.5."""


def drop_broken_headers(environ: WSGIEnvironment) -> str | None:
    """Remove the headers that are folded over several lines or contain NUL, and name one, or ``None``.

    Some web servers pass them on. What they contain must get into no response and no log.

    Source: RFC 9112, section 5.2: a server answers them with status 400, or replaces the breaks.
    """
    broken = [
        name
        for name, value in environ.items()
        if name.startswith(("HTTP_", "CONTENT_"))
        and isinstance(value, str)
        and any(character in value for character in BREAKS)
    ]
    for name in broken:
        del environ[name]
    return broken[0].removeprefix("HTTP_").replace("_", "-") if broken else None


_remember = lru_cache(maxsize=1024)(str)


def _shared(text: str) -> str:
    """Return a text, or the equal one that was seen before."""
    return _remember(text) if len(text) <= SHARED_CHARACTERS else text


def stored_environ(environ: WSGIEnvironment) -> dict[str, Any]:
    """Return what is worth keeping of an environ for the life of a connection.

    Nothing of the server (sockets, streams, handlers) stays alive through it; what middleware has added does, such as
    who the user is. Equal strings are shared between connections. Not by ``sys.intern``: Python 3.12 never frees what
    it was given.
    """
    kept: dict[str, Any] = {}
    for name, value in environ.items():
        if type(value) is str:
            kept[_shared(name)] = _shared(value)
        elif isinstance(value, (bool, int, tuple)) or not _leads_to_the_server(name, value):
            kept[_shared(name)] = value
    kept["wsgi.input"] = _EMPTY
    kept["wsgi.errors"] = sys.stderr
    return kept


def _leads_to_the_server(name: str, value: object) -> bool:
    """Return whether a value is a socket, a stream, a function, or a request that has them."""
    kind = type(value)  # not the object itself: it may be a lazy one
    return (
        name.startswith(("wsgi.", "werkzeug."))
        or callable(value)
        or any(hasattr(kind, part) for part in IO_PARTS)
    )


def sid_cookie(setting: Any, sid: str) -> Headers:
    """Return the Set-Cookie header for the ``cookie`` option, or nothing.

    Scripts do not see the cookie (``HttpOnly``), unless that attribute is given as ``False``: who has a sid has the
    session.

    Source: python-engineio: ``name`` and attributes, each a string, ``True``, or a callable that returns one.
    """
    if not setting:
        return []
    attributes = (
        {"name": setting, "path": "/", "SameSite": "Lax"} if isinstance(setting, str) else dict(setting)
    )
    if "httponly" not in map(str.lower, attributes):
        attributes["HttpOnly"] = True
    parts = [f"{attributes.pop('name', 'io')}={sid}"]
    for name, value in attributes.items():
        value = value() if callable(value) else value
        if value is not False:
            parts.append(name if value is True else f"{name}={value}")
    return [("Set-Cookie", "; ".join(parts))]


def compress(body: bytes, accepted: str, give_way: Callable[[], object]) -> tuple[bytes, str]:
    """Return a compressed body and its encoding, or the body as it is and ``""``.

    :param give_way: lets others run; called between the parts of a large body.
    """
    offered = [item.partition(";")[0].strip() for item in accepted.split(",")]
    encoding = next((name for name in _WINDOWS if name in offered), "")
    if not encoding:
        return body, ""
    compressor = zlib.compressobj(level_for(len(body)), wbits=_WINDOWS[encoding])
    parts = []
    for begin in range(0, len(body), COMPRESSED_BYTES):
        if begin:
            give_way()
        parts.append(compressor.compress(memoryview(body)[begin : begin + COMPRESSED_BYTES]))
    return b"".join([*parts, compressor.flush()]), encoding
