"""The examples in processes of their own, started the way their users start them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from flask_socketio_core.testing.ports import free_port
from support.servers import HOST, wait_for_end, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 25.0


class ExampleServer:
    """A server on a port of its own, or several; it can be stopped and started again there.

    :param command: makes the command line for a port.
    :param workers: how many servers that starts, on ports that follow each other.
    """

    def __init__(self, log: Path, command: Callable[[int], list[str]], *, workers: int = 1) -> None:
        self.log = log
        port = free_ports(workers)
        self.ports = range(port, port + workers)
        self.url, *self.other_urls = [f"http://{HOST}:{port}/" for port in self.ports]
        self.command = [sys.executable, *command(port)]
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and wait until it answers."""
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("SOCKETIO_", "CHAT_"))
        }
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        ready = wait_until(
            lambda: self._ended() or self._answers(), timeout_s=READY_TIMEOUT_S, interval_s=0.1
        )
        if not ready or self._ended():
            self.stop()
            raise AssertionError(f"it did not start; it wrote:\n{self.log.read_text()}")

    def stop(self) -> None:
        """End the server, the rough way if it does not end on TERM."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            wait_for_end(self.process, STOP_TIMEOUT_S, self.log.read_text, "it")
        finally:
            self.process = None

    def _ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def _answers(self) -> bool:
        return all(map(answers, [self.url, *self.other_urls]))


def answers(url: str) -> bool:
    """Return whether a server answers at a URL."""
    with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
        with urllib.request.urlopen(f"{url}socket.io/?EIO=4&transport=polling", timeout=2.0) as page:
            return bool(page.status == 200)
    return False


def free_ports(number: int) -> int:
    """Return the first of several TCP ports of loopback that follow each other, on which nobody listens."""
    for _ in range(100):
        with contextlib.suppress(OSError, OverflowError):
            first = free_port()
            for following in range(1, number):
                free_port(first + following)
            return first
    raise AssertionError(f"no {number} free ports in a row")


def chat_server(log: Path, *, mode: str = "", queue: str = "") -> ExampleServer:
    """Return a chat server with the arguments that ``make demo`` gives it."""
    choice = ["--mode", mode, "--queue", queue, "--host", ""]
    return ExampleServer(log, lambda port: [str(EXAMPLES / "chat" / "app.py"), *choice, "--port", str(port)])


def chat_workers(log: Path, *, queue: str) -> ExampleServer:
    """Return two servers of the chat as one command, with the arguments that ``make demo WORKERS=2`` gives it."""
    choice = ["--workers", "2", "--mode", "", "--queue", queue, "--host", ""]
    return ExampleServer(
        log, lambda port: [str(EXAMPLES / "chat" / "workers.py"), *choice, "--port", str(port)], workers=2
    )


def echo_server(log: Path) -> ExampleServer:
    """Return the echo, served by ``flask run``."""
    app = ["-m", "flask", "--app", str(EXAMPLES / "echo.py"), "run", "--host", HOST]
    return ExampleServer(log, lambda port: [*app, "--port", str(port)])
