"""Watching descriptors and the clock, each in a thread of its own."""

from __future__ import annotations

import heapq
import itertools
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from flask_socketio_core.contracts.concurrency.jobs import Job, guarded, log_failure
from flask_socketio_core.contracts.fork import ProcessFlag, register_at_fork

if TYPE_CHECKING:
    from flask_socketio_core.contracts.concurrency.threads import ThreadPool

CANCEL_S = 1.0
"""How long cancelling waits for a callback that runs now, seconds; callbacks do not block."""

Callback = Callable[[], object]


class Watch:
    """Call back whenever a descriptor is readable, in a thread, until cancelled.

    :param fd: watched level-triggered.
    :param callback: never runs twice at the same time, and does not begin after :meth:`cancel` returned.
    :param pool: gets the jobs that callbacks submit; the watching thread runs the short ones itself.
    """

    def __init__(self, fd: int, callback: Callback, pool: ThreadPool) -> None:
        self._fd = fd
        self._pool = pool
        self._callback = guarded(callback, log_failure)
        self._here = ProcessFlag(is_set=True)
        self._stopped = False
        self._running = threading.Lock()
        self._wake, self._waker = socket.socketpair()
        self._thread: threading.Thread
        self._start_thread()

    def cancel(self) -> None:
        """Stop watching. Waits for a callback that runs now, except in that callback itself."""
        if self._stopped:
            return
        self._stopped = True
        self._waker.close()  # the thread reads end-of-file and ends
        if not self._here.is_set():
            self._wake.close()  # in a forked child there is no thread
        elif threading.current_thread() is not self._thread and self._running.acquire(timeout=CANCEL_S):
            self._running.release()

    def _start_thread(self) -> None:
        self._thread = threading.Thread(target=self._run, name="socketio-reactor", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        poll.register(self._wake.fileno(), select.POLLIN)
        running, callback, pool = self._running, self._callback, self._pool
        take_over = self._start_thread
        while not self._stopped:
            poll.poll()
            with running, pool.helper():
                if not self._stopped:
                    callback()
            if not pool.help(take_over):
                return  # another thread watches now
        self._wake.close()


class Timer:
    """Something to be called once, later."""

    __slots__ = ("callback", "due_s", "number")

    def __init__(self, due_s: float, number: int, callback: Callback) -> None:
        self.due_s = due_s
        self.number = number
        self.callback: Callback | None = callback

    def __lt__(self, other: Timer) -> bool:
        return (self.due_s, self.number) < (other.due_s, other.number)

    def cancel(self) -> None:
        """Do not call back after all."""
        self.callback = None


class Clock:
    """Call back later, from one thread for all; it is there only while something is due."""

    def __init__(self) -> None:
        self._reset()
        register_at_fork(after_in_child=self._reset)  # its thread stays in the parent

    def _reset(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._timers: list[Timer] = []
        self._numbers = itertools.count()
        self._running = False

    def call_later(self, delay_s: float, callback: Callback) -> Timer:
        """Call back once, after so many seconds. The callback must not block."""
        timer = Timer(time.monotonic() + delay_s, next(self._numbers), callback)
        with self._changed:
            if not self._running:  # in this order: there may be no thread left
                threading.Thread(target=self._run, name="socketio-clock", daemon=True).start()
                self._running = True
            heapq.heappush(self._timers, timer)
            if self._timers[0] is timer:
                self._changed.notify()
        return timer

    def close(self) -> None:
        """Forget everything that is due."""
        with self._changed:
            self._timers.clear()
            self._changed.notify()

    def _run(self) -> None:
        while (callback := self._next()) is not None:
            callback()

    def _next(self) -> Job | None:
        """Wait for the next callback; ``None`` if nothing is due any more."""
        with self._changed:
            while self._timers:
                timer = self._timers[0]
                wait_s = timer.due_s - time.monotonic()
                if timer.callback is None or wait_s <= 0:
                    heapq.heappop(self._timers)
                    if timer.callback is not None:
                        return guarded(timer.callback, log_failure)
                else:
                    self._changed.wait(wait_s)
            self._running = False
            return None
