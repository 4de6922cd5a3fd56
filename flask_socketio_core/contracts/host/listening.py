"""A Unix socket that others of this host can connect to as soon as they find it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..fork import ProcessFlag
from .directory import new_name, remove_abandoned, remove_dead, remove_socket
from .unix import shut_down, unix_socket

if TYPE_CHECKING:
    import _socket

    from .directory import SocketDirectory

__all__ = ["ListeningSocket"]

BACKLOG = 4096
"""Connections that may wait to be accepted, as many as Linux lets."""
ATTEMPTS = 20
"""Times that it is tried to get into a directory that others, who leave, are removing."""


class ListeningSocket:
    """Listen in a directory, under a name that nobody had before.

    :param start: with which it begins, hexadecimal digits.

    Who finds the name can connect: it is bound under a hidden one, and renamed when it listens.

    :raises OSError: if that cannot be.
    """

    def __init__(self, directory: SocketDirectory, start: str = "") -> None:
        self._directory = directory
        self._ours = ProcessFlag(is_set=True)
        self.name = new_name(start)
        """Its file's name, 48 random bits, without a start, that only processes of this user can see."""
        self._has_left = False
        self.sock: _socket.socket = unix_socket()
        try:
            self._path = self._bind()
        except BaseException:
            self.sock.close()
            raise

    def _bind(self) -> str:
        for attempt in range(ATTEMPTS):
            directory = self._directory.make()
            hidden = os.path.join(directory, f".{self.name}")
            try:
                self.sock.bind(hidden)
                break
            except FileNotFoundError:  # removed by the last who has left
                if attempt == ATTEMPTS - 1:
                    raise
        remove_abandoned(directory)
        remove_dead(directory)
        self.sock.listen(BACKLOG)
        path = os.path.join(directory, self.name)
        os.rename(hidden, path)
        return path

    @property
    def path(self) -> str:
        """Where others find it."""
        return self._path

    @property
    def directory(self) -> str:
        """The path of the directory in which it is."""
        return os.path.dirname(self._path)

    @property
    def is_there(self) -> bool:
        """Whether others find it: its socket is where they look."""
        return os.path.exists(self._path) and self.directory == self._directory.find()

    def leave(self) -> None:
        """Be found by nobody any more, and let a task that waits for connections see the end.

        Any task may call it, more than once; the descriptor stays open. Does nothing in a forked child.
        """
        if self._ours.is_set() and not self._has_left:
            self._has_left = True
            remove_socket(self._path)
            remove_dead(self.directory)
            shut_down(self.sock)

    def close(self) -> None:
        """Leave, and close the descriptor; only the copy of it in a forked child."""
        self.leave()
        self.sock.close()
