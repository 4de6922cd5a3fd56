"""Short jobs that a hub or a reader causes and must not do itself: log lines, what observers are told."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..contracts import AsyncMode

Job = Callable[[], object]

MOST_AT_ONCE = 100
"""So many jobs are done before a green loop's other work gets its turn."""


class Serial:
    """Do jobs one after the other, in the order in which they came, on workers.

    :param mode: whose workers do them.
    """

    def __init__(self, mode: AsyncMode) -> None:
        self._mode = mode
        self.forget()

    def forget(self) -> None:
        """Start afresh in a forked child: the jobs are the parent's."""
        self._lock = self._mode.create_lock()
        self._waiting: deque[Job] = deque()
        self._busy = False

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, job: Job) -> None:
        """Have a job done soon."""
        with self._lock:
            self._waiting.append(job)
            if self._busy:
                return
            self._busy = True
        self._go_on()

    def flush(self, timeout_s: float) -> None:
        """Wait until what was put so far is done.

        :param timeout_s: how long, seconds.
        """
        if self._busy:
            done = self._mode.create_event()
            self.put(done.set)
            done.wait(timeout_s)

    def _go_on(self) -> None:
        try:
            self._mode.spawn(self._do_some)
        except Exception:  # noqa: BLE001  # no thread left, say: no reason to fail here, the next job tries again
            self._busy = False

    def _do_some(self) -> None:
        try:
            for _ in range(MOST_AT_ONCE):
                with self._lock:
                    if not self._waiting:
                        self._busy = False
                        return
                    job = self._waiting.popleft()
                job()
        except BaseException:
            self._go_on()  # the job's own error is the mode's to report
            raise
        self._go_on()
