"""URLs of message queues and stores: taken apart, and shown without their secrets."""

from __future__ import annotations

import logging
import re
import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote

from ..common.tracebacks import printable_traceback
from ..errors import InvalidOption, QueueError, StoreError

__all__ = ["QueueURL", "describe", "mask", "parse"]


MASK = "***"
_SECRET_NAME = re.compile(r"pass|secret|token|credential|api_?key|sasl_jaas", re.IGNORECASE)
# Up to the last "@", for people write "/", "?" and "#" in a password as they are.
_USERINFO = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.\-]*://)[^\s]*@")
_QUERY = re.compile(r"[\w.\-]+=[^&]*(&[\w.\-]+=[^&]*)*")
_KNOWN_TO_ALL = frozenset(("default", "guest"))
"""Users that a fresh Redis and a fresh RabbitMQ have."""
_SHORTEST = 3
"""Shorter texts stand everywhere; as a part of a URL they are masked all the same."""


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


def parse(url: str, *, part: str = "message queue") -> QueueURL:
    """Take a URL apart.

    :param part: what it is of, for messages.

    :raises InvalidOption: if it has no scheme, a port that is no number, or what looks like a password with a "/" in
        it; the text holds no secret.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise InvalidOption(
            f"{part} URL {mask(url)!r} has no scheme, expected something like redis://host:6379"
        )
    rest, _, query = rest.partition("?")
    authority, slash, path = rest.partition("/")
    userinfo, _, hosts = authority.rpartition("@")
    name, colon, password = userinfo.partition(":")
    if ":" in hosts and not userinfo and "@" in path:
        raise InvalidOption(
            f"{part} URL {mask(url)!r} has a '/' before its '@': in a user name or password write '%2F'"
        )
    try:
        addresses = tuple(_host(part) for part in hosts.split(",") if part)
    except ValueError:
        raise InvalidOption(f"{part} URL {mask(url)!r} has a port that is no number") from None
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
    """Return text with the user names and passwords of URLs in it replaced, for logs and errors.

    The values of query options that look like secrets are replaced, too. Where the URL is known, ``Secrets`` finds
    more.
    """
    masked = re.sub(
        r"(?P<name>[?&][^=&\s]+)=(?P<value>[^&\s#]+)",
        lambda found: f"{found['name']}={MASK if _SECRET_NAME.search(found['name']) else found['value']}",
        text,
    )
    return _USERINFO.sub(rf"\g<scheme>{MASK}@", masked)


def describe(error: BaseException, url: str) -> str:
    """Return an exception as one line of text in which no secret of the URL appears."""
    return Secrets(url).mask(" ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":"))


class Secrets:
    """What must not be read in any text about a queue: user name, password or token of its URL, and its options'.

    :param options: ``message_queue_options``; those whose names look like secrets are, at any depth.
    """

    def __init__(self, url: str, options: Mapping[str, Any] | None = None) -> None:
        _, _, rest = url.partition("://")
        userinfo = _userinfo(rest)
        name, colon, password = userinfo.partition(":")
        secrets = [password, *_secret_options(options or {}), *_secret_query(rest)]
        names = [name] if not _says_nothing(unquote(name), url) else []
        if not colon:  # a token
            secrets, names = [name, *secrets], []
        self._whole = userinfo and f"{userinfo}@"
        self._secrets = sorted(_spellings(secrets), key=len, reverse=True)
        words = "|".join(sorted(map(re.escape, _spellings(names)), key=len, reverse=True))
        self._words = re.compile(rf"(?<!\w)(?:{words})(?!\w)") if words else None

    def mask(self, text: str) -> str:
        """Return a text without them."""
        if self._whole:
            text = text.replace(self._whole, f"{MASK}@")
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        if self._words is not None:
            text = self._words.sub(MASK, text)
        return mask(text)

    def tell(self, error: BaseException) -> str:
        """Return what an exception says, in one line; with its class unless it is one of ours."""
        text = (
            str(error) if isinstance(error, (QueueError, StoreError)) else f"{type(error).__name__}: {error}"
        )
        return self.mask(" ".join(text.split()).removesuffix(":"))

    def clean(self, error: BaseException) -> BaseException:
        """Mask the texts of an exception, and of those that led to it, and return it."""
        waiting: list[BaseException | None] = [error]
        seen: set[int] = set()
        while waiting:
            part = waiting.pop()
            if part is None or id(part) in seen:
                continue
            seen.add(id(part))
            part.args = tuple(self.mask(item) if isinstance(item, str) else item for item in part.args)
            waiting += [part.__cause__, part.__context__]
        return error


def _userinfo(rest: str) -> str:
    """Return what stands before the "@" of a URL's host, as it was written."""
    before, _, query = rest.partition("?")
    if "@" in before and _QUERY.fullmatch(query):  # or else it is no query but a part of a password
        rest = before
    return rest.rpartition("@")[0]


def _says_nothing(name: str, url: str) -> bool:
    """Return whether a user name stands in texts anyway, or is known to everybody."""
    address = url.rpartition("@")[2]
    return name in _KNOWN_TO_ALL or url.startswith(name) or name in re.split(r"[^\w\-]+", address)


def _secret_query(rest: str) -> list[str]:
    query = parse_qsl(rest.partition("?")[2], keep_blank_values=True)
    return [value for name, value in query if _SECRET_NAME.search(name)]


def _secret_options(options: Mapping[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from _secret_options(value)
        elif _SECRET_NAME.search(str(name)):
            for item in value if isinstance(value, (list, tuple)) else (value,):
                if isinstance(item, (str, bytes)):
                    yield item if isinstance(item, str) else repr(item)[2:-1]


def _spellings(texts: Iterable[str]) -> set[str]:
    """Return texts as they were written, unquoted, quoted, and as ``repr`` shows them."""
    found = set()
    for text in texts:
        plain = unquote(text)
        found |= {text, plain, quote(plain, safe=""), quote(plain), quote_plus(plain), repr(plain)[1:-1]}
    return {text for text in found if len(text) >= _SHORTEST}


class _MaskingFilter(logging.Filter):
    """Mask what is logged about queues; tracebacks included."""

    def __init__(self) -> None:
        super().__init__()
        self.secrets: weakref.WeakSet[Secrets] = weakref.WeakSet()

    def filter(self, record: logging.LogRecord) -> bool:
        said = record.getMessage()
        masked = self._mask(said)
        if masked != said:
            record.msg, record.args = masked, None
        if record.exc_info and record.exc_info[1] is not None:
            # Handlers take the text that is there, and make none of their own.
            record.exc_text = self._mask(record.exc_text or printable_traceback(record.exc_info[1]))
        return True

    def _mask(self, text: str) -> str:
        for secrets in list(self.secrets):
            text = secrets.mask(text)
        return text


_filter = _MaskingFilter()


def mask_logs(secrets: Secrets, logger: logging.Logger, package: str) -> None:
    """Mask what a logger says, and what the loggers of a queue's package say, as long as the secrets are kept."""
    _filter.secrets.add(secrets)
    logger.addFilter(_filter)
    logging.getLogger(package).addFilter(_filter)
    for name in list(logging.root.manager.loggerDict):
        if name.startswith(f"{package}."):
            logging.getLogger(name).addFilter(_filter)
