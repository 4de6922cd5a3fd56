"""A pool of OS threads that is cheap for short jobs and generous to jobs that block.

Waking one thread per job is what a burst of short jobs pays for most: the threads then queue for the interpreter's
lock (35 us per job of 5 us in bursts of 500, against 8 us here). So only a few threads are awake at first, and more
are added when jobs wait although the processor does not work: then the awake ones are blocked.

The thread that reads the WebSockets may even run the jobs itself (:meth:`ThreadPool.help`), which needs no switch at
all. When one of them blocks, another thread takes the reading over within 10 ms, and the jobs go to the pool for a
while. On a machine so busy that a working thread looks like a blocked one, it takes 25 ms to tell them apart, and
85 ms while other threads take jobs.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..fork import register_at_fork
from .jobs import Job, log_failure, run_job

__all__ = ["ThreadPool"]


AWAKE_AT_FIRST = 2
STALL_S = 0.005
"""How long jobs may wait before it is asked whether the awake threads are blocked, seconds: Python's own switch
interval, within which a runnable thread gets its turn."""
BUSY_SHARE = 0.7
"""Share of one processor from which on more threads would not help."""
PATIENCE = 4
"""After how many times :data:`STALL_S` without any job taken there are more threads although the processor works."""
HELP_PATIENCE = 16
"""After how many times :data:`STALL_S` without a job of its own a helping thread is taken for blocked although others
take jobs and the processor works: they may have kept it from its turn."""
GROWTH = 0.5
"""By which share the number of awake threads grows at each stall."""
DECAY_S = 1.0
"""How often the number of awake threads is lowered by a tenth, seconds."""
HELP_BATCH = 64
"""Most jobs that a helping thread runs before it returns to its own work."""
HELP_LINGER_S = 0.02
"""How long the supervisor keeps watch after the last help, seconds: to wake it costs as much as to wake a worker."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 16.0
"""How long nobody helps after a job blocked a helper, seconds; twice as long each time, until help went well again."""
IDLE_S = 10.0
"""How long a thread waits for a job before it ends, seconds."""


class _Usage:
    """What the process has had of the processor until now."""

    __slots__ = ("cpu_s", "preempted", "taken_at_s")

    def __init__(self) -> None:
        self.taken_at_s = time.monotonic()
        self.cpu_s = time.process_time()
        self.preempted = count_preemptions()

    def was_busy(self) -> bool:
        """Return whether the process has worked since then as much as it was let: more threads would not help.

        On a machine that others keep busy, too, it gets only a part of a processor; then it is preempted.
        """
        passed_s = max(time.monotonic() - self.taken_at_s, STALL_S)
        worked = time.process_time() - self.cpu_s >= BUSY_SHARE * passed_s
        return worked or count_preemptions() > self.preempted


def count_preemptions() -> int:
    """Count how often a thread of this process had to make room for another process, where that can be known."""
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


class _Gate:
    """Where a thread sleeps until it is let through once."""

    __slots__ = ("_lock", "closing")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self.closing = False

    def wait(self, timeout_s: float = -1) -> bool:
        """Sleep until :meth:`open`; ``False`` if the time was over first."""
        return self._lock.acquire(timeout=timeout_s)

    def open(self) -> None:
        """Let the thread through, once per :meth:`wait`."""
        self._lock.release()


class ThreadPool:
    """Run jobs on reused daemon threads.

    :param max_workers: most threads.
    :param on_saturated: called, in a thread that may block, when that many are blocked and jobs wait; again only
        after the pool was idle.
    """

    def __init__(self, max_workers: int, on_saturated: Callable[[], object]) -> None:
        self._max = max_workers
        self._on_saturated = on_saturated
        self._reset()
        register_at_fork(after_in_child=self._reset)  # the threads and their jobs stay in the parent

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._jobs: deque[Job] = deque()
        self._sleeping: list[_Gate] = []  # the last one slept least: it is woken first, the first one may end
        self._awake = 0
        self._target = min(AWAKE_AT_FIRST, self._max)
        self._next_decay_s = 0.0
        self._taken = 0
        self._supervisor: _Gate | None = None
        self._supervised = False
        self._saturated = False
        self._closing = False
        self._helper = 0
        self._help_over: Callable[[], object] | None = None
        self._taken_by_helpers = 0
        self._helped_s = 0.0
        self._help_again_s = 0.0
        self._pause_s = FIRST_PAUSE_S

    @property
    def threads(self) -> int:
        """How many threads there are, sleeping ones included."""
        with self._lock:
            return self._awake + len(self._sleeping)

    def submit(self, job: Job) -> None:
        """Run a job soon; jobs are taken in the order given."""
        self._jobs.append(job)
        if self._helper == threading.get_ident():
            return  # it runs the job itself, or wakes others for it, when it is back in help()
        self._wake_some()

    def close(self) -> None:
        """Let sleeping threads end, and busy ones after the jobs that there are; a later job starts new ones."""
        with self._lock:
            self._closing = True
            sleeping, self._sleeping = self._sleeping, []
        for gate in sleeping:
            gate.closing = True
            gate.open()

    # the thread that helps

    @contextmanager
    def helper(self) -> Iterator[None]:
        """Let this thread submit jobs without waking anybody; it calls :meth:`help` afterwards."""
        self._helper = threading.get_ident()
        try:
            yield
        finally:
            self._helper = 0

    def help(self, take_over: Callable[[], object]) -> bool:
        """Run waiting jobs in this thread, as long as they do not block; otherwise have the pool run them.

        :param take_over: has another thread do what this one does besides; called when a job blocks, with a lock
            held; it raises ``RuntimeError`` if there is no thread left.
        :returns: ``False`` if that happened: this thread's own work is in other hands.
        """
        jobs = self._jobs
        if not jobs:
            return True
        with self._lock:
            helps = (
                self._awake < self._max and self._help_over is None and time.monotonic() >= self._help_again_s
            )
            if helps:
                self._awake += 1
                self._help_over = take_over
        if not helps:
            for _ in range(min(len(jobs), self._max)):
                if not self._wake_some():
                    break
            return True
        if not self._supervised:
            self._supervise()
        for _ in range(HELP_BATCH):
            try:
                job = jobs.popleft()
            except IndexError:
                break
            self._taken_by_helpers += 1
            self._run(job)
            del job
            if self._help_over is not take_over:
                break
        with self._lock:
            self._awake -= 1
            still = self._help_over is take_over
            if still:
                self._help_over = None
                self._helped_s = time.monotonic()
        if jobs:  # more than a batch: they must not wait for the supervisor
            self._wake_some()
        return still

    def _end_help(self, take_over: Callable[[], object]) -> None:
        """Relieve a helper of its own work: a job blocks it."""
        with self._lock:
            if take_over is not self._help_over:
                return  # it has just come back
            try:
                take_over()
            except RuntimeError:  # there is no thread left: the helper goes on as soon as its job lets it
                return
            self._help_over = None
            self._help_again_s = time.monotonic() + self._pause_s
            self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)

    # workers

    def _wake_some(self) -> bool:
        """Wake a thread; ``False`` if enough are awake: then it is watched whether they are blocked."""
        if self._awake < self._target and self._wake_one():
            return True
        if not self._supervised:
            self._supervise()
        return False

    def _wake_one(self) -> bool:
        with self._lock:
            self._decay()
            if self._awake >= self._target:
                return False
            self._awake += 1
            self._closing = False
            gate = self._sleeping.pop() if self._sleeping else None
        if gate is not None:
            gate.open()
        elif not _start(self._work, "socketio-worker"):
            with self._lock:
                self._awake -= 1
            return False
        return True

    def _work(self) -> None:
        gate = _Gate()
        while True:
            self._run_waiting()
            with self._lock:
                # In this order: a job submitted after this line sees one thread less, and wakes one.
                self._awake -= 1
                if self._jobs and self._awake < self._target:
                    self._awake += 1
                    continue
                if not self._awake:
                    self._saturated = False
                if self._closing:
                    return
                self._sleeping.append(gate)
            if not self._sleep(gate):
                return

    def _sleep(self, gate: _Gate) -> bool:
        if not gate.wait(IDLE_S):
            with self._lock:
                if gate in self._sleeping:
                    self._sleeping.remove(gate)
                    return False
            gate.wait()  # somebody was just about to open it
        return not gate.closing

    def _run_waiting(self) -> None:
        jobs = self._jobs
        while self._awake <= self._target:
            try:
                job = jobs.popleft()
            except IndexError:
                return
            self._run(job)
            del job  # what it refers to must not live until the next one

    def _run(self, job: Job) -> None:
        self._taken += 1
        try:
            run_job(job)
        except KeyboardInterrupt as error:  # raised by the job itself: signals go to the main thread
            log_failure(error, "a job")

    # how many of them are awake

    def _decay(self) -> None:
        now_s = time.monotonic()
        if self._target > AWAKE_AT_FIRST and now_s >= self._next_decay_s:
            self._target = max(AWAKE_AT_FIRST, int(self._target * 0.9))
            self._next_decay_s = now_s + DECAY_S

    def _supervise(self) -> None:
        with self._lock:
            if self._supervised:
                return
            self._supervised = True
            gate = self._supervisor
        if gate is not None:
            gate.open()
        elif not _start(self._watch, "socketio-worker-supervisor"):
            self._supervised = False

    def _watch(self) -> None:
        gate = self._supervisor = _Gate()
        while True:
            stalls = help_stalls = 0
            while self._has_backlog():
                taken, help_over, usage = self._taken, self._help_over, _Usage()
                helped = self._taken_by_helpers
                waiting = bool(self._jobs) or help_over is not None
                time.sleep(STALL_S)
                stalls = stalls + 1 if waiting and taken == self._taken else 0
                help_stalls = (
                    help_stalls + 1 if help_over is not None and helped == self._taken_by_helpers else 0
                )
                busy = usage.was_busy()
                blocked = stalls >= (PATIENCE if busy else 1)
                helper_blocked = blocked or help_stalls >= (HELP_PATIENCE if busy else 1)
                if helper_blocked and help_over is not None:
                    self._end_help(help_over)
                if self._jobs and (not busy or stalls >= (1 if help_over is None else PATIENCE)):
                    self._grow()
            if not gate.wait(IDLE_S):
                with self._lock:
                    if not self._supervised:
                        self._supervisor = None
                        return
                gate.wait()

    def _has_backlog(self) -> bool:
        with self._lock:
            self._supervised = False  # in this order: a job that comes now asks for supervision again
            now_s = time.monotonic()
            self._supervised = (
                bool(self._jobs) or self._help_over is not None or now_s < self._helped_s + HELP_LINGER_S
            )
            if self._pause_s > FIRST_PAUSE_S and now_s > self._help_again_s + self._pause_s:
                self._pause_s = FIRST_PAUSE_S
            return self._supervised

    def _grow(self) -> None:
        with self._lock:
            waiting = len(self._jobs)
            saturated = waiting > 0 and self._awake >= self._max and not self._saturated
            self._saturated = self._saturated or saturated
            self._target = min(self._max, self._target + max(1, int(self._target * GROWTH)))
            self._next_decay_s = time.monotonic() + DECAY_S
            missing = min(waiting, self._target - self._awake)
        for _ in range(missing):
            self._wake_one()
        if saturated:
            self._on_saturated()


def _start(target: Callable[[], None], name: str) -> bool:
    """Start a daemon thread; ``False`` if there can be none."""
    try:
        threading.Thread(target=target, name=name, daemon=True).start()
    except RuntimeError:  # the interpreter is ending, or the system has no thread left: the others go on
        return False
    return True
