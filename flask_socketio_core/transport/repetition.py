"""Whether a client asks again for what it has just been answered: the same poll, on the same connection. Pure.

Its request is the same, byte for byte, except for the ``t=`` that clients put into the query string against caches. So
whatever was decided for the first one holds for it: host and origin, what middleware thinks of it, the headers of the
response. Anything else is for the web server.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

END = b"\r\n\r\n"
MOST_HEAD_BYTES = 8192
"""A longer request is not looked at. Source: what most web servers take of a line."""

_STAMP = re.compile(rb"\A(GET [^ ?]*\?(?:[^ &]*&)*?t=)[^ &]*")
_FIELD = re.compile(rb"([A-Za-z0-9-]+):[ \t]*([\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?)?[ \t]*")
_REQUEST = re.compile(rb"GET ([\x21-\x7e]+) HTTP/1\.1")
_DIGEST_BYTES = 16
PROXY_FIX = "werkzeug.proxy_fix.orig"
"""Where werkzeug's ``ProxyFix`` keeps what it has replaced. It does the same with the same request."""
_ASKS_FOR_MORE = ("CONTENT_LENGTH", "CONTENT_TYPE", "HTTP_TRANSFER_ENCODING", "HTTP_EXPECT", "HTTP_UPGRADE")
"""What speaks of a body, or of something that the web server does before it answers."""


class Repetition:
    """Know a client's poll again. What is kept of it is a digest; a request has the length that a client likes.

    :param digest: of what the web server made of the first one.
    """

    __slots__ = ("_digest", "_learned", "first")

    def __init__(self, digest: bytes) -> None:
        self.first = digest
        """Of the request in one form, as :func:`digest_of` makes it of what was received."""
        self._digest = digest
        self._learned = False

    @classmethod
    def of(cls, environ: dict[str, Any]) -> Repetition | None:
        """Return what knows a request again; ``None`` if it cannot be told, or its connection is not to be kept."""
        target = environ.get("RAW_URI") or environ.get("REQUEST_URI")
        if not target or any(environ.get(name) for name in _ASKS_FOR_MORE):
            return None
        fields = [
            (name[5:], value)
            for name, value in (environ | environ.get(PROXY_FIX, {})).items()
            if name.startswith("HTTP_") and isinstance(value, str)
        ]
        try:
            lines = [(name.encode("latin-1"), value.strip(" \t").encode("latin-1")) for name, value in fields]
            return cls(_digest(_canonical(target.encode("latin-1"), lines)))
        except UnicodeEncodeError:
            return None

    def matches(self, data: bytes) -> bool:
        """Return whether this is the same poll, all of it and nothing else.

        :param data: what came on the connection.
        """
        if not data.endswith(END):
            return False
        if self._learned:
            return digest_as_sent(data) == self._digest
        if digest_of(data) != self._digest:
            return False
        self.learn(digest_as_sent(data))
        return True

    def learn(self, as_sent: bytes) -> None:
        """Know the poll by the bytes in which it has come.

        :param as_sent: their digest, as :func:`digest_as_sent` makes it.
        """
        self._digest, self._learned = as_sent, True


def digest_as_sent(data: bytes) -> bytes:
    """Return the digest of a request in just these bytes, which takes a tenth of the time."""
    return _digest(_STAMP.sub(rb"\1", data))


def digest_of(data: bytes) -> bytes | None:
    """Return the digest of a request, whatever it looks like; ``None`` unless it is a plain one, without a body.

    :param data: all of the request and nothing else, or anything.
    """
    if not data.endswith(END):
        return None
    first, *lines = data[: -len(END)].split(b"\r\n")
    request = _REQUEST.fullmatch(first)
    fields = [_FIELD.fullmatch(line) for line in lines]
    if request is None or None in fields:
        return None
    named = [(field[1].upper().replace(b"-", b"_"), field[2] or b"") for field in fields if field is not None]
    return _digest(_canonical(request[1], named)) if len(dict(named)) == len(named) else None


def _canonical(target: bytes, fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    lines = sorted(name + b":" + value for name, value in fields)
    return _STAMP.sub(rb"\1", b"GET " + target) + b"\n" + b"\n".join(lines)


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=_DIGEST_BYTES).digest()


def keeps_connection(environ: Mapping[str, Any]) -> bool:
    """Return whether a client may send another request on the connection of this one.

    Source: RFC 9112, section 9.3.
    """
    options = environ.get("HTTP_CONNECTION", "").lower().split(",")
    return environ.get("SERVER_PROTOCOL") == "HTTP/1.1" and "close" not in map(str.strip, options)
