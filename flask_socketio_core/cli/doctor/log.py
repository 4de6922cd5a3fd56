"""What our lines in a server's log say, each kind once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .finding import Case, Finding, NotChecked, error, warning


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of ours that tells of something wrong.

    :param pattern: what it contains; its first group, if any, is shown as ``{0}`` in ``what``.
    """

    pattern: re.Pattern[str]
    kind: Callable[..., Finding]
    what: str
    mend: str


LINES = (
    Line(
        pattern=re.compile(r"this client speaks Engine\.IO protocol (\d)"),
        kind=error,
        what="clients are refused: their library speaks Engine.IO protocol {0}, which is too old",
        mend="socket.io-client 3.x or 4.x, or python-socketio 5.x; docs/clients.md has those of other languages",
    ),
    Line(
        pattern=re.compile(r"a proxy says (\S+) in headers that count only where"),
        kind=error,
        what="browsers on {0} are refused, although a proxy says that this is the server's own origin",
        mend="app.wsgi_app = ProxyFix(app.wsgi_app, ...) as the line says; docs/security.md, behind a proxy",
    ),
    Line(
        pattern=re.compile(r"origin (\S+) is not allowed, expected (?!.*a proxy says)"),
        kind=warning,
        what="browsers on {0} are refused",
        mend="cors_allowed_origins=[...] with it, if its pages are yours; docs/security.md, origins",
    ),
    Line(
        pattern=re.compile(r"host (\S+) is not (?:trusted|served), expected"),
        kind=warning,
        what="requests to {0} are refused",
        mend="TRUSTED_HOSTS or SERVER_NAME with it, if it is yours; a proxy may have to pass `Host` on",
    ),
    Line(
        pattern=re.compile(r"the event loop was blocked for"),
        kind=warning,
        what="a handler stops all clients while it computes or waits",
        mend="the line names it; monkey-patch first, or let another process compute: docs/deployment.md",
    ),
    Line(
        pattern=re.compile(r"all max_workers=(\d+) workers are busy"),
        kind=warning,
        what="events wait: all {0} workers are busy",
        mend="give what the handlers wait for a time-out, or raise max_workers",
    ),
    Line(
        pattern=re.compile(r"new ones are answered 503"),
        kind=error,
        what="new clients are answered 503",
        mend="raise max_connections or the hard limit of descriptors, or add processes",
    ),
)


def log(case: Case) -> Iterator[Finding]:
    """What a server's log tells, with --log."""
    if case.log is None:
        raise NotChecked("--log names no server's log")
    seen: dict[tuple[int, str], tuple[str, int]] = {}
    with case.log.open(errors="backslashreplace") as lines:
        for text in lines:
            for number, line in enumerate(LINES):
                match = line.pattern.search(text)
                if match is not None:
                    key = number, match[1] if line.pattern.groups else ""
                    first, count = seen.get(key, (text.strip(), 0))
                    seen[key] = first, count + 1
    for (number, value), (first, count) in sorted(seen.items()):
        line = LINES[number]
        yield line.kind(
            line.what.format(value), cause=f"{case.log}, {count} times, first: {first:.200}", mend=line.mend
        )
