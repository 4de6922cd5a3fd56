"""Where one listener hears everybody: a listening socket, and the connections that senders have made to it."""

from __future__ import annotations

import _socket
import errno
import logging
import os
import selectors
from typing import TYPE_CHECKING

from flask_socketio_core.contracts.fork import ProcessFlag, register_at_fork
from flask_socketio_core.contracts.host.listening import ListeningSocket
from flask_socketio_core.contracts.host.unix import NO_SIGNAL, Process, accept, close_copy, other_end

from .frames import HERE, FrameReader, FrameTooLarge

if TYPE_CHECKING:
    from flask_socketio_core.contracts.host.directory import SocketDirectory

_logger = logging.getLogger(__name__)

#: Bytes read at a time; a socket's buffer holds about as many.
CHUNK = 256 * 1024
#: Chunks that are read of one connection before another: more than the buffer of one that was closed can have.
MOST_CHUNKS = 1000
#: What accepting fails with while descriptors or memory are short.
SHORT = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class _Connection:
    """One sender."""

    __slots__ = ("process", "reader", "sock")

    def __init__(self, sock: _socket.socket, process: Process, max_bytes: int) -> None:
        self.sock = sock
        self.process = process
        self.reader = FrameReader(max_bytes)


class Inbox:
    """Listen in a directory. One task opens, reads and closes it; :meth:`leave` may be called by any.

    :param max_bytes: largest message.
    """

    def __init__(self, directory: SocketDirectory, *, max_bytes: int) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._ours = ProcessFlag(is_set=True)
        self._listening: ListeningSocket | None = None
        self._connections: dict[int, _Connection] = {}
        self._selector = selectors.DefaultSelector()
        self._accepts = False
        register_at_fork(after_in_child=self._drop)

    def open(self) -> None:
        """Be there for everybody who sends from now on.

        :raises OSError: if that cannot be.
        """
        self._listening = ListeningSocket(self._directory)
        self._accept_more()

    @property
    def is_there(self) -> bool:
        """Whether others find it: its socket is where they look."""
        return self._listening is not None and self._listening.is_there

    def read(self, timeout_s: float) -> list[bytes]:
        """Return what has arrived, in the order of each sender; nothing if that takes longer.

        :param timeout_s: most seconds to wait.
        """
        ready = self._selector.select(timeout_s)
        found: list[bytes] = []
        for key, _ in ready:
            if key.data is not None and key.fd in self._connections:
                self._take(key.data, found)
        if not self._accepts:
            self._accept_more()
        elif any(key.data is None for key, _ in ready):
            self._accept()
        return found

    def leave(self) -> None:
        """Be found by nobody any more, and have the task that reads end, without closing what it looks at."""
        if self._listening is not None:
            self._listening.leave()

    def close(self) -> None:
        """Close everything; in the process that opened it."""
        if not self._ours.is_set():
            return
        self.leave()
        for connection in list(self._connections.values()):
            self._end(connection)
        self._selector.close()
        if self._listening is not None:
            self._listening.close()

    def _accept_more(self) -> None:
        if self._listening is not None:
            self._selector.register(self._listening.sock, selectors.EVENT_READ)
            self._accepts = True

    def _accept(self) -> None:
        """Accept those who wait; without descriptors for them they wait until something else has happened."""
        listening = self._listening
        while listening is not None:
            try:
                sock = accept(listening.sock)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in SHORT:
                    _logger.warning("a process on this host waits to be heard: %s", error)
                    self._selector.unregister(listening.sock)
                    self._accepts = False
                return  # or we have left
            self._admit(sock)

    def _admit(self, sock: _socket.socket) -> None:
        process = other_end(sock)
        if process.uid not in (None, os.geteuid()):
            _logger.error("refused what %s of user %d has to say on this host", process, process.uid)
            sock.close()
            return
        connection = _Connection(sock, process, self._max_bytes)
        self._connections[sock.fileno()] = connection
        self._selector.register(sock, selectors.EVENT_READ, connection)

    def _take(self, connection: _Connection, found: list[bytes]) -> bool:
        """Read once; return whether there may be more."""
        try:
            data = connection.sock.recv(CHUNK)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            if connection.reader.partial:
                _logger.warning(
                    "%s on this host ended in the middle of a message, which is lost", connection.process
                )
            self._end(connection)
            return False
        try:
            found += connection.reader.feed(data)
        except FrameTooLarge as error:
            _logger.error("%s on this host is not understood: %s", connection.process, error)
            self._end(connection)
            return False
        if connection.reader.questions:
            self._answer(connection, found)
        return True

    def _answer(self, connection: _Connection, found: list[bytes]) -> None:
        """Tell a sender that had given us up that we read, behind what it has sent before on other connections."""
        connection.reader.questions = 0
        for other in list(self._connections.values()):
            if other is not connection and other.process == connection.process:
                for _ in range(MOST_CHUNKS):
                    if not self._take(other, found):
                        break
        try:
            connection.sock.send(HERE, NO_SIGNAL)
        except OSError:
            pass  # it is gone, which is read next

    def _end(self, connection: _Connection) -> None:
        del self._connections[connection.sock.fileno()]
        self._selector.unregister(connection.sock)
        connection.sock.close()

    def _drop(self) -> None:
        """Close the copies of a forked child: this is the parent's, and has to end with it."""
        for connection in self._connections.values():
            connection.sock.close()
        if self._listening is not None:
            self._listening.close()
        close_copy(self._selector)
