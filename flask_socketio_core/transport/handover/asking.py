"""One request to another worker of this web server, and its answer."""

from __future__ import annotations

import _socket
import contextlib
from array import array
from typing import TYPE_CHECKING

from ...contracts.host.unix import NO_SIGNAL, connect, shut_down, unix_socket
from ..reactor import EPOLLIN, EPOLLOUT
from .messages import Answer, BrokenMessage, MessageReader, Request, answer_of, encode

if TYPE_CHECKING:
    from ...contracts import AsyncMode, Event, Handle
    from ..reactor import Reactor

CHUNK = 65_536
"""Bytes read of an answer at a time."""
WRITE_S = 10.0
"""How long another worker may take to read what goes along with a connection, seconds."""


class Unanswered(Exception):
    """The other worker has not answered: it has ended, does not take any more, or takes too long."""


class Asking:
    """A connection to another worker, for one request.

    :param path: of the socket on which it listens.
    :raises ConnectionRefusedError: if nobody does.
    :raises FileNotFoundError: if it has left.
    :raises BlockingIOError: if it does not accept those before us.
    :raises PermissionError: if it belongs to another user.
    """

    __slots__ = (
        "_answer",
        "_body",
        "_closing",
        "_deadline",
        "_done",
        "_lock",
        "_mode",
        "_reactor",
        "_reader",
        "_rest",
        "_sock",
        "fd",
    )

    what: str = "a request to another worker"

    def __init__(self, path: str, reactor: Reactor, mode: AsyncMode) -> None:
        self._reactor = reactor
        self._mode = mode
        self._lock = mode.create_lock()
        self._done: Event | None = None  # nobody waits for an answer to a connection that was given away
        self._reader: MessageReader | None = None
        self._answer: Answer | None = None
        self._body = b""
        self._rest = memoryview(b"")
        self._closing = False
        self._deadline: Handle | None = None
        self._sock = unix_socket()
        self.fd = self._sock.fileno()
        try:
            connect(self._sock, path)
        except BaseException:
            self._sock.close()
            raise

    def hand_over(self, request: Request, first_bytes: bytes, sock: _socket.socket) -> None:
        """Give a client's connection away, with what was read of it; nothing is left of it here.

        :raises OSError: if the other worker has ended; the connection is still ours then.
        """
        self._send(encode(request, first_bytes), sock)
        sock.close()

    def ask(
        self,
        request: Request,
        body: bytes,
        *,
        max_body_bytes: int,
        timeout_s: float,
        hurries: bool = False,
    ) -> tuple[Answer, bytes]:
        """Send a request and wait for the answer, in the task that calls.

        :param max_body_bytes: of the largest answer.
        :param hurries: as :meth:`hurry`, at once.
        :raises Unanswered: if there is none.
        """
        self._reader = MessageReader(max_body_bytes)
        self._done = done = self._mode.create_event()
        try:
            self._send(encode(request, body))
        except OSError as error:
            raise Unanswered(str(error)) from error
        if hurries:
            self.hurry()
        if not done.wait(timeout_s):
            self._give_up()
            raise Unanswered(f"nothing came within {timeout_s:g} s")
        if self._answer is None:
            raise Unanswered("it has ended")
        return self._answer, self._body

    def close(self) -> None:
        """Ask nothing after all."""
        self._sock.close()

    def hurry(self) -> None:
        """Be answered now: a poll that waits is told that there is nothing."""
        with self._lock:
            if self.fd >= 0 and not self._rest:
                with contextlib.suppress(OSError):  # the other worker was faster
                    self._sock.shutdown(_socket.SHUT_WR)

    def _send(self, message: bytes, passed: _socket.socket | None = None) -> None:
        ancillary = []
        if passed is not None:
            ancillary = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, array("i", [passed.fileno()]))]
        try:
            sent = self._sock.sendmsg([message], ancillary, NO_SIGNAL)
        except OSError:
            # BlockingIOError, too: a new connection takes some bytes, unless there is no memory for them.
            self._sock.close()
            raise
        self._rest = memoryview(message)[sent:]
        if self._reader is None:
            if not self._rest:
                self._sock.close()
                return
            self._deadline = self._mode.call_later(WRITE_S, self._give_up)
        with self._lock:
            self._reactor.add(self, EPOLLIN | EPOLLOUT if self._rest else EPOLLIN)
        self._reactor.watch()

    def _give_up(self) -> None:
        with self._lock:
            if self.fd >= 0:
                self._closing = True
                shut_down(self._sock)  # the loop closes it

    # the loop's task only

    def on_readable(self) -> None:
        """Read the answer, or the end."""
        try:
            data = self._sock.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data and self._reader is not None and not self._closing:
            try:
                found = self._reader.feed(data)
                if found is None:
                    return
                self._answer, self._body = answer_of(found[0]), found[1]
            except BrokenMessage:
                self.end()
                raise
        self.end()

    def on_writable(self) -> None:
        """Write what is left of the request."""
        try:
            self._rest = self._rest[self._sock.send(self._rest, NO_SIGNAL) :]
        except BlockingIOError:
            return
        except OSError:
            self.end()
            return
        if not self._rest:
            if self._reader is None:
                self.end()
            else:
                self._reactor.wait_for(self.fd, EPOLLIN)

    def on_more(self) -> None:
        """Never asked for."""

    def end(self) -> None:
        """Close the connection, and let who waits go on."""
        with self._lock:
            if self.fd < 0:
                return
            self._reactor.remove(self.fd)
            self.fd = -1
            self._sock.close()
        if self._deadline is not None:
            self._deadline.cancel()
        if self._done is not None:
            self._done.set()

    def forget(self) -> None:
        """Close the descriptor, in a forked child."""
        self.fd = -1
        self._sock.close()
