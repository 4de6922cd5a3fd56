"""Background tasks that were started before a server forked its workers: where they run, nobody is connected."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

from .jobs import describe

if TYPE_CHECKING:
    from ..contracts import Task


class StartedTasks:
    """The background tasks of one process that still run; a forked child learns which its parent had."""

    def __init__(self) -> None:
        self._names: weakref.WeakKeyDictionary[Task, str] = weakref.WeakKeyDictionary()
        self._running: list[str] = []
        self._inherited: list[str] = []
        _registries.add(self)

    def add(self, task: Task, target: Callable[..., object]) -> None:
        """Take note of a task that was just started."""
        self._names[task] = f"{getattr(target, '__module__', '?')}.{describe(target)}"

    def take_inherited(self) -> list[str]:
        """Name the functions that ran as tasks when this process was forked, once."""
        inherited, self._inherited = self._inherited, []
        return inherited

    def before_fork(self) -> None:
        """Note what runs now; the child cannot tell what has ended from what the fork has ended."""
        self._running = [name for task, name in list(self._names.items()) if task.is_alive()]

    def after_fork_in_child(self) -> None:
        """Begin with the parent's tasks as news."""
        self._inherited = [*self._inherited, *self._running]
        self._names.clear()


_registries: weakref.WeakSet[StartedTasks] = weakref.WeakSet()


def _before_fork() -> None:
    for registry in list(_registries):
        registry.before_fork()


def _after_fork_in_child() -> None:
    for registry in list(_registries):
        registry.after_fork_in_child()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork_in_child)
