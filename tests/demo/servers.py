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

from support.servers import HOST, free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
READY_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 8.0


class ExampleServer:
    """A server on a port of its own; it can be stopped and started again on that port.

    :param command: makes the command line for a port.
    """

    def __init__(self, log: Path, command: Callable[[int], list[str]]) -> None:
        self.log = log
        port = free_port()
        self.url = f"http://{HOST}:{port}/"
        self.command = [sys.executable, *command(port)]
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and wait until it answers."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SOCKETIO_")}
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
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"it still ran {STOP_TIMEOUT_S} s after TERM") from None
        finally:
            self.process = None

    def _ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def _answers(self) -> bool:
        with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            with urllib.request.urlopen(f"{self.url}socket.io/?EIO=4&transport=polling", timeout=2.0) as page:
                return bool(page.status == 200)
        return False


def chat_server(log: Path, *, mode: str = "", queue: str = "") -> ExampleServer:
    """Return a chat server with the arguments that ``make demo`` gives it."""
    choice = ["--mode", mode, "--queue", queue, "--host", ""]
    return ExampleServer(log, lambda port: [str(EXAMPLES / "chat" / "app.py"), *choice, "--port", str(port)])


def echo_server(log: Path) -> ExampleServer:
    """Return the echo, served by ``flask run``."""
    app = ["-m", "flask", "--app", str(EXAMPLES / "echo.py"), "run", "--host", HOST]
    return ExampleServer(log, lambda port: [*app, "--port", str(port)])
