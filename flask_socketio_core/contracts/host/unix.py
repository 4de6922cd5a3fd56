"""Unix sockets that are never monkey-patched: nothing here waits, so nothing needs to be."""

from __future__ import annotations

import _socket
import os
import selectors
import struct
from dataclasses import dataclass
from typing import Any

__all__ = [
    "FAMILY",
    "NO_SIGNAL",
    "Process",
    "accept",
    "close_copy",
    "connect",
    "other_end",
    "shut_down",
    "unix_socket",
]

#: Absent on Windows.
FAMILY = getattr(_socket, "AF_UNIX", None)
#: A peer that is gone is an error of the call, whatever the process does with SIGPIPE.
NO_SIGNAL = getattr(_socket, "MSG_NOSIGNAL", 0)
#: Linux and some others can make a socket that does not block; elsewhere it takes another call.
_NONBLOCK = getattr(_socket, "SOCK_NONBLOCK", 0)
#: Linux alone; elsewhere the directory's mode keeps others out.
_CREDENTIALS = getattr(_socket, "SO_PEERCRED", None)
_UCRED = struct.Struct("iII")


@dataclass(frozen=True, slots=True)
class Process:
    """The process at the other end.

    :param pid: 0 if it is in a PID namespace that we do not see, ``None`` if the system does not tell.
    :param uid: its effective user, ``None`` if the system does not tell.
    """

    pid: int | None = None
    uid: int | None = None

    @property
    def is_ours(self) -> bool:
        """Whether it belongs to our user, as far as the system tells."""
        return self.uid in (None, os.geteuid())

    def __str__(self) -> str:
        return f"process {self.pid}" if self.pid else "a process"


def unix_socket() -> _socket.socket:
    """Return a socket that does not block; no child that is executed inherits it."""
    sock = _socket.socket(FAMILY or -1, _socket.SOCK_STREAM | _NONBLOCK)
    if not _NONBLOCK:
        sock.setblocking(False)
    return sock


def connect(sock: _socket.socket, path: str) -> Process:
    """Connect to who listens there, and return who that is.

    :raises ConnectionRefusedError: if nobody does.
    :raises FileNotFoundError: if it has left.
    :raises BlockingIOError: if it has not accepted those before us.
    :raises PermissionError: if it belongs to another user.
    """
    sock.connect(path)
    found = other_end(sock)
    if not found.is_ours:
        raise PermissionError(f"{path!r} is a socket of user {found.uid}")
    return found


def accept(listening: _socket.socket) -> _socket.socket:
    """Return the next connection.

    :raises BlockingIOError: if there is none.
    """
    server: Any = listening  # what socket.socket adds to it, and stubs do not show
    fd, _ = server._accept()
    sock = _socket.socket(listening.family, listening.type, listening.proto, fd)
    sock.setblocking(False)
    return sock


def other_end(sock: _socket.socket) -> Process:
    """Return who is connected."""
    if _CREDENTIALS is None:
        return Process()
    pid, uid, _ = _UCRED.unpack(sock.getsockopt(_socket.SOL_SOCKET, _CREDENTIALS, _UCRED.size))
    return Process(pid, uid)


def shut_down(sock: _socket.socket) -> None:
    """Let the other end see the end, and whoever waits for this one, without closing the descriptor."""
    try:
        sock.shutdown(_socket.SHUT_RDWR)
    except OSError:
        pass  # it was not connected, or not any more


def close_copy(selector: selectors.BaseSelector | None) -> None:
    """Close a forked child's copy of a selector; it must not be told of changes, for the parent's is the same.

    Those of green modes have no descriptor, and belong to a hub that the child has left.
    """
    if selector is not None and hasattr(selector, "fileno"):
        selector.close()
