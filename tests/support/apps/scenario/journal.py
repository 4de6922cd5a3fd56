"""A journal whose entries say which client they are about."""

from __future__ import annotations

import contextvars
from typing import Any, Protocol

from flask import has_request_context, request

from support.apps.base import Journal


class Note(Protocol):
    """What the parts of the application are given to write with."""

    def __call__(self, name: str, *values: Any) -> None: ...


def untagged(note: Note) -> Note:
    """Make a way to note from where only one of the libraries has a client's context."""

    def noting(name: str, *values: Any) -> None:
        contextvars.Context().run(note, name, *values)

    return noting


class TaggedJournal(Journal):
    """The second field of each entry is the ``who`` of the current client, empty outside a handler."""

    def note(self, name: str, *values: Any) -> None:
        who = request.args.get("who", "") if has_request_context() else ""
        super().note(name, who, *values)
