"""Raw clients: what goes over the wire, written by the tests byte for byte, with no client library's opinion."""

from __future__ import annotations

import contextlib
from typing import Protocol


class Abortable(Protocol):
    """A connection that can be dropped, more than once."""

    def abort(self) -> None:
        """Drop it."""


_opened: list[Abortable] = []


def remember(connection: Abortable) -> None:
    """Have :func:`drop_all` drop a connection."""
    _opened.append(connection)


def drop_all() -> None:
    """Drop the connections that a test left open, so that no garbage collection has to complain of them later."""
    for connection in _opened:
        with contextlib.suppress(OSError):
            connection.abort()
    _opened.clear()
