"""Origins as browsers define them: a scheme, a host and a port. No I/O.

Source: RFC 6454, sections 4 to 6; the WHATWG URL standard for hosts and default ports.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from .values import listed

ANY = "*"
NULL = "null"
"""What browsers send for a page that has no origin to show: a file, a sandboxed frame, a redirect."""

ALIASES = {"ws": "http", "wss": "https"}
"""A WebSocket has the origin of the page that opened it; some proxies tell its own scheme instead."""

DEFAULT_PORTS = {"http": 80, "https": 443}

MOST_CHARACTERS = 300
"""Longer texts are no origin. A host has 255 at most (RFC 1035, section 2.3.4)."""

_ORIGIN = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._~-]*)(?::(?P<port>[0-9]{0,5}))?",
    re.ASCII | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Origin:
    """An origin in the one form in which it equals every other spelling of it.

    :param scheme: in lower case, ``ws`` and ``wss`` as ``http`` and ``https``; ``"null"`` for the origin of that name.
    :param host: in lower case; an IPv6 address in brackets and compressed.
    :param port: ``None`` for the scheme's own.
    """

    scheme: str
    host: str = ""
    port: int | None = None

    def __str__(self) -> str:
        """Return it as a browser writes it."""
        if self.scheme == NULL:
            return NULL
        return f"{self.scheme}://{self.host}" + ("" if self.port is None else f":{self.port}")


def parse(text: str) -> Origin | None:
    """Read the value of an ``Origin`` header, or scheme and ``Host`` as if they were one.

    :returns: ``None`` for what is no origin: a list of them, one with a path or a user, none at all.
    """
    return _parse(text) if len(text) <= MOST_CHARACTERS else None


@lru_cache(maxsize=1024)  # each request of a session names the same ones
def _parse(text: str) -> Origin | None:
    if text == NULL:
        return Origin(NULL)
    found = _ORIGIN.fullmatch(text)
    if found is None:
        return None
    scheme = found["scheme"].lower()
    scheme = ALIASES.get(scheme, scheme)
    host = _address(found["host"].lower())
    port = int(found["port"]) if found["port"] else None
    if host is None or (port or 0) > 65535 or (not host and (scheme in DEFAULT_PORTS or port is not None)):
        return None
    return Origin(scheme, host, None if port == DEFAULT_PORTS.get(scheme) else port)


def _address(host: str) -> str | None:
    if not host.startswith("["):
        return host
    try:
        return f"[{ipaddress.IPv6Address(host[1:-1]).compressed}]"
    except ValueError:
        return None


class OriginList:
    """Origins that were listed by a person, some of them with a wildcard for subdomains.

    :param texts: such as ``"https://example.com"``, ``"https://*.example.com:8443/"``, ``"app://-"``, ``"null"``.
    :raises ValueError: for one that names no origin; says what to write.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._exact: set[Origin] = set()
        self._parents: set[Origin] = set()
        for text in texts:
            origin, is_parent = _read(text)
            (self._parents if is_parent else self._exact).add(origin)

    def __contains__(self, origin: Origin) -> bool:
        """Return whether an origin is listed, or is a subdomain, at any depth, of one with a wildcard."""
        if origin in self._exact:
            return True
        labels = origin.host.split(".") if self._parents else []
        return any(
            Origin(origin.scheme, ".".join(labels[first:]), origin.port) in self._parents
            for first in range(1, len(labels))
        )


def split(texts: str | Iterable[str]) -> tuple[str, ...]:
    """Return listed origins one by one: commas separate them, blank ones are left out.

    :raises ValueError: if one is no text.
    """
    found: list[str] = []
    for text in (texts,) if isinstance(texts, str) else texts:
        if not isinstance(text, str):  # the caller may have no type checker
            raise ValueError(f"{text!r} is no text; ask a callable what a text cannot say")
        found += listed(text)
    return tuple(found)


def _read(text: str) -> tuple[Origin, bool]:
    """Return a listed origin, and whether its subdomains are meant instead of itself."""
    if text == NULL:
        return Origin(NULL), False
    scheme, separator, rest = text.partition("://")
    if not separator:
        raise ValueError(f"{text!r} has no scheme, write 'https://{text}' or 'http://{text}'")
    rest = rest.removesuffix("/")
    authority = re.split(r"[/?#\\]", rest, maxsplit=1)[0].rpartition("@")[2]
    if authority != rest:
        raise ValueError(f"{text!r} is more than an origin, write '{scheme}://{authority}'")
    is_parent = authority.startswith("*.")
    origin = parse(f"{scheme}://{_punycode(authority.removeprefix('*.'))}")
    if origin is None or (is_parent and not origin.host):
        hint = ", a '*' can only stand for subdomains, as in 'https://*.example.com'" if "*" in rest else ""
        raise ValueError(f"{text!r} is no origin, such as 'https://example.com:8443'{hint}")
    return origin, is_parent


def _punycode(authority: str) -> str:
    """Return a host as browsers send it. Not by Python's codec ``idna``, which is of 2003: browsers keep the "ß"."""
    if authority.isascii():
        return authority
    labels = unicodedata.normalize("NFKC", authority.lower()).split(".")
    last, colon, port = labels[-1].partition(":")
    labels[-1] = last
    encoded = [label if label.isascii() else f"xn--{label.encode('punycode').decode()}" for label in labels]
    return ".".join(encoded) + colon + port
