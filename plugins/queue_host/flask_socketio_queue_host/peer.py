"""A listener of the host, as a sender sees it: its connection, and what it has not taken yet."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING

from flask_socketio_core.contracts.host.unix import NO_SIGNAL, Process, connect, unix_socket

from .frames import QUESTION

if TYPE_CHECKING:
    import _socket

#: Buffers that one call hands to the system; IOV_MAX is 1024, and the kernel's buffer takes some 300 small messages.
AT_ONCE = 64


class Peer:
    """Send to one listener, in order, without ever waiting for it.

    What its socket does not take waits here, up to a limit. A listener that is beyond it is given up: nothing is kept
    for it until it answers a question, which is put to it on a new connection. All of it is called under the sender's
    lock; what raises :class:`OSError` finds the listener gone.

    :param limit_bytes: most bytes that wait, unless it is one message alone.
    :param close_later: takes a socket that is used no more, and closes it.
    :param tell: takes what is to be logged, with its level.
    """

    def __init__(
        self,
        path: str,
        limit_bytes: int,
        *,
        close_later: Callable[[_socket.socket], object],
        tell: Callable[[int, str], object],
    ) -> None:
        self.path = path
        self._limit_bytes = limit_bytes
        self._close_later = close_later
        self._tell = tell
        self.sock: _socket.socket | None = None
        self.process = Process()
        self.pending: deque[memoryview] = deque()
        self.pending_bytes = 0
        self.deaf = False
        self.lost = 0  # messages that it does not get, since it was given up
        self.progress_at = 0.0  # monotonic seconds; when it took something last, or began to keep us waiting
        self.stalled = False  # it was waited for in vain

    def connect(self) -> None:
        """Connect, if its backlog has room for us.

        :raises ConnectionRefusedError: nobody listens there any more.
        :raises PermissionError: a process of another user does.
        :raises OSError: for any other reason.
        """
        sock = unix_socket()
        try:
            self.process = connect(sock, self.path)
        except BlockingIOError:  # it has not accepted those before us
            sock.close()
            return
        except BaseException:
            sock.close()
            raise
        self.sock = sock

    def send(self, frame: bytes) -> None:
        """Send a message, keep it, or give the peer up.

        :raises OSError: if it is gone.
        """
        if self.deaf and not self._answers():
            self.lost += 1
            return
        if self.pending:
            if self.pending_bytes + len(frame) > self._limit_bytes:
                self._give_up()
                return
            rest = memoryview(frame)
        else:
            sent = self._write(frame)
            if sent == len(frame):
                return
            rest = memoryview(frame)[sent:]
            self.progress_at, self.stalled = time.monotonic(), False
        self.pending.append(rest)
        self.pending_bytes += len(rest)

    def drain(self) -> None:
        """Send what waits, as far as it is taken.

        :raises OSError: if it is gone.
        """
        if self.sock is None:
            self.connect()
        while self.pending and self.sock is not None:
            try:
                sent = self.sock.sendmsg(islice(self.pending, AT_ONCE), (), NO_SIGNAL)
            except BlockingIOError:
                return
            self._note_sent(sent)

    def _note_sent(self, sent: int) -> None:
        self.progress_at, self.stalled = time.monotonic(), False
        self.pending_bytes -= sent
        while sent:
            first = self.pending[0]
            if len(first) > sent:
                self.pending[0] = first[sent:]
                return
            sent -= len(self.pending.popleft())

    def close(self) -> None:
        """Leave it, with what waits for it."""
        sock, self.sock = self.sock, None
        if sock is not None:
            self._close_later(sock)
        self.pending.clear()
        self.pending_bytes = 0

    def _write(self, data: bytes) -> int:
        if self.sock is None:
            self.connect()
        if self.sock is None:
            return 0
        try:
            return self.sock.send(data, NO_SIGNAL)
        except BlockingIOError:
            return 0

    def _give_up(self) -> None:
        self.lost = len(self.pending) + 1
        self._tell(
            logging.WARNING,
            f"{self.process} on this host reads no messages: the {self.lost} that waited for it, "
            f"{self.pending_bytes} bytes, are lost to it, as are others until it reads again",
        )
        self.deaf = True
        self.close()
        self._ask()

    def _ask(self) -> None:
        self.connect()
        if self.sock is not None:
            self.sock.send(QUESTION, NO_SIGNAL)  # a new socket takes four bytes

    def _answers(self) -> bool:
        """Return whether a peer that was given up reads again."""
        if self.sock is None:
            self._ask()
            return False
        try:
            answer = self.sock.recv(1)
        except BlockingIOError:
            return False
        if not answer:
            raise ConnectionResetError("it has ended")
        self.deaf = False
        self._tell(
            logging.WARNING, f"{self.process} on this host reads again: {self.lost} messages are lost to it"
        )
        return True
