"""What eventlet's hub lacks: being woken by other OS threads and by signal handlers, and an event that does so."""

from __future__ import annotations

import _socket
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from eventlet import hubs
from greenlet import getcurrent, greenlet

if TYPE_CHECKING:
    from flask_socketio_core.contracts.concurrency.green import GreenMode
    from flask_socketio_core.contracts.concurrency.jobs import Job


class WakeUp:
    """Run callbacks on a hub that sleeps in its poll: eventlet's own timers do not wake it from outside.

    :param hub: eventlet's hub of this OS thread.
    """

    def __init__(self, hub: Any) -> None:
        self.hub = hub
        self._callbacks: deque[Job] = deque()
        self._reader, self._writer = _socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._listener = hub.add(hub.READ, self._reader.fileno(), self._on_readable, ignore, None)

    def call(self, callback: Job) -> None:
        """Run a callback on the hub; callable from everywhere, also from a signal handler."""
        self._callbacks.append(callback)
        try:
            self._writer.send(b"\0")
        except BlockingIOError:
            pass  # it has been woken more than enough
        except OSError:
            pass  # closed: there is no hub any more

    def stop(self) -> None:
        """Watch nothing any more, and give the descriptors back; on the hub's thread."""
        self.hub.remove(self._listener)
        self.close()

    def close(self) -> None:
        """Give the descriptors back, without touching the hub's poll set: for a forked child."""
        self._reader.close()
        self._writer.close()

    def _on_readable(self, *_: object) -> None:
        try:
            self._reader.recv(4096)
        except BlockingIOError:
            pass
        while self._callbacks:
            self.hub.schedule_call_global(0, self._callbacks.popleft())


class GreenEvent:
    """An event whose ``set`` may be called from any OS thread and on the hub."""

    def __init__(self, mode: GreenMode) -> None:
        self._mode = mode
        self._is_set = False
        self._waiting: list[greenlet] = []

    def is_set(self) -> bool:
        """Return whether it is set."""
        return self._is_set

    def set(self) -> None:
        """Let everybody through who waits."""
        self._is_set = True
        if self._waiting:
            self._mode.call_soon(self._wake)

    def clear(self) -> None:
        """Let nobody through any more."""
        self._is_set = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, at most so many seconds, and return whether it was."""
        if self.is_set():
            return True
        self._mode.settle()
        hub = hubs.get_hub()
        current = getcurrent()
        self._waiting.append(current)
        timer = None
        try:
            if self.is_set():  # another OS thread was faster, and has seen nobody waiting
                return True
            if timeout is not None:
                timer = hub.schedule_call_global(max(timeout, 0), current.switch)
            hub.switch()
            return self.is_set()
        finally:
            if timer is not None:
                timer.cancel()
            if current in self._waiting:
                self._waiting.remove(current)

    def _wake(self) -> None:
        # Once round: who waits again right away is not woken again. Who gives up meanwhile is not in the list any more.
        for _ in range(len(self._waiting)):
            if self._waiting:
                self._waiting.pop(0).switch()


def ignore(*_: object) -> None:
    """Do nothing."""


def start_watch(hub: Any, fd: int, callback: Callable[..., None]) -> Job:
    """Call back on the hub whenever a descriptor is readable; return what stops that.

    A listener that stays, where :func:`eventlet.hubs.trampoline` would add and remove one for every event.
    """
    listener = hub.add(hub.READ, fd, callback, ignore, None)

    def stop() -> None:
        hub.remove(listener)

    return stop
