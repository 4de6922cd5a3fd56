"""Start workers, start them again, exchange them one by one, end them."""

from __future__ import annotations

import os
import secrets
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import click

from ...contracts.process import WorkerGroup
from .listening import bind
from .pauses import Pauses
from .process import Worker
from .signals import Signals

START_S = 60.0
"""How long a worker may take until it serves, seconds; thrice the longest start that was seen, if that is more. The
first one takes as long as it takes."""
KILLED = 128
"""What shells add to the number of the signal that has ended a program."""
SIGNALS = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGCHLD,
)

Start = Callable[[int, float], Worker]
"""Starts a worker, given how many there are to be and a reading of the clock."""


def supervise(count: int, host: str, port: int, graceful_s: float) -> int:
    """Serve with several workers until a signal ends that; return the exit status.

    :param count: how many workers.
    :param graceful_s: how long a worker may take to end before it is killed, seconds.
    """
    group = secrets.token_hex(8)
    terminal = Terminal()
    with bind(host, port) as listener:
        alive, ours = os.pipe()  # workers inherit the end that is read; it ends when this process does
        try:
            with Signals(SIGNALS, never_ignored=(signal.SIGHUP, signal.SIGCHLD)) as signals:

                def start(wanted: int, now_s: float) -> Worker:
                    # One that is alone has to find those that come after it, too.
                    workers = WorkerGroup(group=group, count=max(wanted, 2))
                    return Worker(listener.fileno(), alive, workers, now_s)

                return Supervisor(count, start, graceful_s).run(signals, terminal)
        finally:
            os.close(alive)
            os.close(ours)


class Supervisor:
    """Keep as many workers as are wanted.

    Until one has served nothing is started besides the first: what is wrong with the application, or with an option, is
    told once, by that one, and ends the supervisor.

    :param count: how many are wanted.
    :param start: starts one; may raise :class:`OSError`.
    :param graceful_s: how long one may take to end before it is killed, seconds.
    """

    def __init__(self, count: int, start: Start, graceful_s: float) -> None:
        self._wanted = count
        self._start = start
        self._graceful_s = graceful_s
        self._clock = time.monotonic
        self._workers: list[Worker] = []  # the oldest first
        self._outdated: list[Worker] = []  # to be exchanged
        self._replacement: Worker | None = None  # for one of them; does not serve yet
        self._pauses = Pauses()
        self._start_again_s = 0.0
        self._longest_start_s = START_S / 3
        self._proved = False
        self._stopping = False
        self._exit_status = 0

    def run(self, signals: Signals, terminal: Terminal) -> int:
        """Work until all workers have ended because they had to; return the exit status."""
        try:
            while self._step():
                self._wait(signals.fd)
                for number in signals.read():
                    self._take_signal(number, terminal)
        finally:
            for worker in self._workers:  # an error of ours
                worker.kill()
        return self._exit_status

    # waiting

    def _wait(self, signal_fd: int) -> None:
        """Wait for a signal, for a worker that serves, or until it is time for something."""
        now_s = self._clock()
        ready = {worker.ready: worker for worker in self._workers if worker.ready is not None}
        wait_s = min((deadline_s - now_s for deadline_s in self._deadlines_s()), default=None)
        readable, _, _ = select.select(
            [signal_fd, *ready], [], [], None if wait_s is None else max(wait_s, 0)
        )
        for fd in readable:
            if fd in ready:
                self._hear(ready[fd])

    def _deadlines_s(self) -> Iterator[float]:
        for worker in self._workers:
            deadline_s = self._kill_at_s(worker)
            if deadline_s is not None:
                yield deadline_s
        if not self._stopping and (self._missing() > 0 or self._has_outdated()):
            yield self._start_again_s

    def _kill_at_s(self, worker: Worker) -> float | None:
        """Return when a worker is killed if nothing happens, by the clock."""
        if worker.killed:
            return None
        if worker.ends_at_s is not None or worker.serves or not self._proved:
            return worker.ends_at_s
        return worker.started_s + 3 * self._longest_start_s

    # what happens

    def _take_signal(self, number: signal.Signals, terminal: Terminal) -> None:
        if number == signal.SIGINT and self._stopping:
            self._exit_status = KILLED + signal.SIGINT
            for worker in self._workers:
                worker.kill()
        elif number in (signal.SIGTERM, signal.SIGINT) or (number == signal.SIGHUP and terminal.is_gone()):
            self._stop(0)
        elif number == signal.SIGHUP:
            self._outdated = [worker for worker in self._staying() if worker is not self._replacement]
            if self._replacement is not None:  # it may have loaded what has changed since
                self._end(self._replacement)
                self._replacement = None
        elif number == signal.SIGTTIN:
            self._wanted += 1
        elif number == signal.SIGTTOU:
            self._wanted = max(self._wanted - 1, 1)

    def _hear(self, worker: Worker) -> None:
        line = worker.read_line()
        if line is None:
            return  # it has ended, or is about to
        self._longest_start_s = max(self._longest_start_s, self._clock() - worker.started_s)
        if not self._proved:
            self._proved = True
            _tell(line, err=False)
            _tell(f" * supervisor {os.getpid()} of {self._wanted} workers")
        _tell(f" * worker {worker.pid} serves")
        if worker is self._replacement:
            self._replacement = None
            if self._outdated:
                self._end(self._outdated.pop(0))

    def _reap(self) -> None:
        for worker in list(self._workers):
            status = worker.status
            if status is not None:
                worker.close()
                self._workers.remove(worker)
                if worker in self._outdated:
                    self._outdated.remove(worker)
                self._lose(worker, status)

    def _lose(self, worker: Worker, status: int) -> None:
        ended = f" * worker {worker.pid} ended {_how(status)}"
        if worker.ends_at_s is not None or self._stopping:
            _tell(ended)
        elif not self._proved:
            _tell(f"{ended} before it served")
            self._stop(status if status >= 0 else KILLED - status)
        elif worker is self._replacement:
            _tell(f"{ended} before it served: the others are not exchanged")
            self._replacement = None
            self._outdated.clear()
        else:
            self._pause(ended, worker.started_s)

    def _pause(self, ended: str, started_s: float) -> None:
        now_s = self._clock()
        pause_s = self._pauses.after(now_s - started_s)
        self._start_again_s = now_s + pause_s
        _tell(
            f"{ended}: another one starts in {pause_s:g} s" if pause_s else f"{ended}: another one starts now"
        )

    # what is done

    def _step(self) -> bool:
        """Do what there is to do now; return whether there will be more."""
        self._reap()
        now_s = self._clock()
        for worker in self._workers:
            kill_at_s = self._kill_at_s(worker)
            if kill_at_s is not None and now_s >= kill_at_s:
                _tell(
                    f" * worker {worker.pid} takes too long to {'serve' if worker.ends_at_s is None else 'end'}"
                )
                worker.kill()
        if self._stopping:
            return bool(self._workers)
        self._exchange()
        self._adjust()
        return True

    def _exchange(self) -> None:
        """Start a worker for one that is outdated; one at a time, so that there is no more than one too many."""
        if self._has_outdated() and self._clock() >= self._start_again_s:
            self._replacement = self._start_one()

    def _has_outdated(self) -> bool:
        """Return whether a worker waits to be exchanged, and none is being exchanged or about to end."""
        nobody_else = self._replacement is None and len(self._staying()) == len(self._workers)
        return bool(self._outdated) and self._proved and nobody_else

    def _adjust(self) -> None:
        while self._missing() > 0 and self._clock() >= self._start_again_s:
            self._start_one()
        for worker in self._staying()[: -self._missing() if self._missing() < 0 else 0]:
            self._end(worker)

    def _missing(self) -> int:
        """Return how many workers there are too few; negative: too many."""
        wanted = self._wanted if self._proved else 1
        there = [worker for worker in self._staying() if worker is not self._replacement]
        return wanted - len(there)

    def _staying(self) -> list[Worker]:
        return [worker for worker in self._workers if worker.ends_at_s is None]

    def _start_one(self) -> Worker | None:
        try:
            worker = self._start(self._wanted, self._clock())
        except OSError as error:
            self._pause(f" * a worker could not be started ({error})", self._clock())
            return None
        self._workers.append(worker)
        return worker

    def _end(self, worker: Worker) -> None:
        if worker in self._outdated:
            self._outdated.remove(worker)
        worker.end(self._clock() + self._graceful_s)

    def _stop(self, exit_status: int) -> None:
        if not self._stopping:
            self._stopping = True
            self._exit_status = exit_status
            for worker in self._workers:
                self._end(worker)


class Terminal:
    """The terminal in which the supervisor was started, if it was in one."""

    def __init__(self) -> None:
        # With nohup it does not matter what becomes of the terminal.
        self._matters = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN and _has_terminal()

    def is_gone(self) -> bool:
        """Return whether it was closed meanwhile."""
        return self._matters and not _has_terminal()


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _how(status: int) -> str:
    """Say how a process ended."""
    if status >= 0:
        return f"with status {status}"
    try:
        return f"by {signal.Signals(-status).name}"
    except ValueError:
        return f"by signal {-status}"


def _tell(line: str, *, err: bool = True) -> None:
    with suppress(OSError):  # the output is on a full disk, or nobody reads it
        click.echo(line, err=err)
