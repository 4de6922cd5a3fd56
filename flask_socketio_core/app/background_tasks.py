"""Background tasks that were started before a server forked its workers: where they run, nobody is connected."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..contracts.concurrency.jobs import describe
from ..contracts.fork import ProcessFlag, register_at_fork

if TYPE_CHECKING:
    from ..contracts import Task


class StartedTasks:
    """The background tasks of one process; a forked child learns which its parent had.

    Where Python knows of the fork, it has marked all threads as ended in the child, so that what ran is noted before.
    """

    def __init__(self) -> None:
        self._here = ProcessFlag(is_set=True)
        self._names: weakref.WeakKeyDictionary[Task, str] = weakref.WeakKeyDictionary()
        self._at_fork: list[str] | None = None
        self._inherited: list[str] = []
        register_at_fork(before=self._note_running, after_in_parent=self._forget_noted)

    def add(self, task: Task, target: Callable[..., object]) -> None:
        """Take note of a task that was just started."""
        self._notice_fork()
        self._names[task] = f"{getattr(target, '__module__', '?')}.{describe(target)}"

    def take_inherited(self) -> list[str]:
        """Name the functions that ran as tasks when this process was forked, once."""
        self._notice_fork()
        inherited, self._inherited = self._inherited, []
        return inherited

    def _note_running(self) -> None:
        self._notice_fork()
        self._at_fork = self._running()

    def _forget_noted(self) -> None:
        self._at_fork = None  # the next fork may come without notice

    def _running(self) -> list[str]:
        return [name for task, name in list(self._names.items()) if task.is_alive()]

    def _notice_fork(self) -> None:
        if not self._here.is_set():
            self._here.set()
            self._inherited += self._running() if self._at_fork is None else self._at_fork
            self._at_fork = None
            self._names.clear()
