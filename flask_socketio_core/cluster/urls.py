"""Message queue URLs: taken apart, and shown without their secrets."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote

from ..errors import InvalidOption

MASK = "***"
_SECRET_NAME = re.compile(r"pass|secret|token|credential|api_?key|sasl_jaas", re.IGNORECASE)
# Up to the last "@", for people write "/", "?" and "#" in a password as they are.
_USERINFO = re.compile(r"(?P<start>[a-zA-Z][a-zA-Z0-9+.\-]*://[^\s/?#]*?):[^\s]*@")


@dataclass(frozen=True, slots=True)
class QueueURL:
    """A URL in parts, tolerant of what :mod:`urllib` refuses (several hosts, ``//`` paths).

    :param hosts: host and port pairs as written; the port is ``None`` if there is none.
    :param path: everything from the first slash on, still quoted.
    :param query: options of the URL, unquoted.
    """

    scheme: str
    username: str | None
    password: str | None = field(repr=False)
    hosts: tuple[tuple[str, int | None], ...]
    path: str
    query: dict[str, str] = field(repr=False)

    def host(self, default: tuple[str, int]) -> tuple[str, int]:
        """Return the first host, with what is missing taken from ``default``."""
        name, port = self.hosts[0] if self.hosts else ("", None)
        return name or default[0], default[1] if port is None else port


def parse(url: str) -> QueueURL:
    """Take a URL apart.

    :raises InvalidOption: if it has no scheme, a port that is no number, or what looks like a password with a "/" in
        it; the text holds no secret.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise InvalidOption(
            f"message queue URL {mask(url)!r} has no scheme, expected something like redis://host:6379"
        )
    rest, _, query = rest.partition("?")
    authority, slash, path = rest.partition("/")
    userinfo, _, hosts = authority.rpartition("@")
    name, colon, password = userinfo.partition(":")
    if ":" in hosts and not userinfo and "@" in path:
        raise InvalidOption(
            f"message queue URL {mask(url)!r} has a '/' before its '@': in a user name or password write '%2F'"
        )
    try:
        addresses = tuple(_host(part) for part in hosts.split(",") if part)
    except ValueError:
        raise InvalidOption(f"message queue URL {mask(url)!r} has a port that is no number") from None
    return QueueURL(
        scheme=scheme.lower(),
        username=unquote(name) or None,
        password=unquote(password) if colon else None,
        hosts=addresses,
        path=slash + path,
        query=dict(parse_qsl(query, keep_blank_values=True)),
    )


def _host(text: str) -> tuple[str, int | None]:
    if text.startswith("["):  # an IPv6 address
        name, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    else:
        name, _, port = text.partition(":")
    return name, int(port) if port else None


def mask(text: str) -> str:
    """Return text with the passwords of URLs in it replaced, for logs and errors.

    The values of query options that look like secrets are replaced, too.
    """
    masked = re.sub(
        r"(?P<name>[?&][^=&\s]+)=(?P<value>[^&\s#]+)",
        lambda found: f"{found['name']}={MASK if _SECRET_NAME.search(found['name']) else found['value']}",
        text,
    )
    return _USERINFO.sub(rf"\g<start>:{MASK}@", masked)


def describe(error: BaseException, url: str) -> str:
    """Return an exception as one line of text in which no secret of the URL appears."""
    text = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(": ")
    for secret in secrets_of(url):
        text = text.replace(secret, MASK).replace(quote(secret, safe=""), MASK)
    return mask(text)


def secrets_of(url: str) -> list[str]:
    """Return the passwords in a URL, longest first; empty for a URL that cannot be parsed."""
    try:
        parsed = parse(url)
    except ValueError:
        return []
    found = [value for name, value in parsed.query.items() if _SECRET_NAME.search(name)]
    if parsed.password:
        found.append(parsed.password)
    return sorted((secret for secret in found if len(secret) > 2), key=len, reverse=True)
