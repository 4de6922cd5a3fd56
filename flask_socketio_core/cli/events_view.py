"""How `flask socketio events` shows the registered handlers."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .table import table

if TYPE_CHECKING:
    from ..app.handlers import Registration

HEADER = ("Namespace", "Event", "Handler", "Location")


def view(registrations: Sequence[Registration]) -> list[str]:
    """Return the table's lines."""
    if not registrations:
        return ["No event handlers are registered."]
    rows = [
        (line.namespace, line.event, line.handler, _short(line.location))
        for line in sorted(registrations, key=lambda line: (line.namespace, line.event))
    ]
    underline = tuple("-" * max(map(len, column)) for column in zip(HEADER, *rows, strict=True))
    return table([HEADER, underline, *rows], width=sys.maxsize)  # as wide as `flask routes`


def _short(location: str) -> str:
    """Return a path relative to the working directory if that is shorter."""
    return min(location, os.path.relpath(location), key=len) if os.path.isabs(location) else location
