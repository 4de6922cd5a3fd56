"""What all brokers have in common: find it, start it, wait until it answers, stop it, start it again."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from . import leash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_LEASH = Path(leash.__file__)


class BrokerMissing(Exception):
    """The broker's program is not on this machine; the text says which command installs it."""


class BrokerFailed(Exception):
    """The broker is installed but did not start or stop; the text ends with its log's last lines."""


class Process:
    """One program on a leash (see ``leash.py``), writing to a log file."""

    def __init__(self, command: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None) -> None:
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                [sys.executable, str(_LEASH), *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=None if env is None else dict(env),
                start_new_session=True,
            )

    def order(self, letter: bytes) -> None:
        """Send one of the leash's orders; a process that is gone already obeys them all."""
        stdin = self._popen.stdin
        assert stdin is not None
        try:
            stdin.write(letter)
            stdin.flush()
        except (BrokenPipeError, ValueError):
            pass

    @property
    def ended(self) -> bool:
        return self._popen.poll() is not None

    def wait(self) -> None:
        """Wait for the end that an order has asked for, and release the pipe."""
        try:
            self._popen.wait(leash.GRACE_S + 5)
        finally:
            assert self._popen.stdin is not None
            try:
                self._popen.stdin.close()
            except BrokenPipeError:
                pass


class Broker(ABC):
    """One real broker: same address and same data before and after :meth:`stop` and :meth:`start`."""

    #: Name on the command line and in messages.
    kind: ClassVar[str]
    #: The shell command that installs what is missing.
    install: ClassVar[str]
    #: Seconds from start to ready on a slow machine; the brokers themselves take 0.03 to 20.
    start_timeout_s: ClassVar[float] = 60.0
    #: Port of loopback, once it was started.
    port: int = 0

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._processes: list[Process] = []

    @property
    @abstractmethod
    def url(self) -> str:
        """The address as ``SocketIO(message_queue=...)`` takes it."""

    @abstractmethod
    def find(self) -> None:
        """Find the programs, fetching what can be fetched, or raise :class:`BrokerMissing`."""

    @abstractmethod
    def _prepare(self) -> None:
        """Choose ports and write configuration into the empty folder."""

    @abstractmethod
    def _launch(self) -> list[Process]:
        """Start the broker's processes; the last one is the broker itself."""

    @abstractmethod
    def _answers(self) -> bool:
        """Say whether the broker serves requests now; an ``OSError`` means no."""

    @property
    def folder(self) -> Path:
        """Where the broker keeps its data, configuration and log."""
        if self._folder is None:
            raise BrokerFailed(f"the {self.kind} broker was never started")
        return self._folder

    @property
    def running(self) -> bool:
        return bool(self._processes) and not self._processes[-1].ended

    def start(self, *, wait: bool = True) -> None:
        """Start the broker, the first time in a new folder and on new ports, later with the old ones.

        :param wait: return only when it serves requests.
        :raises BrokerMissing: when it is not installed.
        :raises BrokerFailed: when it is not ready within ``start_timeout_s``.
        """
        if self.running:
            return
        if self._folder is None:
            self.find()
            self._folder = Path(tempfile.mkdtemp(prefix=f"fsio-{self.kind}-"))
            self._prepare()
        self._processes = self._launch()
        if wait:
            self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Return when the broker serves requests."""
        if not _poll(lambda: self._answers_safely() or not self.running, self.start_timeout_s):
            self._fail(f"did not answer within {self.start_timeout_s:g} s")
        if not self.running:
            self._fail("ended by itself")

    def stop(self) -> None:
        """End the broker as an administrator would; its data stays."""
        self._end(b"t")

    def kill(self) -> None:
        """End the broker as a power cut would; its data stays as it is on the disk."""
        self._end(b"k")

    def pause(self) -> None:
        """Freeze the broker: connections stay open and nothing answers, as behind a broken network."""
        for process in self._processes:
            process.order(b"p")
        if not _poll(lambda: not self._answers_safely(), 10):
            self._fail("still answers although it was paused")

    def resume(self) -> None:
        """End :meth:`pause`."""
        for process in self._processes:
            process.order(b"r")

    @contextmanager
    def outage(self, *, kill: bool = False) -> Iterator[None]:
        """Be away for the length of a ``with`` block and back, ready, at its end."""
        self.kill() if kill else self.stop()
        try:
            yield
        finally:
            self.start()

    def close(self) -> None:
        """Stop the broker and delete its folder."""
        self.stop()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _end(self, order: bytes) -> None:
        processes, self._processes = self._processes, []
        for process in reversed(processes):
            process.order(order)
            process.wait()

    def _answers_safely(self) -> bool:
        try:
            return self._answers()
        except OSError:
            return False

    def _fail(self, what: str) -> None:
        tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])
        self._end(b"k")
        raise BrokerFailed(f"the {self.kind} broker {what}; the end of its log:\n{tail}")

    @property
    def _log(self) -> Path:
        return self.folder / f"{self.kind}.log"


def exchange(port: int, request: bytes, *, size: int) -> bytes:
    """Send bytes to a loopback port and return the first ``size`` bytes of the answer, or all if fewer."""
    with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
        connection.sendall(request)
        answer = b""
        while len(answer) < size and (part := connection.recv(size - len(answer))):
            answer += part
        return answer


def _poll(condition: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
