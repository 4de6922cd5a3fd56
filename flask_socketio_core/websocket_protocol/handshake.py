"""The opening handshake of a WebSocket, server side: environ in, answer out. No I/O.

Source: RFC 6455, sections 4.2.1 and 4.2.2. The HTTP version is not checked: not every WSGI server reports the
client's.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from ..common.quoting import printable
from ..errors import ProtocolError

VERSION = "13"
"""The only version there is. Source: RFC 6455, section 4.1."""

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""What a server appends to the client's key. Source: RFC 6455, section 1.3."""


HEADERS = "flask_socketio_core.headers"
"""Where an environ has what adds headers to the answer, for the blocking shell.

It is called with the environ and what there is so far, and returns all.
"""


def check_upgrade(environ: Mapping[str, Any]) -> str:
    """Check a request for a WebSocket and return the value of ``Sec-WebSocket-Accept``.

    :raises ProtocolError: if it is not a valid one; ``status`` is 426 if the client may try again with another
        version, 400 otherwise. :func:`refusal_headers` says what to send with it.

    Source: RFC 6455, section 4.2.1.
    """
    if environ.get("REQUEST_METHOD", "GET") != "GET":
        raise ProtocolError("a WebSocket handshake must be a GET request")
    if not _has_token(environ, "HTTP_UPGRADE", "websocket"):
        raise ProtocolError("the WebSocket transport needs the header 'Upgrade: websocket'")
    if not _has_token(environ, "HTTP_CONNECTION", "upgrade"):
        raise ProtocolError("the WebSocket transport needs the header 'Connection: Upgrade'")
    version = environ.get("HTTP_SEC_WEBSOCKET_VERSION", "").strip()
    if version != VERSION:
        raise ProtocolError(
            f"Sec-WebSocket-Version '{printable(version)}' is not supported, only {VERSION}", status=426
        )
    key = environ.get("HTTP_SEC_WEBSOCKET_KEY", "").strip()
    if not _is_key(key):
        raise ProtocolError("Sec-WebSocket-Key must be 16 bytes in base64")
    return accept_value(key)


def accept_value(key: str) -> str:
    """Return the ``Sec-WebSocket-Accept`` that proves that a key was read. Source: RFC 6455, section 4.2.2."""
    return base64.b64encode(hashlib.sha1((key + GUID).encode(), usedforsecurity=False).digest()).decode()


def refusal_headers(error: ProtocolError) -> list[tuple[str, str]]:
    """Return the headers that belong to a refused handshake.

    Source: RFC 6455, section 4.4; RFC 9110, section 15.5.22.
    """
    if error.status != 426:
        return []
    return [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", VERSION)]


def response_head(accept: str, headers: Iterable[tuple[str, str]] = ()) -> bytes:
    """Return the whole answer 101 as bytes.

    :param accept: what :func:`check_upgrade` returned.
    :param headers: more headers to send, such as a cookie.
    :raises ValueError: if a header contains a line break.

    Source: RFC 6455, section 4.2.2.
    """
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept}",
    ]
    for name, value in headers:
        line = f"{name}: {value}"
        if "\r" in line or "\n" in line:
            raise ValueError(f"header {name!r} contains a line break")
        lines.append(line)
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _has_token(environ: Mapping[str, Any], header: str, token: str) -> bool:
    """Return whether a comma-separated header contains a token, in any case."""
    return token in (part.strip().lower() for part in environ.get(header, "").split(","))


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False
