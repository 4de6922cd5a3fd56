"""Real servers for the tests: each in its own process, on loopback, on a free port.

A :class:`ServerKind` says how to start one (``socketio.run()`` in a mode, ``flask run``, gunicorn, uWSGI); an
:class:`AppSpec` says which application of :mod:`support.apps` it serves, with which library and options. The test
process patches nothing and needs no green library.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from flask_socketio_core.testing.ports import free_port
from support.apps.base import STACKS_SIGNAL
from support.wire.http import HttpError, Response, request

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TESTS = Path(__file__).resolve().parents[1]
HOST = "127.0.0.1"
#: Seconds until a server must answer; two on an idle machine, but several may start on two busy cores.
READY_TIMEOUT_S = 30.0
#: Seconds until a server must be gone: one on an idle machine, ten where twenty interpreters end on a loaded one.
STOP_TIMEOUT_S = 25.0
#: Seconds that a process which does not end has to say what it is doing.
STACKS_S = 2.0
#: Characters of what such a one has written, and of what it says then, that are shown.
SHOWN = 16_000

CORE = "flask_socketio_core"
REFERENCE = "flask_socketio"


@dataclass(frozen=True, slots=True, kw_only=True)
class AppSpec:
    """Which application a server serves.

    :param app: module in :mod:`support.apps`.
    :param library: package that provides ``SocketIO``.
    :param options: keyword arguments of ``SocketIO``; must survive JSON.
    :param settings: settings for the application itself; must survive JSON.
    """

    app: str
    library: str = CORE
    options: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerKind:
    """One way to serve an application.

    :param name: used as test id.
    :param mode: the async mode that must be selected; also given as ``async_mode=`` unless ``automatic``.
    :param command: makes the command line for a port.
    :param modules: import packages that must be installed.
    :param program: executable that must be on the path or beside the interpreter.
    :param automatic: leave the choice of the mode to the plugin manager.
    :param provider: WebSocket provider to ask for; ``None`` leaves the choice.
    :param hidden: modules that the server must not be able to import.
    :param stop_signal: ends the server.
    :param env: further environment variables.
    :param several: whether there are several workers, which share a journal.
    """

    name: str
    mode: str
    command: Callable[[int], list[str]]
    modules: tuple[str, ...] = ()
    program: str | None = None
    automatic: bool = False
    provider: str | None = None
    hidden: tuple[str, ...] = ()
    stop_signal: signal.Signals = signal.SIGTERM
    env: Mapping[str, str] = field(default_factory=dict)
    several: bool = False

    def missing(self) -> str | None:
        """Say what is not installed here, or ``None``."""
        for module in self.modules:
            if importlib.util.find_spec(module) is None:
                return f"{module} is not installed"
        if self.program is not None and find_program(self.program) is None:
            return f"the program {self.program} is not installed"
        return None


def find_program(name: str) -> str | None:
    """Find an executable beside the interpreter or on the path."""
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else shutil.which(name)


def _launch(port: int) -> list[str]:
    return [sys.executable, "-m", "support.apps.launch", str(port)]


def _flask_run(port: int) -> list[str]:
    arguments = ["--app", "support.apps.wsgi:app", "run", "--no-reload", "--host", HOST, "--port", str(port)]
    return [sys.executable, "-m", "flask", *arguments]


def _supervised(port: int) -> list[str]:
    arguments = ["--host", HOST, "--port", str(port), "--workers", str(SEVERAL), "--allow-unsafe-werkzeug"]
    return [sys.executable, "-m", "flask", "--app", "support.apps.wsgi:app", "socketio", "run", *arguments]


def gunicorn(*worker: str, workers: int = 1) -> Callable[[int], list[str]]:
    """Return what makes the command of gunicorn for a port.

    :param worker: options, the last of a name counts.
    """

    def command(port: int) -> list[str]:
        server = [sys.executable, "-m", "gunicorn", "--workers", str(workers), "--bind", f"{HOST}:{port}"]
        return [*server, "--graceful-timeout", "5", *worker, "support.apps.wsgi:app"]

    return command


def _uwsgi(port: int, *more: str) -> list[str]:
    program = find_program("uwsgi") or "uwsgi"
    server = [program, "--http", f"{HOST}:{port}", "--gevent", "200", "--gevent-early-monkey-patch"]
    paths = [argument for path in sys.path if path for argument in ("--pythonpath", path)]
    server += ["--http-websockets", "--http-chunked-input", "--master", "--need-app"]
    return [*server, *paths, *more, "--module", "support.apps.wsgi:app"]


THREADING = ServerKind(name="threading", mode="threading", command=_launch)
EVENTLET = ServerKind(name="eventlet", mode="eventlet", command=_launch, modules=("eventlet",))
GEVENT_WEBSOCKET = ServerKind(
    name="gevent+gevent-websocket",
    mode="gevent",
    command=_launch,
    modules=("gevent", "geventwebsocket"),
    provider="gevent-websocket",
)
GEVENT_BUILTIN = ServerKind(
    name="gevent-builtin",
    mode="gevent",
    command=_launch,
    modules=("gevent",),
    hidden=("geventwebsocket",),
)
FLASK_RUN = ServerKind(name="flask-run", mode="threading", command=_flask_run, automatic=True)
GUNICORN_GTHREAD = ServerKind(
    name="gunicorn-gthread",
    mode="threading",
    command=gunicorn("--worker-class", "gthread", "--threads", "20"),
    modules=("gunicorn",),
)
GUNICORN_GEVENT = ServerKind(
    name="gunicorn-gevent",
    mode="gevent",
    command=gunicorn("--worker-class", "gevent"),
    modules=("gunicorn", "gevent"),
)
GUNICORN_GEVENT_WEBSOCKET = ServerKind(
    name="gunicorn-gevent-websocket",
    mode="gevent",
    command=gunicorn("--worker-class", "geventwebsocket.gunicorn.workers.GeventWebSocketWorker"),
    modules=("gunicorn", "gevent", "geventwebsocket"),
)
UWSGI_GEVENT = ServerKind(
    name="uwsgi-gevent",
    mode="gevent_uwsgi",
    command=_uwsgi,
    modules=("gevent",),
    program="uwsgi",
    automatic=True,
    stop_signal=signal.SIGINT,
)

#: Several workers, of which any may get any request.
SEVERAL = 4
GTHREAD_WORKERS = ServerKind(
    several=True,
    name="gunicorn-gthread-workers",
    mode="threading",
    command=gunicorn("--worker-class", "gthread", "--threads", "40", workers=SEVERAL),
    modules=("gunicorn",),
)
GEVENT_WORKERS = ServerKind(
    several=True,
    name="gunicorn-gevent-workers",
    mode="gevent",
    command=gunicorn("--worker-class", "gevent", workers=SEVERAL),
    modules=("gunicorn", "gevent"),
)
UWSGI_WORKERS = ServerKind(
    several=True,
    name="uwsgi-gevent-workers",
    mode="gevent_uwsgi",
    command=lambda port: _uwsgi(port, "--processes", str(SEVERAL)),
    modules=("gevent",),
    program="uwsgi",
    automatic=True,
    stop_signal=signal.SIGINT,
)

THREADING_WORKERS = ServerKind(
    several=True, name="run-threading-workers", mode="threading", command=_supervised
)
RUN_GEVENT_WORKERS = ServerKind(
    several=True, name="run-gevent-workers", mode="gevent", command=_supervised, modules=("gevent",)
)
RUN_EVENTLET_WORKERS = ServerKind(
    several=True, name="run-eventlet-workers", mode="eventlet", command=_supervised, modules=("eventlet",)
)

SUPERVISED_KINDS = (THREADING_WORKERS, RUN_GEVENT_WORKERS, RUN_EVENTLET_WORKERS)
WORKER_KINDS = (GTHREAD_WORKERS, GEVENT_WORKERS, *SUPERVISED_KINDS)

#: The servers that ``socketio.run()`` starts, one per WebSocket provider.
RUN_KINDS = (THREADING, EVENTLET, GEVENT_WEBSOCKET, GEVENT_BUILTIN)
#: The servers that somebody else starts.
DEPLOYED_KINDS = (FLASK_RUN, GUNICORN_GTHREAD, GUNICORN_GEVENT, GUNICORN_GEVENT_WEBSOCKET, UWSGI_GEVENT)
#: One kind per concurrency model, for tests whose subject is not the server.
MODE_KINDS = (THREADING, EVENTLET, GEVENT_BUILTIN)


def kind_params(*kinds: ServerKind) -> list[Any]:
    """Make pytest parameters of server kinds; kinds that cannot run here are skipped with the reason."""
    return [pytest.param(kind, id=kind.name, marks=skip_marks(kind)) for kind in kinds]


def skip_marks(kind: ServerKind) -> tuple[pytest.MarkDecorator, ...]:
    """Return what skips a test of a kind that cannot run here, with the reason."""
    missing = kind.missing()
    return () if missing is None else (pytest.mark.skip(reason=missing),)


def wait_until(condition: Callable[[], bool], *, timeout_s: float, interval_s: float = 0.02) -> bool:
    """Return ``True`` as soon as the condition holds, ``False`` when the time is over."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(interval_s)
    return True


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process holds: open descriptors and OS threads."""

    fds: int
    threads: int


def usage(pid: int) -> Usage:
    """Count the open descriptors and OS threads of a process (Linux)."""
    return Usage(fds=len(os.listdir(f"/proc/{pid}/fd")), threads=len(os.listdir(f"/proc/{pid}/task")))


def processor_s(pid: int) -> float:
    """Return what a process has had of the processor, seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def descendants(pid: int) -> list[int]:
    """Return the processes that a process started, and those that they started (Linux)."""
    try:
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return [*children, *(found for child in children for found in descendants(child))]


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Have a process, which may end meanwhile, do nothing for a while (Linux).

    It has stopped when this goes on, which its threads do one after the other.
    """
    os.kill(pid, signal.SIGSTOP)
    try:
        assert wait_until(lambda: _states(pid) == {"T"}, timeout_s=5, interval_s=0.001), (
            f"{pid} has not stopped"
        )
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def _states(pid: int) -> set[str]:
    stats = [(task / "stat").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    return {stat.rpartition(")")[2].split()[0] for stat in stats}


def wait_for_end(
    process: subprocess.Popen[Any], timeout_s: float, log: Callable[[], str], name: str = "the server"
) -> int:
    """Return the exit status of a process that was told to stop (negative: the signal that killed it).

    :param log: returns what it has written.
    :raises AssertionError: if it still runs then, with its log and, as far as they say it, what it and its children
        were doing; they are killed then.
    """
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        wrote = log()
        children = descendants(process.pid)
        _send(STACKS_SIGNAL, *filter(_says_stacks, children))
        time.sleep(STACKS_S)
        _send(signal.SIGABRT, process.pid)  # faulthandler's own
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STACKS_S)
        stacks = log()[len(wrote) :]
        _send(signal.SIGKILL, *children, process.pid)
        process.wait()
        raise AssertionError(
            f"{name} still ran {timeout_s:g} s after it was told to stop; it wrote:\n{wrote[-SHOWN:]}\n"
            f"and was doing:\n{stacks[:SHOWN]}"
        ) from None


def _says_stacks(pid: int) -> bool:
    """Return whether a process has a handler for the signal that asks for that."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    caught = int(status.partition("SigCgt:")[2].split()[0], 16)
    return bool(caught >> (STACKS_SIGNAL - 1) & 1)


def _send(number: signal.Signals, *pids: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


class Server:
    """A running server process."""

    def __init__(self, kind: ServerKind, spec: AppSpec, log: Path, port: int | None = None) -> None:
        self.kind = kind
        self.spec = spec
        self.log = log
        self.port = free_port() if port is None else port
        self._told_to_stop = False
        self.environment = _environment(kind, spec, log)
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                kind.command(self.port),
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=self.environment,
                cwd=log.parent,
            )
        self.worker_pid = self._wait_ready()

    @property
    def url(self) -> str:
        """Return the server's address, without a trailing slash."""
        return f"http://{HOST}:{self.port}"

    def get(self, target: str, **kwargs: Any) -> Response:
        """Send a GET request on a connection of its own."""
        return request(self.port, "GET", target, **kwargs)

    def post(self, target: str, body: str | bytes = b"", **kwargs: Any) -> Response:
        """Send a POST request on a connection of its own."""
        return request(self.port, "POST", target, body=body, **kwargs)

    def journal(self) -> list[Any]:
        """Return what the application noted since :meth:`reset`."""
        entries: list[Any] = json.loads(self.get("/journal").body)
        return entries

    def wait_journal(self, *wanted: str, timeout_s: float = 5.0) -> list[Any]:
        """Wait until entries with all these names are in the journal, and return the whole journal.

        :raises AssertionError: when the time is over; the text shows what was noted instead.
        """
        entries: list[Any] = []

        def complete() -> bool:
            nonlocal entries
            entries = self.journal()
            names = [entry[0] for entry in entries]
            return all(names.count(name) >= wanted.count(name) for name in wanted)

        assert wait_until(complete, timeout_s=timeout_s), f"waited for {wanted}, the journal has {entries}"
        return entries

    def reset(self) -> None:
        """Empty the journal."""
        self.post("/reset")

    def begin_test(self) -> None:
        """Empty the journal when it has everything of the clients of the test before, which were dropped.

        A test may leave something running on purpose, so this does not wait for long.
        """
        wait_until(lambda: json.loads(self.get("/settled").body), timeout_s=1)
        self.reset()

    def usage(self) -> Usage:
        """Count descriptors and threads of the process that runs the application."""
        return usage(self.worker_pid)

    def log_text(self) -> str:
        """Return what the server wrote so far."""
        return self.log.read_text(errors="replace")

    def begin_stop(self, signal_number: int | None = None) -> None:
        """Tell the server to stop, without waiting for it."""
        if self.process.poll() is None and not self._told_to_stop:
            self._told_to_stop = True
            self.process.send_signal(self.kind.stop_signal if signal_number is None else signal_number)

    def stop(self, signal_number: int | None = None, *, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """End the server and return its exit status (negative: the signal that killed it).

        :raises AssertionError: if it did not end in time; it is killed then.
        """
        self.begin_stop(signal_number)
        try:
            return self.wait(timeout_s)
        finally:
            self._kill()

    def wait(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Return the exit status of a server that was told to stop; raises what :meth:`stop` raises."""
        return wait_for_end(self.process, timeout_s, self.log_text, self.kind.name)

    def _kill(self) -> None:
        # Not by process group: these are in the test run's own, so that whoever ends that ends them too.
        if self.process.poll() is None:
            _send(signal.SIGKILL, *descendants(self.process.pid))
        self.process.kill()
        self.process.wait()

    def _wait_ready(self) -> int:
        answer: Response | None = None

        def ready() -> bool:
            nonlocal answer
            if self.process.poll() is not None:
                return True
            try:
                answer = self.get("/ready", timeout_s=2.0)
            except (OSError, HttpError):
                return False
            return True

        wait_until(ready, timeout_s=READY_TIMEOUT_S, interval_s=0.05)
        if answer is None or answer.status != 200:
            self._kill()
            raise AssertionError(f"{self.kind.name} did not become ready; it wrote:\n{self.log_text()}")
        state: dict[str, Any] = json.loads(answer.body)
        if state["async_mode"] != self.kind.mode:
            self._kill()
            raise AssertionError(f"{self.kind.name} selected async mode {state['async_mode']!r}")
        pid: int = state["pid"]
        return pid


def _environment(kind: ServerKind, spec: AppSpec, log: Path) -> dict[str, str]:
    options = dict(spec.options)
    if not kind.automatic:
        options.setdefault("async_mode", kind.mode)
    if kind.provider is not None and spec.library == CORE:
        options.setdefault("websocket_provider", kind.provider)
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("FLASK_", "SOCKETIO_"))
    }
    return {
        **inherited,
        "PYTHONPATH": str(TESTS),
        "PYTHONUNBUFFERED": "1",
        "PYTHONFAULTHANDLER": "1",
        "APP_UNDER_TEST": spec.app,
        "LIBRARY_UNDER_TEST": spec.library,
        "OPTIONS_UNDER_TEST": json.dumps(options),
        "SETTINGS_UNDER_TEST": json.dumps(dict(spec.settings)),
        "HIDDEN_MODULES": ",".join(kind.hidden),
        **({"JOURNAL_UNDER_TEST": str(log.with_suffix(".journal"))} if kind.several else {}),
        **kind.env,
    }


class Servers:
    """Servers that are started at their first use and stopped together."""

    def __init__(self, directory: Path) -> None:
        """Start none yet.

        :param directory: where their logs go.
        """
        self._directory = directory
        self._running: dict[str, Server] = {}

    def get(self, kind: ServerKind, spec: AppSpec) -> Server:
        """Return the server of that kind and application."""
        key = json.dumps([kind.name, spec.app, spec.library, spec.options, spec.settings], sort_keys=True)
        if key not in self._running:
            self._running[key] = Server(kind, spec, self._directory / f"{kind.name}-{len(self._running)}.log")
        return self._running[key]

    def stop(self) -> None:
        """Stop them all at the same time.

        :raises AssertionError: if one did not stop in time.
        """
        for server in self._running.values():
            server.begin_stop()
        with contextlib.ExitStack() as stack:
            for server in self._running.values():
                stack.callback(server.stop)


StartServer = Callable[..., "Server"]
"""Returns the server of an application with certain options, whose journal is empty."""


@contextlib.contextmanager
def starting(kind: ServerKind, app: str, directory: Path) -> Iterator[StartServer]:
    """Give what starts servers of an application, one for each set of options and settings, and stop them all.

    :param directory: where their logs go.
    """
    servers = Servers(directory)

    def start(settings: Mapping[str, Any] | None = None, **options: Any) -> Server:
        server = servers.get(kind, AppSpec(app=app, options=options, settings=settings or {}))
        server.begin_test()
        return server

    try:
        yield start
    finally:
        servers.stop()


@contextlib.contextmanager
def serving(kind: ServerKind, spec: AppSpec, directory: Path, port: int | None = None) -> Iterator[Server]:
    """Start a server, yield it when it is ready, and stop it.

    :param directory: where its log goes.
    :param port: where it listens; a free one if not given.
    """
    log = directory / f"{kind.name}-{spec.library}-{spec.app}-{time.monotonic_ns()}.log"
    server = Server(kind, spec, log, port)
    try:
        yield server
    finally:
        server.stop()
