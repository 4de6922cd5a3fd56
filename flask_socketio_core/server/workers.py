"""How the workers of a process are shared between its connections. No I/O.

=========================================  ==================================================================
a connection whose handlers                gets a worker for one more
=========================================  ==================================================================
are none                                   the next free one, before all others
are fewer than it may have                 as long as nine tenths of all workers are enough, or else in turn; not
                                           before those that got one have begun, but for a few
are as many as it may have                 when one of them has ended
=========================================  ==================================================================

What has to wait does so in its connection's own queue. So whoever sends a lot waits behind what he has sent, and the
last tenth of the workers is there for those who have none.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from .mailbox import Mailbox

if TYPE_CHECKING:
    from ..contracts import Lock
    from ..transport.session import Session

Job = Callable[[], object]

DEFAULT_SHARE = 100
"""Most handlers of one connection, unless the option says otherwise; more than browsers have requests under way."""

MOST_AHEAD = 4
"""So many jobs of one connection may have a worker coming and not have begun, and as many started at once: what another
one sends waits behind these only, not behind a share's worth."""


class Workers:
    """Start jobs of sessions, each of which calls :meth:`ended` at its end. Thread-safe.

    A job that need not wait costs no lock: what is counted is the length of a session's ``backlog``, which has the jobs
    that wait as well, and of a deque; appending and popping are atomic.

    :param spawn: starts a job on a worker.
    :param lock: guards what waits.
    :param most: workers of the process.
    :param share: most jobs of one session at a time; ``None`` for the default.
    """

    def __init__(self, spawn: Callable[[Job], None], lock: Lock, most: int, share: int | None) -> None:
        self._spawn = spawn
        self._lock = lock
        self._share = max(min(DEFAULT_SHARE, most // 5), 2) if share is None else share
        self._shared = most - (most + 9) // 10
        self._running: deque[None] = deque()  # not a list: that would allocate memory anew for each job
        # Sessions that may have one more, and wait for a worker.
        self._turns: OrderedDict[Session, None] = OrderedDict()

    def start(self, session: Session, job: Job) -> None:
        """Run a job soon, or when it is its session's turn, in the order given; its backlog has it already."""
        count = len(session.backlog)
        if session.waiting is None and (
            count == 1 or (count <= MOST_AHEAD and count <= self._share and len(self._running) < self._shared)
        ):
            self._running.append(None)
            try:  # what _hand_over does, without the call
                self._spawn(job)
            except BaseException:
                self._running.pop()
                raise
            return
        with self._lock:
            if session.waiting is None:
                session.waiting = deque()
            session.waiting.append(job)
        self._start_waiting(session)  # a job that ended meanwhile has not seen it

    def begin(self) -> None:
        """Count a job that somebody else runs."""
        self._running.append(None)

    def ended(self, session: Session) -> None:
        """Count a job no longer, which the backlog has no more, and start what waited for that."""
        if not self._running:
            return  # this is a child that was forked by a handler: what waits is the parent's
        self._running.pop()
        if session.waiting is not None or self._turns:
            self._start_waiting(session)

    def hurry(self, session: Session, urgent: Callable[[Job], bool]) -> None:
        """Let some jobs wait no longer for the others of their session, only for each other."""
        with self._lock:
            waiting = session.waiting or deque()
            hurried = [job for job in waiting if urgent(job)]
            session.waiting = deque(job for job in waiting if not urgent(job)) or None
            if session.waiting is None:
                self._turns.pop(session, None)
        lane = Mailbox(self._hand_over, self._lock)
        for job in hurried:
            lane.put(job)

    def _hand_over(self, job: Job) -> None:
        self._running.append(None)
        try:
            self._spawn(job)
        except BaseException:  # no thread left
            self._running.pop()
            raise

    def _start_waiting(self, session: Session) -> None:
        while (job := self._take_next(session)) is not None:
            self._hand_over(job)

    def _run_ahead(self, session: Session, job: Job) -> None:
        with self._lock:
            session.ahead -= 1
        try:
            if session.waiting is not None or self._turns:
                self._start_waiting(session)
        finally:
            job()

    def _may_start(self, session: Session) -> bool:
        return session.ahead < MOST_AHEAD and self._count_running(session) < self._share

    def _take_next(self, session: Session) -> Job | None:
        """Return a job that may start now.

        :param session: has a new one that waits, or one less that runs.
        """
        turns = self._turns
        with self._lock:
            running = self._count_running(session)
            if session.waiting and not running:
                first = session
            else:
                if session.waiting and self._may_start(session):
                    turns.setdefault(session)
                if not turns or len(self._running) >= self._shared:
                    return None
                first = next(iter(turns))
            turns.pop(first, None)
            waiting = first.waiting
            assert waiting
            job = waiting.popleft()
            first.ahead += 1
            if not waiting:
                first.waiting = None
            elif self._may_start(first):
                turns[first] = None  # behind the others
            return partial(self._run_ahead, first, job)

    @staticmethod
    def _count_running(session: Session) -> int:
        return len(session.backlog) - len(session.waiting or ())
