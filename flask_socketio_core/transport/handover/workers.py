"""The workers of one web server: each listens in a directory that all of them know."""

from __future__ import annotations

import os
from collections import defaultdict
from typing import TYPE_CHECKING

from ...contracts.host.directory import Listing, SocketDirectory, listeners, remove_socket
from ...contracts.host.listening import ListeningSocket
from .sids import LENGTH, TAG, is_sid_of, new_tagged_sid, tag_of

if TYPE_CHECKING:
    import _socket

    from ...contracts import Lock

PROTOCOL = "1"
"""Of what workers write to each other; those with another do not find each other."""
KIND = "workers-"
"""What the directories of such groups are called."""


def _directory(group: str) -> SocketDirectory:
    return SocketDirectory(
        PROTOCOL, group, kind=KIND, advice="Let XDG_RUNTIME_DIR or TMPDIR name one that can be written to"
    )


def all_groups() -> list[list[str]]:
    """Return the workers of each group of this user on this host, by their sockets' paths.

    :raises NoDirectory: if there is no place in which they could meet.
    """
    groups = _directory("").all_of_kind(KIND)
    return [[os.path.join(group, name) for name in listeners(group)] for group in groups]


class Workers:
    """Be one of them, and know the others.

    :param group: name of those who belong together.
    :param lock: lets one task at a time look who is there.
    :raises OSError: if there is no directory to meet in.
    """

    def __init__(self, group: str, lock: Lock) -> None:
        directory = _directory(group)
        self._own = ListeningSocket(directory)
        self._lock = lock
        self._listing = Listing(directory)
        self._by_tag: dict[str, list[str]] = {}

    @property
    def sock(self) -> _socket.socket:
        """Where the others connect to."""
        return self._own.sock

    @property
    def path(self) -> str:
        """The directory in which they meet."""
        return self._own.directory

    def new_sid(self) -> str:
        """Return an id for a session of this worker."""
        return new_tagged_sid(self._own.name)

    def owner_of(self, sid: str) -> str | None:
        """Return the path of the socket on which a session's worker listens; ``None`` if it is ours or nobody's.

        A worker that has left may be found until somebody is looked for whom we do not know; nobody listens there.
        """
        if len(sid) != LENGTH:
            return None
        name = self._name_of(sid)
        if name is None:
            with self._lock:
                names = self._listing.look()
                if names is not None:
                    self._by_tag = self._sorted(names)
            name = self._name_of(sid)
        return None if name is None else f"{self._listing.path}/{name}"

    def _name_of(self, sid: str) -> str | None:
        return next((name for name in self._by_tag.get(sid[:TAG], ()) if is_sid_of(name, sid)), None)

    def _sorted(self, names: list[str]) -> dict[str, list[str]]:
        by_tag = defaultdict(list)
        for name in names:
            if name != self._own.name:
                by_tag[tag_of(name)].append(name)
        return dict(by_tag)

    def others(self) -> int:
        """Return how many others there are now."""
        return sum(map(len, self._sorted(listeners(self._own.directory)).values()))

    def remove(self, path: str) -> None:
        """Forget a worker that has left, or died without leaving."""
        remove_socket(path)
        with self._lock:
            self._by_tag = {}
            self._listing.forget()

    def leave(self) -> None:
        """Be found by nobody any more; sessions that are still there are not found either."""
        self._own.leave()

    def close(self) -> None:
        """Leave, and close the socket; in a forked child only the copy of it."""
        self._own.close()
