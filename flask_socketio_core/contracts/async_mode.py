"""The seam of concurrency: what an async mode promises."""

from __future__ import annotations

import atexit
import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from queue import Empty, Full
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from ..common import descriptor_rules as rules
from .verdict import OK, PART, Probe, Verdict, always_usable

if TYPE_CHECKING:
    from types import TracebackType

    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment


__all__ = [
    "AsyncCapabilities",
    "AsyncMode",
    "AsyncModeInfo",
    "Event",
    "Handle",
    "Listener",
    "Lock",
    "ReadWaiter",
    "ServeOptions",
    "Task",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncModeInfo:
    """Describe one async mode: a concurrency model together with its web server.

    :param name: what ``async_mode=`` is compared with.
    :param priority: the highest usable one wins. Bands: 100 eventlet, 90 gevent under uWSGI, 80 gevent, 0 threading.
    :param load: imports the mode and returns its class; called only when the mode was selected.
    :param requires: PEP 508 requirements, checked against installed distributions without importing them.
    :param probe: looks at the process (:class:`~flask_socketio_core.contracts.process.ProcessFacts`), must not import
        anything heavy.
    :param install: the command that installs what is missing.
    :param summary: a few words for the table.
    :param patch: import path (``"package.module:function"``) of what monkey-patches the standard library for this mode,
        or ``None``. ``flask socketio run`` calls it, without arguments, before anything else is imported; so its
        module must import neither Flask nor this package.
    """

    name: str
    priority: int
    load: Callable[[], type[AsyncMode]]
    requires: tuple[str, ...] = ()
    probe: Probe = always_usable
    install: str = ""
    summary: str = ""
    patch: str | None = None

    def __post_init__(self) -> None:
        rules.check(self, **PART, priority=rules.whole, probe=rules.function, patch=rules.import_path)


class Lock(Protocol):
    """What :class:`threading.Lock` offers; what happens while one waits for it is said where it is made."""

    def __enter__(self) -> bool: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...
    def acquire(self, blocking: bool = ..., timeout: float = ...) -> bool: ...
    def release(self) -> None: ...


class Event(Protocol):
    """What :class:`threading.Event` offers; ``wait`` yields to other tasks of this mode."""

    def set(self) -> None: ...
    def clear(self) -> None: ...
    def is_set(self) -> bool: ...
    def wait(self, timeout: float | None = ...) -> bool: ...


class ReadWaiter(Protocol):
    """Waits for one descriptor, for the task that made it."""

    def wait(self) -> None:
        """Return when there is something to read; other tasks run meanwhile."""

    def close(self) -> None:
        """Wait no more: before the descriptor is closed, and in a forked child."""


class Handle(Protocol):
    """Something that was started and can be stopped once; a second ``cancel`` does nothing."""

    def cancel(self) -> None: ...


class Task(Protocol):
    """A background task, as :class:`threading.Thread` shows it.

    ``name`` is for people. ``daemon`` says that the end of the process does not wait for it: ``True`` for every task.
    """

    name: str

    @property
    def daemon(self) -> bool: ...
    def join(self, timeout: float | None = ...) -> None: ...
    def is_alive(self) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncCapabilities:
    """What a mode is able to do, so that nobody asks for its name.

    :param green: tasks are greenlets in one OS thread; blocking calls block them all unless the library is patched.
    :param tls: :meth:`AsyncMode.serve` can serve TLS.
    :param watches: :meth:`AsyncMode.watch` works here (there is an epoll or kqueue to watch).
    :param takes_listener: :meth:`AsyncMode.serve` accepts from ``ServeOptions.listener``. Without it there are no
        workers of ``flask socketio run --workers``.
    """

    green: bool
    tls: bool = True
    watches: bool = True
    takes_listener: bool = False

    def __post_init__(self) -> None:
        answers = dict.fromkeys(("green", "tls", "watches", "takes_listener"), rules.yes_or_no)
        rules.check(self, **answers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """A socket that listens already, from which other processes accept, too.

    So a connection that was announced may be gone: ``accept`` must never block the server. At its end a server closes
    its descriptor and leaves the socket to the others, that is without ``shutdown()``. It accepts nothing more from
    then on, and connections that it has accepted it serves, those that have not sent a request yet as well.

    :param fd: the descriptor, non-blocking; :meth:`AsyncMode.serve` closes it.
    :param on_serving: called once, when connections are accepted; returns at once.
    """

    fd: int
    on_serving: Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """Options of :meth:`AsyncMode.serve`, one meaning in every mode.

    :param debug: Flask's debug flag; the debugger is already wrapped around the app by the caller where needed.
    :param log_output: log each request.
    :param log_asked: the user asked for that; otherwise it comes with ``debug``.
    :param use_reloader: restart when a source file changes; the caller runs the reloader for modes without their own.
    :param reloader_options: passed on to Werkzeug's reloader.
    :param allow_unsafe_werkzeug: serve with Werkzeug's server although this looks like production.
    :param tls: keyword arguments for TLS as the user gave them: ``certfile``, ``keyfile``, ``ssl_context`` and so on.
    :param server: further keyword arguments, passed to the web server as they are.
    :param listener: what to accept from, instead of binding the host and port; given only to modes with the capability
        ``takes_listener``, and never with ``use_reloader``.
    """

    debug: bool = False
    log_output: bool = False
    log_asked: bool = False
    use_reloader: bool = False
    reloader_options: Mapping[str, Any] = field(default_factory=dict)
    allow_unsafe_werkzeug: bool = False
    tls: Mapping[str, Any] = field(default_factory=dict)
    server: Mapping[str, Any] = field(default_factory=dict)
    listener: Listener | None = None


class _TokenLock:
    """A lock made of a queue with one token: waiting for it lets other tasks run in every mode."""

    def __init__(self, tokens: Any) -> None:
        self._tokens = tokens
        tokens.put(None)

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        try:
            self._tokens.get(blocking, timeout if timeout >= 0 else None)
        except Empty:
            return False
        return True

    def release(self) -> None:
        try:
            self._tokens.put_nowait(None)
        except Full:
            raise RuntimeError("release of a lock that nobody has") from None

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class _AtExit:
    """A function that the interpreter calls at its end."""

    def __init__(self, callback: Callable[[], object]) -> None:
        self._callback = callback
        atexit.register(callback)

    def cancel(self) -> None:
        """Do not call it after all."""
        atexit.unregister(self._callback)


class AsyncMode(ABC):
    """A concurrency model together with its web server.

    One instance per ``SocketIO`` object. All methods but :meth:`serve`, :meth:`sleep` and the waiting methods of what
    is created here return at once. Every callback and job given to a mode may raise anything: the mode logs it and
    goes on.
    """

    name: ClassVar[str]
    """That of its descriptor."""

    capabilities: ClassVar[AsyncCapabilities]

    on_saturated: Callable[[], object] | None = None
    """Set by the owner; called in a task that may block, when ``max_workers`` jobs are busy and one has to wait, and
    again only after the pool was idle."""

    def __init__(self, *, max_workers: int = 1000) -> None:
        """Prepare, but start nothing.

        :param max_workers: most jobs of :meth:`spawn` that run at the same time; more wait their turn, and the first
            time that happens is logged.
        """
        self.max_workers = max_workers

    # -- running code --------------------------------------------------------------------------------------------

    @abstractmethod
    def spawn(self, job: Callable[[], object]) -> None:
        """Run a short job soon on a pooled worker, in a fresh :class:`contextvars.Context`.

        Never blocks and never runs the job before returning. Thread-safe: may be called from any OS thread, from the
        hub and from callbacks of :meth:`watch` and :meth:`call_later`. Jobs start in the order given. A job that ended
        is let go, with everything that it held.
        """

    @abstractmethod
    def start_task(self, target: Callable[..., object], *args: Any, **kwargs: Any) -> Task:
        """Start a long-running task of its own (never from the pool) and return it.

        Source: ``SocketIO.start_background_task`` of Flask-SocketIO.
        """

    @abstractmethod
    def sleep(self, seconds: float) -> None:
        """Let other tasks run for at least that many seconds; 0 only yields."""

    @abstractmethod
    def create_lock(self) -> Lock:
        """Return a native lock that never yields to other greenlets; held only for a few instructions.

        It must never call the hub: it guards what callbacks of the hub and other OS threads change, too.
        """

    def create_yielding_lock(self) -> Lock:
        """Return a lock that may be held for long, as while a broker is asked: who waits for it lets other tasks run.

        For tasks and jobs; a callback of the hub cannot wait for it. What this returns works in every mode; a mode
        whose library has such a lock may return that.
        """
        return _TokenLock(self.create_queue(1))

    @abstractmethod
    def create_event(self) -> Event:
        """Return an event whose ``wait`` lets other tasks run; ``set`` may be called from any OS thread and the hub."""

    @abstractmethod
    def create_queue(self, maxsize: int = 0) -> Any:
        """Return a queue with the interface of :class:`queue.Queue` for tasks of this mode."""

    @abstractmethod
    def call_later(self, delay_s: float, callback: Callable[[], object]) -> Handle:
        """Call back once, after so many seconds, from the hub or a timer thread. The callback must not block."""

    @abstractmethod
    def watch(self, fd: int, callback: Callable[[], object]) -> Handle:
        """Call back whenever the descriptor is readable (level-triggered), until cancelled.

        The callback must not block; it runs on the hub, in a greenlet or in a thread of its own, but never twice at
        the same time. ``fd`` is an epoll or kqueue descriptor of the engine. While it is quiet, watching it takes no
        processor time.

        :raises NotImplementedError: if ``capabilities.watches`` is ``False``.
        """

    def create_read_waiter(self, fd: int) -> ReadWaiter | None:
        """Return what waits until a descriptor can be read; ``None`` if nothing does it cheaper than ``selectors``.

        For a task that does nothing else. Called in that task.

        :param fd: a descriptor that epoll takes; it stays open until the waiter was closed.
        """
        return None

    def on_exit(self, callback: Callable[[], object]) -> Handle:
        """Call back once, in a task that may block for a few seconds, when this process is about to end.

        To be called in the process that serves, at its first request: a process that is forked later does not call
        back. Pending requests may keep a server from ending, so a mode that learns of the end earlier than the
        interpreter (a gunicorn worker was told to stop) calls back then.
        """
        return _AtExit(callback)

    def original(self, module: str, name: str) -> Any:
        """Return a standard-library attribute as it was before monkey patching (``original("select", "epoll")``)."""
        return getattr(importlib.import_module(module), name)

    def is_patched(self, module: str) -> bool:
        """Return whether blocking calls of that standard-library module yield to other tasks.

        A mode with OS threads answers ``True`` for every module.
        """
        return not self.capabilities.green

    def check_request(self, environ: WSGIEnvironment) -> Verdict:
        """Return whether the WSGI server that made this environ fits the mode; called for the first request only.

        With ``usable=False`` the reason names the server, the mode, and the line to add.
        """
        return OK

    # -- serving -------------------------------------------------------------------------------------------------

    @abstractmethod
    def serve(self, app: WSGIApplication, host: str, port: int, options: ServeOptions) -> None:
        """Serve until :meth:`stop` is called or the process is told to end; return when the socket is closed.

        Does not wait for requests that are still being served.

        :raises OSError: if it cannot listen there; the text, or what the web server has written, names the port.
            :class:`SystemExit` for a web server that ends the process instead.
        :raises TypeError: for an option in ``options.server`` that the web server does not know, with its name.
        """

    @abstractmethod
    def stop(self) -> None:
        """Make :meth:`serve` return soon. May be called from a handler, a view, another thread; returns at once.

        :raises RuntimeError: if :meth:`serve` is not running in this process.
        """

    def close(self) -> None:
        """End idle workers and timers. Later calls of :meth:`spawn` start what they need again."""
