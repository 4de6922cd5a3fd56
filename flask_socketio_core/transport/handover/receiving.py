"""What other workers of this web server ask of this one: a listening socket, and a connection for each request."""

from __future__ import annotations

import _socket
import errno
import os
from array import array
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...contracts.concurrency.servers import ACCEPT_PAUSE_S, NO_DESCRIPTORS, report_no_descriptor
from ...contracts.host.unix import NO_SIGNAL, accept, other_end, shut_down
from ..reactor import EPOLLIN, EPOLLOUT
from .messages import Answer, BrokenMessage, MessageReader, Request, encode, request_of

if TYPE_CHECKING:
    from ..reactor import Reactor
    from ..server import EngineIOServer
    from ..wsgi import Refusal

CHUNK = 65_536
"""Bytes read of a request at a time."""
READ_S = 10.0
"""How long a request may take to be read, seconds: it is written at once by who sends it."""
MOST_ACCEPTED = 64
"""Connections accepted before the loop's other work gets its turn."""
_INTS = array("i").itemsize
CLOSED_ON_EXEC = getattr(_socket, "MSG_CMSG_CLOEXEC", 0)


class Receiver:
    """The listening socket of this worker; belongs to the loop.

    :param has_left: tells whether nobody is asked here any more.
    :param serve: serves a request that is complete; in the loop's task, must not block.
    """

    what: str = "the socket of this worker"

    def __init__(
        self,
        sock: _socket.socket,
        server: EngineIOServer,
        reactor: Reactor,
        has_left: Callable[[], bool],
        serve: Serve,
    ) -> None:
        self._sock = sock
        self._has_left = has_left
        self._server = server
        self._reactor = reactor
        self._serve = serve
        self.fd = sock.fileno()

    def start(self) -> None:
        """Accept from now on."""
        self._reactor.add(self, EPOLLIN)
        self._reactor.watch()

    def on_readable(self) -> None:
        """Accept those who wait."""
        for _ in range(MOST_ACCEPTED):
            try:
                sock = accept(self._sock)
            except BlockingIOError:
                if self._has_left():  # the socket was shut down, which the loop would be told again and again
                    self.end()
                return
            except OSError as error:
                self._pause(error)
                return
            self._admit(sock)

    def _pause(self, error: OSError) -> None:
        if error.errno == errno.EINVAL:  # it was shut down: this worker has left
            self.end()
            return
        if error.errno in NO_DESCRIPTORS:
            self._server.mode.start_task(report_no_descriptor, error)
        else:
            self._server.report(error, "accepting another worker's request")
        self._reactor.wait_for(self.fd, 0)
        self._server.mode.call_later(ACCEPT_PAUSE_S, self._go_on)

    def _go_on(self) -> None:
        if self.fd >= 0:
            self._reactor.wait_for(self.fd, EPOLLIN)

    def _admit(self, sock: _socket.socket) -> None:
        other = other_end(sock)
        if not other.is_ours:
            sock.close()
            self._server.report(
                PermissionError(f"refused a request of {other}, which belongs to user {other.uid}"),
                "the socket of this worker",
            )
            return
        Received(sock, self._server, self._reactor, self._serve).start()

    def on_writable(self) -> None:
        """Never asked for."""

    on_more = on_writable

    def end(self) -> None:
        """Accept no more; who made the socket closes it."""
        if self.fd >= 0:
            self._reactor.remove(self.fd)
            self.fd = -1

    def forget(self) -> None:
        """Leave the socket to who made it."""
        self.fd = -1


class Received:
    """A request of another worker. Its descriptor is closed by the loop; :meth:`reply` may be called by any task."""

    __slots__ = (
        "_due_s",
        "_lock",
        "_on_expired",
        "_on_gone",
        "_passed",
        "_reactor",
        "_reader",
        "_replied",
        "_rest",
        "_serve",
        "_server",
        "_sock",
        "_waits",
        "_watched",
        "fd",
        "slot",
    )

    what: str = "a request of another worker"

    def __init__(self, sock: _socket.socket, server: EngineIOServer, reactor: Reactor, serve: Serve) -> None:
        self._sock = sock
        self._server = server
        self._reactor = reactor
        self._serve = serve
        self._reader: MessageReader | None = MessageReader(server.options.max_http_buffer_size)
        self._passed: list[_socket.socket] = []
        self._lock = server.mode.create_lock()
        self._rest = memoryview(b"")
        self._replied = False
        self._watched = False
        self._on_expired: Callable[[], object] | None = None
        self._on_gone: Callable[[], object] | None = None
        self._waits: Callable[[], object] | None = None
        self._due_s: float | None = server.clock() + READ_S
        self.fd = sock.fileno()
        self.slot = -1

    def start(self) -> None:
        """Read the request, which is there already unless it is large: a turn of the loop costs more than a try."""
        try:
            self.on_readable()
        except Exception as error:  # noqa: BLE001  # it must not keep the others from being accepted
            self._server.report(error, self.what)
            self.end()
        if self.fd >= 0 and self._reader is not None:  # there is more to come
            self._watch()
            self._server.reschedule(self)

    def _watch(self) -> None:
        """Have the loop look at the connection: not if it has brought a client's, behind which nothing follows."""
        if not self._watched:
            self._watched = True
            self._reactor.add(self, EPOLLIN)

    def reply(self, answer: Answer, body: bytes = b"") -> None:
        """Answer, and close the connection when that has been read."""
        with self._lock:
            if self.fd < 0 or self._replied:
                return
            self._replied = True
            self._rest = memoryview(encode(answer, body))
            if self._write():
                shut_down(self._sock)
            else:
                self._due_s = self._server.clock() + READ_S
                self._reactor.wait_for(self.fd, EPOLLIN | EPOLLOUT)
        if self._rest:
            self._server.reschedule(self)

    def respond(self, body: bytes) -> None:
        """Answer what was asked with the body of a response."""
        self.reply(Answer(), body)

    def refuse(self, refusal: Refusal) -> None:
        """Answer that the request is refused."""
        closes = ("Connection", "close") in refusal.headers
        self.reply(Answer(status=refusal.status, code=refusal.code, message=str(refusal), closes=closes))

    def when_gone(self, callback: Callable[[], object]) -> None:
        """Call back if the other worker does not wait any longer for what it has asked."""
        self._on_gone = callback

    def expire(self, due_s: float, callback: Callable[[], object]) -> None:
        """Call back in the loop's task at this time, a clock reading in seconds, unless it was answered."""
        with self._lock:
            if self.fd < 0 or self._replied:
                return
            self._due_s, self._on_expired = due_s, callback
        self._server.reschedule(self)

    def come_again(self, callback: Callable[[], object]) -> None:
        """Call back in the loop's task, soon; any task may ask for that."""
        with self._lock:
            self._waits = callback
            if self.fd >= 0:
                self._reactor.come_again(self)

    # the loop's task only

    def on_readable(self) -> None:
        """Read the request, or the end."""
        try:
            data, ancillary, _, _ = self._sock.recvmsg(CHUNK, _socket.CMSG_SPACE(_INTS), CLOSED_ON_EXEC)
        except BlockingIOError:
            return
        except OSError:
            data, ancillary = b"", []
        found, strange = _sockets_in(ancillary)
        self._passed += found
        if strange or len(self._passed) > 1:
            self.end()
            raise BrokenMessage("something else than the one connection of a client came along")
        reader = self._reader
        if not data and self._on_expired is not None and not self._replied:
            self._on_expired()  # who has asked wants to be answered now, or is gone
            return
        if not data or reader is None:  # nothing comes behind a request
            self.end()
            return
        try:
            message = reader.feed(data)
            if message is None:
                return
            request = request_of(message[0])
        except BrokenMessage:
            self.end()
            raise
        self._reader = None
        self._due_s = None
        if self._watched:
            self._server.unschedule(self)
        passed, self._passed = self._passed, []
        if not passed:
            self._watch()  # it is answered here, and its end is the asker's
        self._serve(self, request, message[1], passed[0] if passed else None)

    def on_writable(self) -> None:
        """Write what is left of the answer."""
        with self._lock:
            if self._write():
                shut_down(self._sock)
                self._reactor.wait_for(self.fd, EPOLLIN)

    def _write(self) -> bool:
        """Write; return whether that was all, or there is nobody left who reads."""
        try:
            self._rest = self._rest[self._sock.send(self._rest, NO_SIGNAL) :]
        except BlockingIOError:
            return False
        except OSError:
            self._rest = memoryview(b"")
        return not self._rest

    def on_more(self) -> None:
        """Go on with what waited."""
        callback, self._waits = self._waits, None
        if callback is not None and self.fd >= 0:
            callback()

    def next_due(self) -> float | None:
        """Return when it takes too long."""
        return self._due_s

    def on_due(self, now_s: float) -> float | None:
        """Give it up: the loop sees the end."""
        on_expired = self._on_expired
        if on_expired is not None and not self._replied:
            self.come_again(on_expired)
            return None
        with self._lock:
            if self.fd >= 0:
                shut_down(self._sock)
        return None

    def end(self) -> None:
        """Close the connection, and what came with it and is not used."""
        with self._lock:
            if self.fd < 0:
                return
            self._reactor.remove(self.fd)
            self.fd = -1
            self._sock.close()
        if self._watched:
            self._server.unschedule(self)
        for sock in self._passed:
            sock.close()
        on_gone = self._on_gone
        if on_gone is not None and not self._replied:
            on_gone()

    def forget(self) -> None:
        """Close the descriptors, in a forked child."""
        self.fd = -1
        for sock in (self._sock, *self._passed):
            sock.close()


def _sockets_in(ancillary: list[tuple[int, int, bytes]]) -> tuple[list[_socket.socket], bool]:
    """Return the sockets that came along, and whether there was anything else, which is closed."""
    found = array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS):
            found.frombytes(data[: len(data) - len(data) % _INTS])
    sockets, strange = [], False
    for fd in found:
        try:
            sock = _socket.socket(fileno=fd)
        except OSError:
            os.close(fd)
            strange = True
        else:
            sock.setblocking(False)
            sockets.append(sock)
    return sockets, strange


Serve = Callable[[Received, Request, bytes, "_socket.socket | None"], Any]
