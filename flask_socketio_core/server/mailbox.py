"""Run the handlers of one connection one at a time and in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ..contracts import Lock

Job = Callable[[], object]


class JobQueue(Protocol):
    """What runs the jobs of one connection in order."""

    def put(self, job: Job) -> None:
        """Run a job after those before it."""

    def go_on(self) -> None:
        """Learn that a job is over that had returned ``True``."""


class Mailbox:
    """Jobs of one connection, run in order on pooled workers, one worker at a time.

    Each job is spawned by itself, so that it gets a context of its own and a busy client cannot keep a worker. One that
    returns ``True`` is not over before :meth:`go_on`, which may even come earlier.

    :param spawn: starts a job on a worker.
    :param lock: guards the queue.
    """

    __slots__ = ("_jobs", "_lock", "_running", "_spawn")

    def __init__(self, spawn: Callable[[Job], None], lock: Lock) -> None:
        self._spawn = spawn
        self._lock = lock
        self._jobs: deque[Job] = deque()
        self._running = False

    @property
    def busy(self) -> bool:
        """Whether a job runs, or is about to."""
        return self._running

    def put(self, job: Job) -> None:
        """Run a job after those before it."""
        with self._lock:
            self._jobs.append(job)
            if self._running:
                return
            self._running = True
        self._spawn(self._run_next)

    def go_on(self) -> None:
        """Run the next job."""
        with self._lock:
            self._running = bool(self._jobs)
            again = self._running
        if again:
            self._spawn(self._run_next)

    def _run_next(self) -> None:
        job = self._jobs.popleft()
        later: object = False
        try:
            later = job()
        finally:
            if later is not True:
                self.go_on()
