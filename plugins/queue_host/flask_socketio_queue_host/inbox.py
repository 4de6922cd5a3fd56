"""Where one listener hears everybody: a listening socket, and the connections that senders have made to it."""

from __future__ import annotations

import _socket
import errno
import logging
import time
from typing import TYPE_CHECKING

from flask_socketio_core.contracts.fork import ProcessFlag, register_at_fork
from flask_socketio_core.contracts.host.listening import ListeningSocket
from flask_socketio_core.contracts.host.unix import NO_SIGNAL, Process, accept, other_end

from .frames import HERE, FrameReader, FrameTooLarge
from .pace import PAUSE_S, Pace
from .waiting import waiting

if TYPE_CHECKING:
    from flask_socketio_core.contracts import AsyncMode
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
    """Listen in a directory. One task makes, opens, reads and closes it; :meth:`leave` may be called by any.

    :param address: with which its socket's name begins.
    :param max_bytes: largest message.
    :param tick_s: most seconds that it waits for messages.
    """

    def __init__(
        self, directory: SocketDirectory, mode: AsyncMode, *, address: str, max_bytes: int, tick_s: float
    ) -> None:
        self._directory = directory
        self._address = address
        self._max_bytes = max_bytes
        self._ours = ProcessFlag(is_set=True)
        self._listening: ListeningSocket | None = None
        self._connections: dict[int, _Connection] = {}
        self._chunk = memoryview(
            bytearray(CHUNK)
        )  # a new one for each message would take longer than to read it
        self._waiting = waiting(mode, tick_s)
        self._pace = Pace()
        self._accepts = False
        register_at_fork(after_in_child=self._drop)

    def open(self) -> None:
        """Be there for everybody who sends from now on.

        :raises OSError: if that cannot be.
        """
        self._listening = ListeningSocket(self._directory, self._address)
        self._accept_more()

    @property
    def is_there(self) -> bool:
        """Whether others find it: its socket is where they look."""
        return self._listening is not None and self._listening.is_there

    @property
    def path(self) -> str:
        """Of the socket; empty before :meth:`open`."""
        return "" if self._listening is None else self._listening.path

    def read(self) -> list[bytes]:
        """Return what has arrived, in the order of each sender; nothing if that takes long.

        Under load it lets messages gather for a moment, and reads several at once.
        """
        if self._pace.pauses:
            self._waiting.pause(PAUSE_S)
        found: list[bytes] = []
        somebody_new = False
        for fd in self._waiting.ready():
            connection = self._connections.get(fd)
            if connection is not None:
                self._take(connection, found)
            elif self._accepts and self._listening is not None:
                somebody_new = somebody_new or fd == self._listening.sock.fileno()
        if not self._accepts:
            self._accept_more()
        elif somebody_new:
            self._accept()
        self._pace.note(len(found), time.monotonic())
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
        self._waiting.close()
        if self._listening is not None:
            self._listening.close()

    def _accept_more(self) -> None:
        if self._listening is not None:
            self._waiting.add(self._listening.sock)
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
                    self._waiting.remove(listening.sock)
                    self._accepts = False
                return  # or we have left
            self._admit(sock)

    def _admit(self, sock: _socket.socket) -> None:
        process = other_end(sock)
        if not process.is_ours:
            _logger.error("refused what %s of user %d has to say on this host", process, process.uid)
            sock.close()
            return
        connection = _Connection(sock, process, self._max_bytes)
        self._connections[sock.fileno()] = connection
        self._waiting.add(sock)

    def _take(self, connection: _Connection, found: list[bytes]) -> bool:
        """Read once; return whether there may be more."""
        try:
            data = bytes(self._chunk[: connection.sock.recv_into(self._chunk)])
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
        self._waiting.remove(connection.sock)
        connection.sock.close()

    def _drop(self) -> None:
        """Close the copies of a forked child: this is the parent's, and has to end with it."""
        for connection in self._connections.values():
            connection.sock.close()
        if self._listening is not None:
            self._listening.close()
        self._waiting.drop()
