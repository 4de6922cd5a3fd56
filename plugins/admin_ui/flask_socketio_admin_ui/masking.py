"""What is shown of handshakes, data and arguments: without secrets, of a bounded size, and always JSON. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

MASK = "***"
SECRET = re.compile(
    r"cookie|auth|token|secret|passw|pwd|passphrase|credential|session|csrf|xsrf|jwt|signature|api[-_]?key|ticket"
    r"|(^|[-_.])(key|code|sig|pin|otp|pass)($|[-_.])",
    re.IGNORECASE,
)
"""Names of what is not shown."""
SECRET_VALUE = re.compile(r"\s*(basic|bearer|digest|negotiate)\s|eyJ[\w-]+\.[\w-]+\.", re.IGNORECASE)
"""What is not shown under whatever name: a login of HTTP's, a JSON web token."""
SHOWN_QUERY = frozenset({"EIO", "transport", "t", "b64"})
"""What the protocol itself has in a query. ``sid`` is not among them: who knows it has the connection."""

MOST_CHARACTERS = 500
MOST_ITEMS = 50
DEPTH = 6
MOST_FIELDS = 100


def headers(environ: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers of a WSGI request, by names as a browser writes them."""
    named = {
        key[5:].replace("_", "-").lower(): str(value)
        for key, value in environ.items()
        if key.startswith("HTTP_")
    }
    return {name: _header(name, value) for name, value in sorted(named.items())[:MOST_FIELDS]}


def _header(name: str, value: str) -> str:
    if is_secret(name, value):
        return MASK
    return _short(url(value) if name == "referer" else value)


def query(text: str) -> dict[str, str]:
    """Return the fields of a query."""
    return {name: _short(value) for name, value in _fields(text)}


def url(text: str) -> str:
    """Return a URL without what is secret in its query; nor its fragment or a login in it."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return MASK
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, urlencode(_fields(parts.query), safe="*"), ""))


def _fields(text: str) -> list[tuple[str, str]]:
    try:
        found = parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        return []
    return [
        (name, value if name in SHOWN_QUERY or not _hidden_field(name, value) else MASK)
        for name, value in found
    ]


def _hidden_field(name: str, value: str) -> bool:
    return name == "sid" or is_secret(name, value)


def is_secret(name: str, value: object = None) -> bool:
    """Return whether something is not shown, by its name or by how it looks."""
    return SECRET.search(name) is not None or (
        isinstance(value, str) and SECRET_VALUE.match(value) is not None
    )


def presentable(value: Any, depth: int = DEPTH) -> Any:
    """Return what is shown of anything."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else str(value)  # JSON has no infinity
    if isinstance(value, str):
        return MASK if SECRET_VALUE.match(value) else _short(value)
    if isinstance(value, (bytes, bytearray)):
        return f"<{len(value)} bytes>"
    if depth and isinstance(value, Mapping):
        return _mapping(value, depth)
    if depth and isinstance(value, (list, tuple)):
        found = [presentable(item, depth - 1) for item in value[:MOST_ITEMS]]
        if len(value) > MOST_ITEMS:
            found.append(f"<{len(value) - MOST_ITEMS} more>")
        return found
    return f"<{type(value).__name__}>"


def _mapping(value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    items = list(value.items())
    found = {
        _short(str(key)): MASK if is_secret(str(key)) else presentable(item, depth - 1)
        for key, item in items[:MOST_ITEMS]
    }
    if len(items) > MOST_ITEMS:
        found["…"] = f"<{len(items) - MOST_ITEMS} more>"
    return found


def _short(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"
