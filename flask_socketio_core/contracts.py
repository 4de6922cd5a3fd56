"""The three seams: what an async mode, a WebSocket provider and a message queue promise.

A plugin's hooks return the *descriptors* here (:class:`AsyncModeInfo`, :class:`WebSocketProviderInfo`,
:class:`QueueInfo`); they are data, cheap to make, and import nothing heavy. The class behind a descriptor is loaded
only when it was selected, by calling the descriptor's ``load``. A descriptor checks its fields when it is made: one of
another type or form raises :class:`~flask_socketio_core.errors.InvalidDescriptor`, which says what to write.
"""

from __future__ import annotations

import atexit
import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from . import descriptor_rules as rules

if TYPE_CHECKING:
    from types import TracebackType

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from .process import ProcessFacts

# --------------------------------------------------------------------------------------------------- descriptors


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a part can be used in this process, and why.

    :param usable: ``True`` if nothing speaks against it.
    :param reason: one short sentence for the table of ``flask socketio plugins``; with ``usable=False`` also what
        to do.
    """

    usable: bool
    reason: str = ""

    def __post_init__(self) -> None:
        rules.check(self, usable=rules.yes_or_no, reason=rules.text)


OK = Verdict(usable=True)

Probe = Callable[["ProcessFacts"], Verdict]


def always_usable(facts: ProcessFacts) -> Verdict:
    """Say that nothing in the process speaks against a part (the default probe)."""
    return OK


#: The rules for what all descriptors of parts have.
_PART: dict[str, rules.Rule] = {
    "name": rules.name,
    "load": rules.loader,
    "requires": rules.several(rules.requirement),
    "install": rules.text,
    "summary": rules.text,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncModeInfo:
    """Describe one async mode: a concurrency model together with its web server.

    :param name: what ``async_mode=`` is compared with.
    :param priority: the highest usable one wins. Bands: 100 eventlet, 90 gevent under uWSGI, 80 gevent, 0 threading.
    :param load: imports the mode and returns its class; called only when the mode was selected.
    :param requires: PEP 508 requirements, checked against installed distributions without importing them.
    :param probe: looks at the process (:class:`~flask_socketio_core.process.ProcessFacts`), must not import anything
        heavy.
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
        rules.check(self, **_PART, priority=rules.whole, probe=rules.function, patch=rules.import_path)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketProviderInfo:
    """Describe one WebSocket provider.

    :param name: what ``websocket_provider=`` is compared with.
    :param async_modes: names of the async modes it serves; empty for all.
    :param priority: the highest usable one that serves the selected mode wins. Of several usable ones, each request is
        given to the first whose :meth:`WebSocketProvider.detect` says yes.
    :param load: imports the provider and returns its class.
    :param requires: as in :class:`AsyncModeInfo`.
    :param probe: as in :class:`AsyncModeInfo`.
    :param install: the command that installs what is missing.
    :param summary: a few words for the table.
    """

    name: str
    priority: int
    load: Callable[[], type[WebSocketProvider]]
    async_modes: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    probe: Probe = always_usable
    install: str = ""
    summary: str = ""

    def __post_init__(self) -> None:
        modes = rules.several(rules.name)
        rules.check(self, **_PART, priority=rules.whole, probe=rules.function, async_modes=modes)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueCapabilities:
    """What a message queue guarantees, as named capabilities.

    :param ordered: messages of one publisher with one key arrive in the order of publishing.
    :param durable: a message accepted by :meth:`MessageQueue.publish` survives a restart of the broker.
    :param replay: a listener that lost its connection resumes where it stopped.
    :param max_message_bytes: largest message in bytes; ``None`` for no limit of its own.
    :param needs_patched: standard-library modules that a green mode must have patched, because the client library
        blocks in them; checked when the queue is to serve clients.
    """

    ordered: bool = True
    durable: bool = False
    replay: bool = False
    max_message_bytes: int | None = None
    needs_patched: tuple[str, ...] = ("socket",)

    def __post_init__(self) -> None:
        rules.check(
            self,
            ordered=rules.yes_or_no,
            durable=rules.yes_or_no,
            replay=rules.yes_or_no,
            max_message_bytes=rules.size,
            needs_patched=rules.several(rules.name),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueInfo:
    """Describe one message queue.

    :param name: short name for the table.
    :param schemes: URL schemes it claims, lower case, without ``://``. A scheme ending in ``+*`` claims a prefix
        (``kombu+*`` claims ``kombu+redis``). An exact scheme beats a prefix, a prefix beats a catch-all.
    :param load: imports the queue and returns its class.
    :param catch_all: also offer it every scheme that nobody claims and that ``claims`` accepts.
    :param claims: for a catch-all or a claimed prefix, say without a heavy import whether a scheme is usable, and why
        not; ``None`` if it does not know the scheme at all.
    :param requires: as in :class:`AsyncModeInfo`.
    :param install: the command that installs what is missing.
    :param summary: a few words for the table.
    """

    name: str
    schemes: tuple[str, ...]
    load: Callable[[], type[MessageQueue]]
    catch_all: bool = False
    claims: Callable[[str], Verdict | None] | None = None
    requires: tuple[str, ...] = ()
    install: str = ""
    summary: str = ""

    def __post_init__(self) -> None:
        schemes, claims = rules.several(rules.scheme), rules.optional(rules.function)
        rules.check(self, **_PART, schemes=schemes, catch_all=rules.yes_or_no, claims=claims)
        if not self.schemes and not self.catch_all:
            rules.refuse(self, "schemes=(): expected at least one URL scheme, or catch_all=True")
        if self.claims and not self.catch_all and not any(name.endswith("+*") for name in self.schemes):
            rules.refuse(self, "claims= is asked only with catch_all=True or for a scheme that ends in '+*'")


# ---------------------------------------------------------------------------------------------------- async mode


class Lock(Protocol):
    """A lock for a few instructions: it must never switch greenlets and never call the hub."""

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
    """

    green: bool
    tls: bool = True
    watches: bool = True

    def __post_init__(self) -> None:
        rules.check(self, green=rules.yes_or_no, tls=rules.yes_or_no, watches=rules.yes_or_no)


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
    """

    debug: bool = False
    log_output: bool = False
    log_asked: bool = False
    use_reloader: bool = False
    reloader_options: Mapping[str, Any] = field(default_factory=dict)
    allow_unsafe_werkzeug: bool = False
    tls: Mapping[str, Any] = field(default_factory=dict)
    server: Mapping[str, Any] = field(default_factory=dict)


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
        """Return a native lock that never yields to other greenlets; held only for a few instructions."""

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
        """Say whether blocking calls of that standard-library module yield to other tasks.

        A mode with OS threads answers ``True`` for every module.
        """
        return not self.capabilities.green

    def check_request(self, environ: WSGIEnvironment) -> Verdict:
        """Say whether the WSGI server that made this environ fits the mode; called for the first request only.

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


# -------------------------------------------------------------------------------------------- WebSocket provider


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketLocation:
    """Where a WSGI server keeps a connection that can be detached from it.

    :param fd: the server's descriptor of the connection, a plain TCP or Unix socket, never TLS.
    :param handshake_done: the 101 response has been written already, with no extension agreed on; otherwise the engine
        writes it.
    :param read_buffered: return (once, without blocking) the bytes that the server has read from the socket but not
        used yet; afterwards the server's buffer is at its end, so that it executes no pipelined request.
    :param forget: take the descriptor out of any event loop's own poll set, before it is replaced.
    """

    fd: int
    handshake_done: bool = False
    read_buffered: Callable[[], bytes] = lambda: b""
    forget: Callable[[], None] = lambda: None


class BlockingTransport(ABC):
    """An open WebSocket of a server that keeps its socket. One task reads, one task writes, any task closes."""

    on_control: Callable[[], object] | None = None
    """Set by the engine: called by :meth:`receive` for each control frame of the peer; may wait, if there are too many.
    A server that takes them by itself leaves it alone."""

    @abstractmethod
    def receive(self) -> str | bytes | None:
        """Wait for the next message; ``None`` when the peer is gone or :meth:`close` was called.

        Answers a ping and a close frame meanwhile, and takes no processor time while the peer is quiet.

        :raises ProtocolError: when the peer broke RFC 6455; the engine closes with the error's code.
        """

    @abstractmethod
    def send(self, message: str | bytes) -> None:
        """Write one message, text or binary, waiting as long as the peer's window is full.

        :raises OSError: when the peer is gone.
        """

    @abstractmethod
    def close(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame where the server can, and make :meth:`receive` return. Never raises; may be repeated.

        :param code: WebSocket close code; 0 to end the connection without a close frame.
        """


class WebSocketProvider(ABC):
    """Who speaks WebSocket on this server. Give at least one of the two forms, :meth:`locate` or :meth:`open`."""

    name: ClassVar[str]

    summary: str = ""
    """Set by the owner: the descriptor's, for the message to a client of a server that has no WebSocket."""

    @abstractmethod
    def detect(self, environ: WSGIEnvironment) -> bool:
        """Say whether this provider can serve a request with this environ. Cheap; touches no socket."""

    def serve_at(self, path: str) -> None:
        """Take note of the engine's path; called before any request, and again for another application.

        For a provider whose web server answers upgrades before the application sees them: it should leave those to
        this path alone, so that what the engine refuses is answered with an HTTP status.

        :param path: with both slashes (``"/socket.io/"``), as the application sees it; ``"/"`` if every request is the
            engine's.
        """

    def locate(self, environ: WSGIEnvironment, start_response: StartResponse) -> SocketLocation | None:
        """Detachable form: say where the server keeps the connection, or ``None`` to use :meth:`open`.

        Called after the engine validated the handshake headers. Must not raise for a socket that it cannot find
        (middleware may have wrapped ``start_response``) or that is TLS: return ``None``.
        """
        return None

    def open(
        self, environ: WSGIEnvironment, start_response: StartResponse, *, max_message_bytes: int
    ) -> BlockingTransport | None:
        """Blocking form: complete the handshake and return the open transport, or ``None`` if this request has none.

        Call ``start_response("101 Switching Protocols", [])`` before returning, as WSGI asks of every application:
        the engine does not, and a web server that misses it writes an error to its log, or to the client, when the
        connection ends. Only a server with a function of its own that answers the handshake (uWSGI) is given none.
        Agree on no extension, except through :func:`~flask_socketio_core.server.framed.open_framed`, which compresses
        if the option says so.

        :param max_message_bytes: a larger message must be refused before all of it is buffered: ``receive`` raises
            :class:`~flask_socketio_core.errors.PayloadTooLarge`, and the connection is closed with code 1009.
        """
        return None


# ------------------------------------------------------------------------------------------------- message queue


class MessageQueue(ABC):
    """A bus that carries bytes from every publisher to every listener of one channel.

    Constructing one connects to nothing, starts nothing and never blocks. All methods are thread-safe under the
    selected async mode. Errors of the client library are wrapped in :class:`~flask_socketio_core.errors.QueueError`;
    :func:`flask_socketio_core.queues.unavailable` does that. What the broker refuses for good (a wrong password, a
    missing right) is a :class:`~flask_socketio_core.errors.QueueRefused`. No text of an error or a log line has the
    user name or password in it; the core masks them once more.
    Rooms, acks, retries and everything else that several servers say to each other is built on these few methods, in
    ``flask_socketio_core.cluster``. After a fork the child makes a new object; it neither uses nor closes the old one.
    """

    capabilities: ClassVar[QueueCapabilities]

    on_failure: Callable[[bytes, str], None] | None = None
    """Set by the owner; called from any thread with a message and its key that :meth:`publish` had accepted, if the
    queue finds out later that the broker did not take it. The owner publishes it again, before newer ones, and sorts
    several by itself: they may be given back in any order. Does not block. Not called any more once :meth:`close` has
    returned: what is given back then is in the number that :meth:`flush` returned."""

    on_skip: Callable[[str], None] | None = None
    """Set by the owner; called by :meth:`listen` before its first item, with one sentence without credentials, when a
    queue with ``capabilities.replay`` cannot resume behind the last message that it yielded, because the broker has no
    longer what followed. Must not block."""

    def __init__(self, url: str, channel: str, *, mode: AsyncMode, options: Mapping[str, Any]) -> None:
        """Keep the settings.

        :param url: as the user gave it, password included; never logged as it is.
        :param channel: name that separates clusters which share a broker.
        :param mode: the selected async mode; for locks, events and the monkey-patch check.
        :param options: ``message_queue_options`` as the user gave them; unknown ones are refused.
        :raises UnknownOption: for an option that the queue does not know.
        """
        self.url = url
        self.channel = channel
        self.mode = mode
        self.options = dict(options)

    @property
    def max_message_bytes(self) -> int | None:
        """Largest message in bytes, ``None`` for no limit of its own: that of the capabilities.

        Read before each message, so a queue that learns it from its broker overrides this, with the smallest that it
        knows of until then.
        """
        return self.capabilities.max_message_bytes

    @abstractmethod
    def publish(self, message: bytes, *, key: str = "") -> None:
        """Hand one message to the broker, within the queue's time-out, also if that has stopped answering.

        With ``capabilities.durable`` the broker has it safely, or will be asked until it has, when this returns.

        :param message: at most :attr:`max_message_bytes` bytes.
        :param key: messages with one key keep their order; a queue without partitions ignores it.
        :raises QueueUnavailable: if the broker cannot be reached within the queue's time-out; the message may be
            published again.
        :raises MessageTooLarge: if the message can never be published.
        :raises QueueClosed: after :meth:`close`.
        """

    @abstractmethod
    def listen(self) -> Iterator[bytes]:
        """Subscribe, then yield each message published from now on, until :meth:`close`.

        Runs in a task of its own. The subscription exists when the iterator yields its first item, which is ``b""``;
        ``b""`` is also yielded now and then (twice a second) while the channel is quiet. A lost connection raises
        :class:`QueueUnavailable`; the caller calls ``listen`` again, and a queue with ``capabilities.replay`` then
        resumes behind the last message that it yielded, or calls :attr:`on_skip` if it cannot.

        May be called again while an older iterator of the same object still runs, as when that has gone deaf: both
        may yield what arrives meanwhile, and the older one is not asked for more.

        :raises QueueUnavailable: when the broker cannot be reached or the connection is lost.
        """

    @abstractmethod
    def ping(self) -> None:
        """Return if the broker answers now.

        :raises QueueUnavailable: if it does not answer within the queue's time-out.
        """

    def flush(self, timeout_s: float) -> int:
        """Wait until everything handed to :meth:`publish` is with the broker; return how many messages are not.

        Returns in time whatever the broker does. Those handed to :attr:`on_failure` are the owner's again and do not
        count.
        """
        return 0

    @abstractmethod
    def close(self) -> None:
        """End listeners and connections; may be repeated. Does not wait for unsent messages: :meth:`flush` does."""
