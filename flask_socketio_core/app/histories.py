"""Which rooms have a history, as the application has declared it."""

from __future__ import annotations

import fnmatch
from collections.abc import Hashable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """That what is sent to some rooms is kept.

    :param room: a room, or a pattern for its name as of file names.
    :param ids: clients are sent each event's id, too.
    """

    room: Hashable
    namespace: str
    size: int
    ttl_s: float
    max_bytes: int
    ids: bool = False

    def matches(self, namespace: str, room: Hashable) -> bool:
        """Return whether it is for a room."""
        if self.namespace != namespace:
            return False
        if isinstance(self.room, str) and isinstance(room, str):
            return fnmatch.fnmatchcase(room, self.room)
        return self.room == room


class Declarations:
    """Those of one ``SocketIO`` object; of several for a room the first counts."""

    def __init__(self) -> None:
        self._all: list[Declaration] = []
        self._exact: dict[tuple[str, Hashable], Declaration] = {}

    def __bool__(self) -> bool:
        return bool(self._all)

    def add(self, declaration: Declaration) -> None:
        """Add one."""
        self._all.append(declaration)
        if not isinstance(declaration.room, str) or not any(sign in declaration.room for sign in "*?["):
            self._exact.setdefault((declaration.namespace, declaration.room), declaration)

    def find(self, namespace: str, room: Hashable) -> Declaration | None:
        """Return what was declared for a room."""
        found = self._exact.get((namespace, room))
        if found is None:
            found = next((item for item in self._all if item.matches(namespace, room)), None)
        return found
