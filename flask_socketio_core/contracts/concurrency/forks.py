"""Background tasks that were started before a server forked its workers: where they run, nobody is connected."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

from .jobs import describe

if TYPE_CHECKING:
    from ..async_mode import Task

__all__ = ["StartedTasks"]


class StartedTasks:
    """The background tasks of one process; a forked child learns which its parent had.

    The child knows itself by its process id, because uWSGI forks past Python's hooks. Where these run, Python has
    marked all threads as ended in the child, so that what ran is noted before.
    """

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._names: weakref.WeakKeyDictionary[Task, str] = weakref.WeakKeyDictionary()
        self._at_fork: list[str] | None = None
        self._inherited: list[str] = []
        _registries.add(self)

    def add(self, task: Task, target: Callable[..., object]) -> None:
        """Take note of a task that was just started."""
        self._notice_fork()
        self._names[task] = f"{getattr(target, '__module__', '?')}.{describe(target)}"

    def take_inherited(self) -> list[str]:
        """Name the functions that ran as tasks when this process was forked, once."""
        self._notice_fork()
        inherited, self._inherited = self._inherited, []
        return inherited

    def before_fork(self) -> None:
        """Note what runs."""
        self._notice_fork()
        self._at_fork = self._running()

    def after_fork_in_parent(self) -> None:
        """Forget what was noted: the next fork may come without notice."""
        self._at_fork = None

    def _running(self) -> list[str]:
        return [name for task, name in list(self._names.items()) if task.is_alive()]

    def _notice_fork(self) -> None:
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._inherited += self._running() if self._at_fork is None else self._at_fork
            self._at_fork = None
            self._names.clear()


_registries: weakref.WeakSet[StartedTasks] = weakref.WeakSet()


def _before_fork() -> None:
    for registry in list(_registries):
        registry.before_fork()


def _after_fork_in_parent() -> None:
    for registry in list(_registries):
        registry.after_fork_in_parent()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent)
