"""A detached WebSocket: frames in, frames out, served by the reactor."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from ..common.reasons import Reason
from ..errors import ProtocolError
from ..websocket_protocol.deflate import DeflatedFrameReader
from ..websocket_protocol.frames import BINARY, CLOSE, PING, FrameReader, close_frame, pong_frame
from .packets import Outgoing
from .reactor import EPOLLIN, EPOLLOUT

if TYPE_CHECKING:
    import _socket

    from ..contracts import Lock
    from ..websocket_protocol.deflate import Deflate
    from .reactor import Reactor


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
    """A detached WebSocket, as a direct transport. Guarded by its target's lock where it says so.

    Nothing is read before :meth:`start`.

    :param reactor: serves it.
    :param sock: the raw, non-blocking socket.
    :param max_message_bytes: most bytes of a message.
    :param deflate: makes the frames if compression was agreed on.
    """

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
        self, reactor: Reactor, sock: _socket.socket, max_message_bytes: int, deflate: Deflate | None = None
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
                self._reactor.add(self, self._interest(target), websocket=True)
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
        # First: who changes what is asked next has us called again, or is seen here.
        self._comes_again = False
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
            self._reactor.report(error, f"the WebSocket of session {target.sid}")
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
