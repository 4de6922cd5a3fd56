"""What every mode has whose tasks are greenlets on one hub."""

from __future__ import annotations

import itertools
import logging
import sys
from _thread import interrupt_main
from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from greenlet import GreenletExit, getcurrent, greenlet

from ...errors import PartUnsuitable
from ..async_mode import AsyncCapabilities, AsyncMode
from ..fork import ProcessFlag
from ..verdict import Verdict
from .exit import ExitNotice
from .greenlets import GreenletPool
from .jobs import Job, describe, guarded, is_interrupt, log_failure, report_saturation
from .servers import name_server

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from ..async_mode import Event, Handle, Lock, ServeOptions, Task

__all__ = ["GreenMode", "GreenTask", "HubHandle"]


logger = logging.getLogger("flask_socketio_core.concurrency")


_numbers = itertools.count(1)


SIGNALS_S = 0.5
"""How often the hub is woken while a server runs, seconds."""


class GreenTask:
    """A greenlet of its own, as :class:`threading.Thread` would show it.

    :ivar name: what it is called in logs; may be changed.
    :ivar daemon: ``True``: the end of the process does not wait for a greenlet.
    """

    def __init__(self, call: Job, done: Event) -> None:
        self.name = f"Task-{next(_numbers)} ({describe(call)})"
        self.daemon = True
        self._call = call
        self._done = done

    def run(self) -> None:
        """Run to the end; in the greenlet."""
        try:
            self._call()
        except GreenletExit:
            raise  # somebody has killed it
        except SystemExit:
            pass  # as in a thread: the task ends, not the process
        except BaseException as error:  # nobody waits for its result; a library's Timeout is none, say
            if is_interrupt(error):
                raise
            log_failure(error, self.name)
        finally:
            self._done.set()

    def join(self, timeout: float | None = None) -> None:
        """Wait until the task ended, at most so many seconds."""
        self._done.wait(timeout)

    def is_alive(self) -> bool:
        """Return whether the task has not ended yet."""
        return not self._done.is_set()


class GreenMode(AsyncMode):
    """A mode whose tasks are greenlets on the hub of one OS thread, its *home*.

    Other OS threads may spawn jobs, set events and start tasks; what they ask for happens at home. Home is where the
    mode was made, until a server or a request shows up somewhere else.
    """

    capabilities: ClassVar[AsyncCapabilities] = AsyncCapabilities(
        green=True, watches=sys.platform.startswith("linux")
    )
    library: ClassVar[str]
    """The library's name, for messages."""
    patch_line: ClassVar[str]
    """What a program has as its first line, so that the standard library yields."""

    def __init__(self, *, max_workers: int = 1000) -> None:
        super().__init__(max_workers=max_workers)
        self._ident: Callable[[], int] = self.original("_thread", "get_ident")
        self._allocate_lock: Callable[[], Lock] = self.original("_thread", "allocate_lock")
        self._home = self._ident()
        self._hub: Any = None  # the library's hub object
        self._early: deque[Job] = deque()
        self._warned = False
        self._pool = self._make_pool()

    # what a library brings

    @abstractmethod
    def _reachable_hub(self) -> Any:
        """Return the hub of this OS thread, made if need be, and ready for :meth:`_soon_from_outside`."""

    @abstractmethod
    def _hub_greenlet(self) -> greenlet:
        """Return the greenlet that runs the home's hub."""

    @abstractmethod
    def _soon(self, callback: Job) -> None:
        """Run a callback on the home's hub; called at home."""

    @abstractmethod
    def _soon_from_outside(self, callback: Job) -> None:
        """Run a callback on the home's hub; called from another OS thread."""

    @abstractmethod
    def _start_greenlet(self, run: Job) -> None:
        """Run something in a greenlet of its own; called at home."""

    @abstractmethod
    def drop_in_child(self, stop: Job) -> None:
        """Stop something of the hub in a forked child, where it must not touch what the parent goes on using."""

    # running code

    @property
    def at_home(self) -> bool:
        """Whether this is the OS thread whose hub runs the tasks."""
        return bool(self._ident() == self._home)

    @property
    def is_settled(self) -> bool:
        """Whether the home's hub is known."""
        return self._hub is not None

    def hub(self) -> Any:
        """Return the home's hub; called at home."""
        if self._hub is None:
            self._settle()
        return self._hub

    def settle(self) -> None:
        """Take note of the hub, if this is home: other OS threads can reach it from then on."""
        if self._hub is None and self.at_home:
            self._settle()

    def move_in(self) -> None:
        """Make this OS thread the home: here the server's requests run."""
        if not self.at_home or self._hub is None:
            self._home = self._ident()
            self._settle()

    def call_soon(self, callback: Job) -> None:
        """Run a callback on the hub soon; callable from every OS thread and from signal handlers."""
        if self.at_home:
            self.hub()
            self._soon(callback)
        else:
            self._call_from_outside(callback)

    def spawn(self, job: Job) -> None:
        self._pool.submit(job)

    def start_task(self, target: Callable[..., object], *args: Any, **kwargs: Any) -> Task:
        task = GreenTask(partial(target, *args, **kwargs), self.create_event())
        if self.at_home:
            self.hub()
            self._start_greenlet(task.run)
        else:
            self.call_soon(partial(self._start_greenlet, task.run))
        return task

    def create_lock(self) -> Lock:
        return self._allocate_lock()

    def on_exit(self, callback: Callable[[], object]) -> Handle:
        return ExitNotice(self, callback)

    def look_for_signals(self, serves: Callable[[], bool]) -> None:
        """Wake the hub now and then, as long as a server runs; called at home.

        A signal that comes just before the hub waits, or to another thread, would wait with it: in an idle server for
        ever.
        """
        if serves():
            self.call_later(SIGNALS_S, partial(self.look_for_signals, serves))

    def interrupter(self) -> Callable[[], object]:
        """Return what raises ``KeyboardInterrupt`` in this greenlet, for the reloader."""
        if not self.is_patched("threading"):
            return interrupt_main
        return partial(self.call_soon, partial(getcurrent().throw, KeyboardInterrupt))

    def close(self) -> None:
        if self.at_home:
            self._pool.close()

    def _make_pool(self) -> GreenletPool:
        return GreenletPool(
            self._hub_greenlet,
            self.call_soon,
            partial(self.call_later, 0),
            self.max_workers,
            self._on_saturated,
        )

    def _settle(self) -> None:
        self._hub = self._reachable_hub()
        self._flush_early()

    def _flush_early(self) -> None:
        while self._early:
            self._soon(self._early.popleft())

    def _call_from_outside(self, callback: Job) -> None:
        if self._hub is None:
            self._early.append(callback)  # nobody has run anything at home yet
            if self.is_settled:  # somebody has, just now
                self._soon_from_outside(self._flush_early)
        else:
            self._soon_from_outside(callback)

    def _guarded(self, callback: Job) -> Callable[..., None]:
        # The hub must not block, and a log handler may: so the log is written by a worker.
        return guarded(callback, lambda error, what: self.spawn(partial(log_failure, error, what)))

    def _on_saturated(self) -> None:
        self.start_task(report_saturation, self)

    # does it fit?

    def check_request(self, environ: WSGIEnvironment) -> Verdict:
        server = name_server(environ)
        if not self._serves_here():
            # Outside of the hub's greenlets a request that waits runs the hub of its own OS thread: right for a test,
            # which waits at home. In other threads nobody runs the home's hub, and nothing would ever happen.
            if server is None and self.at_home:
                return Verdict(usable=True, reason="no sign of a web server, as in a test")
            return Verdict(
                usable=False,
                reason=f"async_mode={self.name!r} cannot work behind {server or 'this server'}, which does not run "
                f"requests in "
                f"{self.library}'s greenlets: {self._advice(environ)}",
            )
        self.move_in()
        self.warn_unless_patched()
        return Verdict(usable=True)

    def refuse_unpatched_tls(self, options: ServeOptions) -> None:
        """Refuse to serve TLS where the standard library's ssl blocks: the first handshake would stop everything.

        :raises PartUnsuitable: with the line to add.
        """
        if options.tls and not self.is_patched("socket"):
            raise PartUnsuitable(
                f"async_mode={self.name!r} can serve TLS only when {self.library} has patched the standard library; "
                f"put this at the very top of the main module, before all other imports:\n    {self.patch_line}"
            )

    def warn_unless_patched(self) -> None:
        """Say it, once, when blocking calls of the standard library stop every client."""
        if not self._warned and not self.is_patched("socket"):
            self._warned = True
            logger.warning("%s", self._unpatched())

    def _serves_here(self) -> bool:
        """Return whether the current greenlet belongs to a hub of the library."""
        current = getcurrent()
        return current.parent is not None and self._is_hub(current.parent)

    @abstractmethod
    def _is_hub(self, parent: greenlet) -> bool:
        """Return whether a greenlet runs a hub of the library."""

    @abstractmethod
    def _advice(self, environ: WSGIEnvironment) -> str:
        """Return the line that puts a request of this server into greenlets."""

    def _unpatched(self) -> str:
        return (
            f"async_mode={self.name!r}, but {self.library} has not patched the standard library: a handler that "
            f"waits for a socket, a lock or time.sleep stops every client; put this at the very top of the main "
            f"module, before all other imports:\n    {self.patch_line}"
        )


class HubHandle:
    """Something that lives on the hub: started and stopped at home, whichever thread asks for it.

    :param start: starts it and returns what stops it; called at home.
    """

    def __init__(self, mode: GreenMode, start: Callable[[], Job]) -> None:
        self._mode = mode
        self._start = start
        self._stop: Job | None = None
        self._here = ProcessFlag(is_set=True)
        self.cancelled = False
        if mode.at_home:
            self._begin()
        else:
            mode.call_soon(self._begin)

    def cancel(self) -> None:
        """Stop it, once."""
        if self.cancelled:
            return
        self.cancelled = True
        if not self._here.is_set():
            self._mode.drop_in_child(self._end)
        elif self._mode.at_home:
            self._end()
        else:
            self._mode.call_soon(self._end)

    def _begin(self) -> None:
        if not self.cancelled:
            self._stop = self._start()

    def _end(self) -> None:
        stop, self._stop = self._stop, None
        if stop is not None:
            stop()
