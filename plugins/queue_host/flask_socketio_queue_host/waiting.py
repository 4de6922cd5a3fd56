"""What a listener waits with until somebody has sent something: as the async mode does it best."""

from __future__ import annotations

import os
import selectors
from typing import TYPE_CHECKING, Any, Protocol

from flask_socketio_core.contracts.host.unix import close_copy

if TYPE_CHECKING:
    import _socket

    from flask_socketio_core.contracts import AsyncMode, Handle, ReadWaiter


class Waiting(Protocol):
    """Sockets that may have something to read. For one task; :meth:`drop` is for a forked child."""

    def add(self, sock: _socket.socket) -> None:
        """Look at a socket from now on."""

    def remove(self, sock: _socket.socket) -> None:
        """Look at it no more; it is still open."""

    def ready(self) -> list[int]:
        """Return the descriptors that can be read; after some time perhaps none."""

    def pause(self, seconds: float) -> None:
        """Let others run for a moment, in which what comes on the sockets that were ready last wakes up nobody."""

    def close(self) -> None:
        """Look at nothing any more."""

    def drop(self) -> None:
        """Close what a forked child has a copy of."""


def waiting(mode: AsyncMode, tick_s: float) -> Waiting:
    """Return what to wait with, in the task that will wait.

    :param tick_s: most seconds to wait.
    """
    if not hasattr(os, "eventfd"):
        return _Selecting(mode, tick_s)
    poll = mode.original("select", "epoll")()
    if not mode.capabilities.green:
        return _Blocking(poll, mode, tick_s)
    try:
        waiter = mode.create_read_waiter(poll.fileno())
    except BaseException:
        poll.close()
        raise
    if waiter is None:
        poll.close()
        return _Selecting(mode, tick_s)
    return _Polling(poll, waiter, mode, tick_s)


class _Selecting:
    """A selector of the standard library, which an async mode may have patched."""

    def __init__(self, mode: AsyncMode, tick_s: float) -> None:
        self._selector = selectors.DefaultSelector()
        self._mode = mode
        self._tick_s = tick_s

    def add(self, sock: _socket.socket) -> None:
        self._selector.register(sock, selectors.EVENT_READ)

    def remove(self, sock: _socket.socket) -> None:
        self._selector.unregister(sock)

    def ready(self) -> list[int]:
        return [key.fd for key, _ in self._selector.select(self._tick_s)]

    def pause(self, seconds: float) -> None:
        self._mode.sleep(seconds)

    def close(self) -> None:
        self._selector.close()

    def drop(self) -> None:
        close_copy(self._selector)


class _Blocking:
    """An epoll set that a thread waits for.

    :param poll: ``select.epoll`` as it is before patching.
    """

    def __init__(self, poll: Any, mode: AsyncMode, tick_s: float) -> None:
        self._poll = poll
        self._mode = mode
        self._tick_s = tick_s

    def add(self, sock: _socket.socket) -> None:
        self._poll.register(sock.fileno(), selectors.EVENT_READ)

    def remove(self, sock: _socket.socket) -> None:
        self._poll.unregister(sock.fileno())

    def ready(self) -> list[int]:
        return [fd for fd, _ in self._poll.poll(self._tick_s)]

    def pause(self, seconds: float) -> None:
        self._mode.sleep(seconds)

    def close(self) -> None:
        self._poll.close()

    def drop(self) -> None:
        self._poll.close()


class _Polling:
    """An epoll set that the mode waits for.

    :param poll: ``select.epoll`` as it is before patching.
    """

    def __init__(self, poll: Any, waiter: ReadWaiter, mode: AsyncMode, tick_s: float) -> None:
        self._poll = poll
        self._waiter = waiter
        self._mode = mode
        self._tick_s = tick_s
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)  # ends a wait in which nothing comes
        self._closed = False
        self._sockets: set[int] = set()
        self._found: list[int] = []
        poll.register(self._bell, selectors.EVENT_READ)
        self._timer: Handle = mode.call_later(tick_s, self._ring)

    def add(self, sock: _socket.socket) -> None:
        self._poll.register(sock.fileno(), selectors.EVENT_READ)
        self._sockets.add(sock.fileno())

    def remove(self, sock: _socket.socket) -> None:
        self._poll.unregister(sock.fileno())
        self._sockets.discard(sock.fileno())

    def ready(self) -> list[int]:
        self._waiter.wait()
        found = [fd for fd, _ in self._poll.poll(0)]
        if self._bell in found:
            found.remove(self._bell)
            os.eventfd_read(self._bell)
            self._timer = self._mode.call_later(self._tick_s, self._ring)
        self._found = found
        return found

    def pause(self, seconds: float) -> None:
        # The hub looks at the set meanwhile, and would wake up for what nobody asks for.
        quiet = [fd for fd in self._found if fd in self._sockets]
        for fd in quiet:
            self._poll.modify(fd, 0)
        self._mode.sleep(seconds)
        for fd in self._sockets.intersection(quiet):  # unless it was closed meanwhile
            self._poll.modify(fd, selectors.EVENT_READ)

    def _ring(self) -> None:
        if not self._closed:
            os.eventfd_write(self._bell, 1)

    def close(self) -> None:
        self._timer.cancel()
        self.drop()

    def drop(self) -> None:
        if not self._closed:
            self._closed = True
            self._sockets.clear()
            self._waiter.close()
            self._poll.close()
            os.close(self._bell)
