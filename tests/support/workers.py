"""`flask socketio run --workers`, started for tests."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import re
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .servers import HOST, descendants, wait_for_end, wait_until
from .wire.http import HttpError, request

START_S = 30.0
"""How long workers may take to start on a busy machine, seconds."""

APP = """
import os
import time
from flask import Flask
from flask_socketio_core import SocketIO

app = Flask(__name__)
socketio = SocketIO(app)
STARTED = time.monotonic()

@app.get("/")
def index():
    return f"{os.getpid()} {os.environ['SOCKETIO_WORKERS']}"

@app.get("/slow/<float:seconds>")
def slow(seconds):
    time.sleep(seconds)
    return str(os.getpid())

@socketio.on("pid")
def pid():
    return os.getpid()

@socketio.on("disconnect")
def disconnect(reason):
    print("farewell", reason, flush=True)
"""


class Supervised:
    """A supervisor that a test has started, in a session of its own as a terminal would.

    :param folder: with ``app.py``; its output goes there, too.
    :param terminal: that session has a terminal, which can be closed.
    """

    def __init__(
        self, folder: Path, *options: str, workers: int = 3, host: str = HOST, terminal: bool = False
    ) -> None:
        self.folder = folder
        self.log = folder / f"output-{os.urandom(4).hex()}"
        command = (sys.executable, "-m", "flask", "socketio", "run", "--host", host, "--port", "0")
        self._terminal: int | None = None
        theirs: int | None = None
        if terminal:
            self._terminal, theirs = os.openpty()
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [*command, "--workers", str(workers), "--allow-unsafe-werkzeug", *options],
                cwd=folder,
                env={
                    name: value
                    for name, value in os.environ.items()
                    if not name.startswith(("FLASK_", "SOCKETIO_"))
                },
                stdin=subprocess.DEVNULL if theirs is None else theirs,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_take_terminal if terminal else None,
            )
        if theirs is not None:
            os.close(theirs)
        self.workers = workers

    def wait_ready(self) -> Supervised:
        """Wait until all workers serve."""
        ready = wait_until(
            lambda: len(self.told("serves")) >= self.workers or self.process.poll() is not None,
            timeout_s=START_S,
        )
        assert ready and self.process.poll() is None, self.text()
        return self

    def text(self) -> str:
        """Return what the supervisor and its workers have written."""
        return self.log.read_text()

    def told(self, what: str) -> list[int]:
        """Return the workers of whom the supervisor has told something, such as ``serves``."""
        return [int(pid) for pid in re.findall(rf" \* worker (\d+) {what}", self.text())]

    def ended(self) -> list[int]:
        """Return the workers whose end was told."""
        return self.told("ended")

    def serving(self) -> set[int]:
        """Return the workers that serve."""
        return set(self.told("serves")) - set(self.ended())

    @property
    def port(self) -> int:
        """The port of all workers."""
        found = re.search(r" \* 'app' on https?://\S+:(\d+), async mode", self.text())
        assert found is not None, self.text()
        return int(found[1])

    def get(self, path: str = "/", timeout_s: float = 20.0) -> str:
        """Return the answer of some worker."""
        response = request(self.port, "GET", path, timeout_s=timeout_s)
        assert response.status == 200, response
        return response.text

    def answering(self, requests: int) -> set[int]:
        """Return the workers that answer some of so many requests."""
        return {int(self.get().split()[0]) for _ in range(requests)}

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the supervisor alone."""
        self.process.send_signal(number)

    def wait_for(self, condition: Callable[[], bool], timeout_s: float = START_S) -> None:
        """Wait until a condition holds; show the output if it never does."""
        assert wait_until(condition, timeout_s=timeout_s), self.text()

    def wait(self, timeout_s: float) -> int:
        """Return the supervisor's exit status; show the output if it does not end."""
        return wait_for_end(self.process, timeout_s, self.text, "the supervisor")

    def close_terminal(self) -> None:
        """Close the terminal, as its window would be."""
        terminal, self._terminal = self._terminal, None
        if terminal is not None:
            os.close(terminal)

    def end(self) -> None:
        """End all that is left of it."""
        self.close_terminal()
        children = descendants(self.process.pid)
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for pid in {*children, *self.told("serves")} - set(self.ended()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _take_terminal() -> None:
    """Make the standard input the terminal of this session, as a shell does that was not started by nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Load:
    """Threads that ask the server all the time, each request on a connection of its own."""

    def __init__(self, port: int, threads: int = 4) -> None:
        self.answers: list[str] = []
        self.errors: list[BaseException] = []
        self._port = port
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(threads)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def workers(self, since: int = 0) -> set[int]:
        """Return the workers that have answered, those of the first requests excepted."""
        return {int(answer.split()[0]) for answer in self.answers[since:]}

    def _ask(self) -> None:
        while not self._stopped.is_set() and len(self.errors) < 10:
            try:
                response = request(self._port, "GET", "/", timeout_s=20.0)
                assert response.status == 200, response
                self.answers.append(response.text)
            except (OSError, HttpError, AssertionError) as error:
                self.errors.append(error)


def is_alive(pid: int) -> bool:
    """Return whether a process runs (Linux); a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def mode_params() -> list[Any]:
    """Return the modes that have a server, as parameters; what is not installed is skipped."""
    return [
        pytest.param(
            mode,
            marks=pytest.mark.skipif(
                importlib.util.find_spec(f"flask_socketio_async_{mode}") is None,
                reason=f"the plugin for {mode} is not installed",
            ),
        )
        for mode in ("threading", "gevent", "eventlet")
    ]


@contextlib.contextmanager
def supervised(
    folder: Path, *options: str, workers: int = 3, app: str = APP, host: str = HOST, terminal: bool = False
) -> Iterator[Supervised]:
    """Start a supervisor, and end what is left of it."""
    (folder / "app.py").write_text(app)
    running = Supervised(folder, *options, workers=workers, host=host, terminal=terminal)
    try:
        yield running
    finally:
        running.end()
