"""Where processes of one host find each other: a directory with one Unix socket for each that listens.

::

    /run/user/1000/flask-socketio-1000/     ours alone: 0700, our own, no link
        3f0c1d6a9b72/                       those who belong together, such as a bus's
            9d41b6c02e75                    a listener

The file system is the registry. A listener appears under its name when it can be connected to, and not before; so
whoever finds a name that refuses connections has found a dead process.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
import sys
import tempfile
import time

from .unix import unix_socket

__all__ = [
    "Listing",
    "NoDirectory",
    "SocketDirectory",
    "listeners",
    "new_name",
    "remove_abandoned",
    "remove_dead",
    "remove_socket",
]

PRIVATE = 0o700
#: Most bytes of a socket's path. Source: ``sun_path`` in unix(7), 108 bytes with its end; 104 in BSD and macOS.
LONGEST_PATH = 107 if sys.platform == "linux" else 103
#: Characters of the inner directory and of a listener's socket; a listener that is not ready has one dot more.
NAME = 12
_LISTENER = re.compile(rf"[0-9a-f]{{{NAME}}}")
#: Seconds in which a listener is ready under its name.
READY_S = 60.0
#: Seconds after which it is asked again which directory it is; one that is gone is noticed at once.
FIND_AGAIN_S = 1.0
#: Seconds after a change of the directory for which another one may leave its time as it is: the resolution of what
#: file systems note. Linux's own have 10 ms at most, the coarsest in use a second.
SETTLED_S = 1.5


class NoDirectory(OSError):
    """No directory can be used; the text says of each why."""


class SocketDirectory:
    """The directory of those who belong together; made when a listener needs it, removed by the last that leaves.

    :param names: what they have in common; whoever differs in one of them does not meet the others.
    :param kind: what its name begins with, so that all of a kind can be found.
    :param chosen: where to put it, by the user's choice; otherwise ``XDG_RUNTIME_DIR`` or the temporary directory.
    :param advice: what to do where none can be used; ends the error's text.
    """

    def __init__(self, *names: str, kind: str = "", chosen: str | None = None, advice: str = "") -> None:
        self._chosen = chosen
        self._advice = advice
        self._inner = kind + hashlib.sha256("\0".join(names).encode()).hexdigest()[:NAME]

    def find(self) -> str:
        """Return the path, at which there need not be anything yet; what is there is ours alone.

        :raises NoDirectory: if none of the places can be used.
        """
        reasons = []
        for what, place in self._places():
            private = os.path.join(place, f"flask-socketio-{os.geteuid()}")
            reason = _objection(place, private, len(self._inner))
            if not reason:
                return os.path.join(private, self._inner)
            reasons.append(f"{what}: {reason}")
        raise NoDirectory(f"no directory for Unix sockets: {'; '.join(reasons)}. {self._advice}".strip())

    def make(self) -> str:
        """Make it, if it is not there, and return its path.

        :raises NoDirectory: as :meth:`find`.
        :raises OSError: if it cannot be made.
        """
        path = self.find()
        for part in (os.path.dirname(path), path):
            try:
                os.mkdir(part, PRIVATE)
            except FileExistsError:
                pass
        return self.find()  # somebody may have been faster, and not one of us

    def all_of_kind(self, kind: str) -> list[str]:
        """Return the paths of the directories of a kind that are there, of whatever names.

        :raises NoDirectory: as :meth:`find`.
        """
        private = os.path.dirname(self.find())
        try:
            return [os.path.join(private, name) for name in os.listdir(private) if name.startswith(kind)]
        except FileNotFoundError:
            return []

    def _places(self) -> list[tuple[str, str]]:
        if self._chosen is not None:
            return [("directory", os.path.abspath(self._chosen))]
        runtime = os.environ.get("XDG_RUNTIME_DIR")
        places = [("XDG_RUNTIME_DIR", runtime)] if runtime else []
        try:
            return [*places, ("temporary directory", tempfile.gettempdir())]
        except FileNotFoundError as error:  # nothing is writable
            raise NoDirectory(str(error)) from error


def _objection(place: str, private: str, inner: int) -> str:
    """Return why a place cannot be used; an empty text if it can."""
    if len(os.fsencode(private)) + inner + NAME + 3 > LONGEST_PATH:  # two separators and a hidden name's dot
        return f"{place!r} is too long for a socket's path of {LONGEST_PATH} bytes"
    try:
        found = os.lstat(private)
    except FileNotFoundError:
        return "" if _writable(place) else f"{place!r} is not a directory that we may write to"
    except OSError as error:
        return f"{private!r}: {error.strerror}"
    if not stat.S_ISDIR(found.st_mode):
        return f"{private!r} is no directory, remove it"
    if found.st_uid != os.geteuid():
        return f"{private!r} belongs to user {found.st_uid}, not to us ({os.geteuid()})"
    if stat.S_IMODE(found.st_mode) & ~PRIVATE:
        return f"{private!r} is open to others (mode {stat.S_IMODE(found.st_mode):o}): chmod 700 it"
    return "" if _writable(private) else f"{private!r} is not writable"


def _writable(path: str) -> bool:
    return os.path.isdir(path) and os.access(
        path, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids
    )


class Listing:
    """Who is in a directory, read again only when that may have changed. Not thread-safe.

    A look takes one ``stat``.
    """

    def __init__(self, directory: SocketDirectory) -> None:
        self._directory = directory
        self.path = ""
        """The directory's path, since the first :meth:`look`."""
        self._find_at = 0.0
        self._seen: tuple[int, int, int] | None = None  # what the directory was when it was read
        self._settled = False

    def look(self) -> list[str] | None:
        """Return the names of those who listen, or did; ``None`` if that is what it was at the last look.

        :raises NoDirectory: if there is no place for a directory.
        """
        now = time.monotonic()
        if now >= self._find_at:
            path, self._find_at = self._directory.find(), now + FIND_AGAIN_S
            if path != self.path:
                self.path, self._seen = path, None
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            self._seen, self._find_at = None, 0.0
            return []
        seen = (found.st_dev, found.st_ino, found.st_mtime_ns)
        if seen == self._seen and self._settled:
            return None
        settled = abs(time.time() - found.st_mtime) > SETTLED_S  # before it is read
        names = listeners(self.path)
        self._seen, self._settled = seen, settled
        return names

    def forget(self) -> None:
        """Have the next look read it in any case."""
        self._seen = None


def new_name(start: str = "") -> str:
    """Return a name for a listener that nobody had before.

    :param start: with which it begins, hexadecimal digits.
    """
    return start + secrets.token_hex(NAME // 2)[len(start) :]


def listeners(path: str) -> list[str]:
    """Return the names of those in a directory who are ready, or were; none if it is not there."""
    try:
        return [name for name in os.listdir(path) if _LISTENER.fullmatch(name)]
    except FileNotFoundError:
        return []


def remove_abandoned(path: str) -> None:
    """Remove sockets that processes have left which died before they were ready."""
    for entry in os.scandir(path):
        try:
            if (
                entry.name.startswith(".")
                and time.time() - entry.stat(follow_symlinks=False).st_mtime > READY_S
            ):
                os.unlink(entry.path)
        except OSError:
            pass  # somebody was faster


def remove_dead(directory: str) -> None:
    """Remove sockets of dead processes in a directory and in those beside it, and of these the ones that are empty.

    :param directory: of those who belong together.
    """
    try:
        entries = list(os.scandir(os.path.dirname(directory)))
    except FileNotFoundError:
        return  # the last has left
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            for name in listeners(entry.path):
                _remove_if_dead(os.path.join(entry.path, name))
            if entry.path != directory:
                try:
                    os.rmdir(entry.path)
                except OSError:
                    pass  # somebody is in there


def _remove_if_dead(path: str) -> None:
    sock = unix_socket()
    try:
        sock.connect(path)
    except ConnectionRefusedError:
        remove_socket(path)
    except OSError:
        pass  # it has just left, or takes no more connections: somebody is there
    finally:
        sock.close()


def remove_socket(path: str) -> None:
    """Remove a socket, and the directories above it that nobody else uses."""
    try:
        os.unlink(path)
    except OSError:
        pass  # somebody was faster
    inner = os.path.dirname(path)
    for directory in (inner, os.path.dirname(inner)):
        try:
            os.rmdir(directory)
        except OSError:
            return  # others are in there
