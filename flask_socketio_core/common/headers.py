"""Headers that others add to our responses: what may be added, and how. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from .quoting import printable

Headers = list[tuple[str, str]]

SERVERS_OWN = frozenset(
    (
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
"""Names of headers that say what the body is and where it ends, or what becomes of the connection.

Source: RFC 9110, sections 7.6.1 and 8; PEP 3333, which lets no application send hop-by-hop headers.
"""

WEBSOCKETS_OWN = "sec-websocket-"
"""How the names begin of the headers by which a WebSocket is agreed on. Source: RFC 6455, section 11.3."""

SEVERAL = frozenset(("set-cookie", "link", "server-timing", "vary"))
"""Headers of which each stands for itself: another one is sent besides ours, not instead of it."""

_NAME = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII)
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


def why_not(name: object, value: object) -> str | None:
    """Say why a header cannot be added to a response, or ``None`` if it can.

    Source: RFC 9110, sections 5.1 and 5.5.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return f"{printable(repr(name))} is not a header's name"
    if name.lower() in SERVERS_OWN or name.lower().startswith(WEBSOCKETS_OWN):
        return f"{name} is the server's own: another value would break the response"
    if not isinstance(value, str):
        return f"the value of {name} is of type {type(value).__name__}, not text"
    if not _VALUE.fullmatch(value):
        return f"the value of {name} has a line break or another character that no header has"
    return None


def pairs(added: object) -> list[tuple[object, object]]:
    """Return headers as pairs, given as a mapping, as pairs, or as ``None`` for none.

    :raises TypeError: if they are given as something else.
    """
    if added is None:
        return []
    items = list(added.items()) if isinstance(added, Mapping) else added
    if isinstance(items, Iterable) and not isinstance(items, (str, bytes)):
        found = [tuple(item) if isinstance(item, (tuple, list)) else () for item in items]
        if all(len(item) == 2 for item in found):
            return [(item[0], item[1]) for item in found]
    raise TypeError(f"expected a mapping of names to values, pairs of both, or None, not {added!r:.80}")


def add(headers: Headers, name: str, value: str) -> Headers:
    """Return headers with one more, which takes the place of those of its name unless it may stand beside them."""
    lowered = name.lower()
    if lowered not in SEVERAL:
        headers = [item for item in headers if item[0].lower() != lowered]
    return [*headers, (name, value)]
