"""How the workers of a process are shared between its connections. No I/O.

=========================================  ==================================================================
a connection whose handlers                gets a worker for one more
=========================================  ==================================================================
are none                                   the next free one, before all others
are fewer than it may have                 as long as nine tenths of all workers are enough, or else in turn; not
                                           before those that got one have begun, but for the first few
are as many as it may have                 when one of them has ended
=========================================  ==================================================================

What has to wait does so in its connection's own queue. So a client that sends a lot waits behind what it has sent, and
the last tenth of the workers is there for those who have none.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol

from .mailbox import Mailbox

if TYPE_CHECKING:
    from ..contracts import Lock

Job = Callable[[], object]

DEFAULT_SHARE = 100
"""Most handlers of one connection, unless the option says otherwise; more than browsers have requests under way."""

MOST_AHEAD = 8
"""So many jobs of one connection may have a worker coming and not have begun: what another one sends waits behind these
only, not behind a share's worth. The last of them hands over the next one when it begins, and so on, one by one."""


class Jobs(Protocol):
    """The jobs of one connection, which keeps these for :class:`Workers`."""

    backlog: list[None]
    """One for each job that has not ended yet: append and pop need no lock."""

    waiting: deque[Job] | None
    """What of the backlog has no worker."""

    ahead: bool
    """Whether a job that waited has got a worker and has not begun. It looks after what waits when it begins."""

    def __hash__(self) -> int: ...


class Workers:
    """Start jobs of connections, each of which calls :meth:`ended` at its end. Thread-safe.

    A job that need not wait costs no lock: what is counted is the length of a connection's ``backlog``, which has the
    jobs that wait as well, and of a deque; appending and popping are atomic.

    :param spawn: starts a job on a worker.
    :param lock: guards what waits.
    :param most: workers of the process.
    :param share: most jobs of one connection at a time; ``None`` for the default.
    """

    def __init__(self, spawn: Callable[[Job], None], lock: Lock, most: int, share: int | None) -> None:
        self._spawn = spawn
        self._lock = lock
        self._share = max(min(DEFAULT_SHARE, most // 5), 2) if share is None else share
        self._shared = most - (most + 9) // 10
        self._running: deque[None] = deque()  # not a list: that would allocate memory anew for each job
        # Connections that may have one more, and wait for a worker.
        self._turns: OrderedDict[Jobs, None] = OrderedDict()

    def start(self, jobs: Jobs, job: Job) -> None:
        """Run a job soon, or when it is its connection's turn, in the order given; its backlog has it already."""
        count = len(jobs.backlog)
        if jobs.waiting is None and (
            count == 1 or (count < MOST_AHEAD and count <= self._share and len(self._running) < self._shared)
        ):
            self._running.append(None)
            try:  # what _hand_over does, without the call
                self._spawn(job)
            except BaseException:
                self._running.pop()
                raise
            return
        with self._lock:
            if jobs.waiting is None:
                jobs.waiting = deque()
            jobs.waiting.append(job)
        if not jobs.ahead:  # a job that ended meanwhile has not seen it
            self._start_waiting(jobs)

    @property
    def busy(self) -> int:
        """How many jobs have a worker, or one coming."""
        return len(self._running)

    def begin(self) -> None:
        """Count a job that somebody else runs."""
        self._running.append(None)

    def ended(self, jobs: Jobs) -> None:
        """Count a job no longer, which the backlog has no more, and start what waited for that."""
        if not self._running:
            return  # this is a child that was forked by a handler: what waits is the parent's
        self._running.pop()
        if (jobs.waiting is not None and not jobs.ahead) or self._turns:
            self._start_waiting(jobs)

    def freed(self, jobs: Jobs) -> None:
        """Have a worker back whose job is not over, and start what waited for one; :meth:`ended_without` follows."""
        if not self._running:
            return  # as above
        self._running.pop()
        if self._turns:
            self._start_waiting(jobs)

    def ended_without(self, jobs: Jobs) -> None:
        """Start what waited for the end of a job that had no worker any more; the backlog has it no more."""
        if (jobs.waiting is not None and not jobs.ahead) or self._turns:
            self._start_waiting(jobs)

    def hurry(self, jobs: Jobs, urgent: Callable[[Job], bool]) -> None:
        """Let some jobs wait no longer for the others of their connection, only for each other."""
        with self._lock:
            waiting = jobs.waiting or deque()
            hurried = [job for job in waiting if urgent(job)]
            jobs.waiting = deque(job for job in waiting if not urgent(job)) or None
            if jobs.waiting is None:
                self._turns.pop(jobs, None)
        lane = Mailbox(self._hand_over, self._lock)
        for job in hurried:
            lane.put(partial(_run, job))

    def _hand_over(self, job: Job) -> None:
        self._running.append(None)
        try:
            self._spawn(job)
        except BaseException:  # no thread left
            self._running.pop()
            raise

    def _start_waiting(self, jobs: Jobs) -> None:
        while (taken := self._take_next(jobs)) is not None:
            first, job = taken
            try:
                self._hand_over(partial(self._run_ahead, first, job))
            except BaseException:
                first.ahead = False
                raise
            if (jobs.waiting is None or jobs.ahead) and not self._turns:
                return

    def _run_ahead(self, jobs: Jobs, job: Job) -> None:
        jobs.ahead = False  # first: who adds a job, or ends one, and sees it true leaves the rest to this
        try:
            if jobs.waiting is not None or self._turns:
                self._start_waiting(jobs)
        finally:
            job()

    def _take_next(self, jobs: Jobs) -> tuple[Jobs, Job] | None:
        """Return a job that may start now, and whose it is.

        :param jobs: has a new one that waits, or one less that runs.
        """
        turns = self._turns
        with self._lock:
            first = jobs
            waiting = jobs.waiting
            running = len(jobs.backlog) - len(waiting) if waiting else 1
            if running:
                if waiting and not jobs.ahead and running < self._share:
                    turns.setdefault(jobs)
                if not turns or len(self._running) >= self._shared:
                    return None
                first = next(iter(turns))
                waiting = first.waiting
            assert waiting
            turns.pop(first, None)
            job = waiting.popleft()
            first.ahead = True
            if not waiting:
                first.waiting = None
            return first, job


def _run(job: Job) -> None:
    """Run a job and let the next one begin, whether it is over or not."""
    job()
