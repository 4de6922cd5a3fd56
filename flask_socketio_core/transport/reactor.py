"""The reactor: every connection that is ours alone in one epoll set, such as detached WebSockets.

An async mode answers one question only: "call me when this set is readable". No greenlet, thread, timer or queue per
client. Three rules:

- nothing that happens to one connection reaches another, or the loop: errors end that connection only;
- the loop never blocks: no contended lock, no log handler, no user code;
- only the loop closes descriptors. Another task shuts a connection down, the loop sees its end and closes it. So a
  descriptor number cannot be used again while somebody still reads from the old connection; writers are kept out by
  the session's lock.

After a fork the child drops its copies without shutting anything down: the connections are the parent's.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from ..common.reasons import Reason
from ..contracts.fork import register_at_fork
from ..errors import ProtocolError
from ..websocket_protocol.deflate import DeflatedFrameReader
from ..websocket_protocol.frames import BINARY, CLOSE, PING, FrameReader, close_frame, pong_frame
from .packets import Outgoing

if TYPE_CHECKING:
    import _socket

    from ..contracts import AsyncMode, Handle, Lock
    from ..websocket_protocol.deflate import Deflate

EPOLLIN = 0x001
EPOLLOUT = 0x004
MAX_EVENTS = 512
"""Most connections served before the loop's other work gets its turn."""


class Watched(Protocol):
    """What is in the set. All but :attr:`fd` is for the loop's task only."""

    what: str
    """What it is, for a message."""

    fd: int
    """Its descriptor; -1 when it was closed."""

    def on_readable(self) -> None:
        """Read once, or find out that the other end is gone."""

    def on_writable(self) -> None:
        """Write what waits."""

    def on_more(self) -> None:
        """Do what :meth:`Reactor.come_again` was called for."""

    def end(self) -> None:
        """End, because of an error or with the server, and close the descriptor."""

    def forget(self) -> None:
        """Close the descriptor and nothing else; in a forked child, what it leads to is the parent's."""


class Target(Protocol):
    """Who gets a connection's messages: a session, or an upgrade that is being tried."""

    lock: Lock
    sid: str

    @property
    def has_waiting(self) -> bool:
        """Whether something waits to be written."""

    allowance: int
    """So many packets may still come, control frames included, until :meth:`overdrawn` is to be called."""

    def overdrawn(self) -> None:
        """Learn that :attr:`allowance` is negative."""

    def receive(self, packet: str | bytes) -> None:
        """Take one Engine.IO packet.

        :raises ProtocolError: if the peer broke the protocol.
        """

    def violate(self, error: ProtocolError) -> None:
        """End because the peer broke the protocol."""

    def lost(self, reason: str) -> None:
        """Learn that the connection is gone."""

    def send(self, outgoing: Outgoing, volatile: bool = ...) -> bool:
        """Send one packet."""

    def flush(self) -> bool:
        """Write what waits; ``True`` if nothing waits any more."""


class _RawFrames(Outgoing):
    """A WebSocket control frame, which is no Engine.IO packet."""

    __slots__ = ()

    def __init__(self, frames: bytes) -> None:
        super().__init__(())
        self.frames = self.deflated = frames


class DetachedConnection:
    """A detached WebSocket, as a direct transport. Guarded by its target's lock where it says so."""

    __slots__ = (
        "_comes_again",
        "_input",
        "_reactor",
        "_sock",
        "closing",
        "deflate",
        "fd",
        "reader",
        "target",
        "write",
    )

    name: str = "websocket"
    what: str = "a WebSocket connection"

    def __init__(
        self, reactor: Reactor, sock: _socket.socket, max_message_bytes: int, deflate: Deflate | None
    ) -> None:
        self._reactor = reactor
        self._sock = sock
        self.fd = sock.fileno()
        self.reader = (FrameReader if deflate is None else DeflatedFrameReader)(max_message_bytes)
        self.deflate = deflate
        self.write: Callable[[bytes], int] | None = sock.send
        self.closing = False
        self._input = EPOLLIN  # 0 while it is held
        self._comes_again = False  # whether the loop is to take frames that were read and not yet taken
        self.target: Target | None = None

    def start(self, target: Target, first_bytes: bytes = b"") -> None:
        """Take frames from now on, beginning with bytes that were read before.

        :raises OSError: if it cannot be served, because there is no descriptor left; call :meth:`abandon` then.
        """
        self.target = target
        if first_bytes:
            self._take(target, first_bytes)
            target = self.target  # an upgrade hands the connection over
        with target.lock:
            closing = self.closing
            if not closing:  # what the handlers of the first messages sent may wait already
                self._reactor.add(self, self._interest(target))
                self._look()
        if closing:
            self.finish()
        else:
            self._reactor.watch()

    def abandon(self) -> None:
        """End a connection that could not be started."""
        target = self.target
        if target is None:
            self.forget()
        else:
            self._lost(target, Reason.TRANSPORT_ERROR)

    def write_head(self, head: bytes) -> None:
        """Write the 101 response, before anything else."""
        try:
            self._sock.send(head)
        except OSError:
            pass  # the peer is gone already; the loop sees that, too

    def answer(self, outgoing: Outgoing) -> bool:
        """Send one small packet while an upgrade is tried; the loop's task only."""
        target = self.target
        assert target is not None
        with target.lock:
            if self.closing or self.fd < 0:
                return False
            try:
                return self._sock.send(outgoing.frames) == len(outgoing.frames)
            except OSError:
                return False

    def wake(self) -> None:
        """Ask to be told when the socket takes more; the target's lock is held."""
        if self.fd >= 0 and not self.closing:
            self._reactor.wait_for(self.fd, self._input | EPOLLOUT)

    def hold(self) -> None:
        """Leave what the client sends in the socket; the target's lock is held."""
        self._input = 0
        self._look()

    def release(self) -> None:
        """Read on; the target's lock is held."""
        self._input = EPOLLIN
        self._look()

    def _look(self) -> None:
        target = self.target
        if self.fd >= 0 and not self.closing and target is not None:
            self._reactor.wait_for(self.fd, self._interest(target))
            if self._input and self.reader.more and not self._comes_again:
                self._comes_again = True  # before: the loop may be there at once
                if not self._reactor.come_again(self):
                    self._comes_again = False

    def _interest(self, target: Target) -> int:
        return self._input | EPOLLOUT if target.has_waiting else self._input

    def close(self, code: int) -> None:
        """Shut the connection down; the loop closes it."""
        target = self.target
        assert target is not None  # set before anybody knows of the session, or else of the upgrade
        with target.lock:
            if self.closing or self.fd < 0:
                return
            self.closing = True
            try:
                if code and not target.has_waiting:  # or it would be read as part of a frame that was begun
                    self._sock.send(close_frame(code))
                self._sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # the peer was faster
            self._reactor.wait_for(self.fd, EPOLLIN)

    def on_readable(self) -> None:
        """Read once; the loop's task only."""
        target = self.target
        assert target is not None
        if self.closing:
            self.finish()
            return
        more = self.reader.more
        if more and self._input:
            self._take(target, b"")
            return
        try:
            # Nothing is read behind frames that must not be taken now, but a broken connection is noticed.
            data = self._sock.recv(1, socket.MSG_PEEK) if more else self._sock.recv(self.reader.wanted)
        except BlockingIOError:
            return
        except OSError:
            self._lost(target, Reason.TRANSPORT_ERROR)
            return
        if more:
            return
        if data:
            self._take(target, data)
        else:
            self._lost(target, Reason.TRANSPORT_CLOSE)

    def on_writable(self) -> None:
        """Write what waits; the loop's task only."""
        target = self.target
        assert target is not None
        if target.flush():
            with target.lock:
                if not target.has_waiting:
                    self._look()

    def on_more(self) -> None:
        """Take frames that were read before, also of a client that reads nothing itself; the loop's task only."""
        self._comes_again = (
            False  # first: who changes what is asked next has us called again, or is seen here
        )
        target = self.target
        assert target is not None
        if self.reader.more and self._input and not self.closing:
            self._take(target, b"")

    def _take(self, target: Target, data: bytes) -> None:
        reader = self.reader
        found = reader.feed(data)
        try:
            for opcode, value in found:
                if opcode <= BINARY:  # data, not control (RFC 6455, section 5.2)
                    target.receive(value)
                    target = self.target or target  # an upgrade hands the connection over
                else:
                    self._control(target, opcode, value)
                if self.closing:
                    return
            if reader.error is not None:
                raise reader.error
            target.allowance = allowance = target.allowance - len(found)
            if allowance < 0:
                target.overdrawn()
            if reader.more:
                with target.lock:
                    self._look()
        except ProtocolError as error:
            self._reactor.report_violation(target, error)
            target.violate(error)

    def _control(self, target: Target, opcode: int, value: Any) -> None:
        if opcode == PING:
            target.send(_RawFrames(pong_frame(value)))
        elif opcode == CLOSE:
            # The code is echoed, as RFC 6455, section 5.5.1 asks.
            code = int.from_bytes(value[:2], "big") if value else 1000
            self.close(code)
            target.lost(Reason.TRANSPORT_CLOSE)

    def _lost(self, target: Target, reason: str) -> None:
        self.finish()
        target.lost(reason)

    def finish(self) -> None:
        """Close the descriptor; the loop's task only, or when the loop does not know it (any more)."""
        target = self.target
        assert target is not None
        with target.lock:
            if self.fd < 0:
                return
            self.closing = True
            self.write = None
            self._reactor.remove(self.fd)
            self.fd = -1
            self._sock.close()

    def end(self) -> None:
        """Close the descriptor, and let the session know."""
        self.finish()
        if self.target is not None:
            self.target.lost(Reason.TRANSPORT_ERROR)

    def forget(self) -> None:
        """Close the descriptor and nothing else; in a forked child, the connection is the parent's."""
        self.fd = -1
        self._sock.close()


class Reactor:
    """The one epoll set of a server; made at the first connection, and anew after a fork.

    :param mode: tells when the set is readable.
    :param report: logs an unexpected error without blocking.
    """

    def __init__(self, mode: AsyncMode, report: Callable[[BaseException, str], None]) -> None:
        self._mode = mode
        self._report = report
        self._lock = mode.create_lock()
        self._poll: Any = None  # select.epoll, as the mode has it before patching
        self._bell = -1  # a descriptor in it that can always be written to, which wakes the loop
        self._again: deque[Watched] = deque()
        self._watch: Handle | None = None
        self._watched = False
        self._connections: dict[int, Watched] = {}
        register_at_fork(after_in_child=self.forget)

    def __len__(self) -> int:
        return len(self._connections)

    def open(
        self, sock: _socket.socket, max_message_bytes: int, deflate: Deflate | None = None
    ) -> DetachedConnection:
        """Wrap a detached socket. Nothing is read before :meth:`DetachedConnection.start`.

        :param deflate: makes the frames if compression was agreed on.
        """
        return DetachedConnection(self, sock, max_message_bytes, deflate)

    def add(self, connection: Watched, events: int) -> None:
        """Serve a connection from now on; its lock is held if it has one.

        :param events: what to be told of, see :meth:`wait_for`.
        """
        with self._lock:
            if self._poll is None:
                self._open_poll()
            if connection.fd < 0:
                return
            self._poll.register(connection.fd, events)
            self._connections[connection.fd] = connection

    def _open_poll(self) -> None:
        bell = os.eventfd(0)
        try:
            poll = self._mode.original("select", "epoll")()
        except BaseException:
            os.close(bell)
            raise
        poll.register(bell, 0)
        self._bell, self._poll = bell, poll

    def watch(self) -> None:
        """Begin to serve, unless that was begun; no lock is held.

        :raises OSError: if that cannot be. All connections are closed then, for nobody would ever read from them.
        """
        with self._lock:
            poll = self._poll
            if self._watched or poll is None:
                return
            self._watched = True
        try:
            watch = self._mode.watch(poll.fileno(), self._drain)
        except BaseException:
            self.close()
            raise
        self._watch = watch
        if self._poll is not poll:  # the server has ended meanwhile
            watch.cancel()

    def wait_for(self, fd: int, events: int) -> None:
        """Be told of readability, of writability, or of both; the connection's lock is held.

        :param events: EPOLLIN, EPOLLOUT, both, or 0 for neither; the end of the connection is told in any case.
        """
        if self._poll is not None and fd in self._connections:
            self._poll.modify(fd, events)

    def come_again(self, connection: Watched) -> bool:
        """Have the loop take what it has read of a connection, whose lock is held; ``False`` if it does not know it."""
        if self._poll is None or connection.fd not in self._connections:
            return False
        self._again.append(connection)
        self._poll.modify(self._bell, EPOLLOUT)
        return True

    def remove(self, fd: int) -> None:
        """Forget a connection; its lock is held and its descriptor still open."""
        if self._connections.pop(fd, None) is not None and self._poll is not None:
            self._poll.unregister(fd)

    def report_violation(self, target: Target, error: ProtocolError) -> None:
        """Log what a peer did wrong."""
        self._report(error, f"the WebSocket of session {target.sid}")

    def _drain(self) -> None:
        poll, connections = self._poll, self._connections
        if poll is None:
            return  # the server has ended as this turn began
        for fd, events in poll.poll(0, MAX_EVENTS):
            connection = connections.get(fd)
            if connection is None:
                if fd == self._bell:
                    self._take_more()
                continue
            try:
                if events & EPOLLOUT:
                    connection.on_writable()
                if events & ~EPOLLOUT:
                    connection.on_readable()
            except Exception as error:  # noqa: BLE001  # one connection's fault must not deafen the others
                self._fail(connection, error)

    def _take_more(self) -> None:
        with self._lock:
            if self._poll is None:
                return  # the server has ended meanwhile
            self._poll.modify(
                self._bell, 0
            )  # before anything is taken: what is added meanwhile sets it again
        for _ in range(len(self._again)):
            try:
                connection = self._again.popleft()
            except IndexError:
                return  # likewise
            try:
                connection.on_more()
            except Exception as error:  # noqa: BLE001  # as above
                self._fail(connection, error)

    def _fail(self, connection: Watched, error: Exception) -> None:
        self._report(error, connection.what)
        connection.end()

    def close(self) -> None:
        """Close every connection and the set."""
        with self._lock:
            watch, self._watch = self._watch, None
            self._watched = False
        if watch is not None:
            watch.cancel()
        for connection in list(self._connections.values()):
            connection.end()
        with self._lock:
            poll, self._poll = self._poll, None
        self._close_poll(poll)

    def _close_poll(self, poll: Any) -> None:
        self._again.clear()
        if poll is not None:
            poll.close()
            os.close(self._bell)

    def forget(self) -> None:
        """Drop everything in a forked child: neither read, nor unregister, nor shut down (the parent does)."""
        connections, self._connections = self._connections, {}
        poll, self._poll = self._poll, None
        watch, self._watch = self._watch, None
        self._watched = False
        self._lock = self._mode.create_lock()
        self._close_poll(poll)
        for connection in connections.values():
            connection.forget()
        if watch is not None:
            watch.cancel()
