"""What a fork changes: which objects start afresh in the child, and how one knows in which process it is.

Python tells of a fork (:func:`register_at_fork`). uWSGI forks past that, unless it was started with
``py-call-osafterfork``; what has to be right there, too, asks (:class:`ProcessFlag`, :class:`OncePerProcess`).
"""

from __future__ import annotations

import itertools
import os
import types
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from .concurrency.jobs import describe, log_failure

if TYPE_CHECKING:
    from .async_mode import AsyncMode, Event

__all__ = ["OncePerProcess", "ProcessFlag", "register_at_fork"]

Method = Callable[[], object]


def register_at_fork(
    *,
    before: Method | None = None,
    after_in_parent: Method | None = None,
    after_in_child: Method | None = None,
) -> None:
    """Call bound methods around every fork from now on, as long as their objects live.

    As :func:`os.register_at_fork`, which keeps what it is given for ever: ``before`` in the reverse of the order of
    registration, the others in this order. ``after_in_child`` runs before anything else there; it must neither touch
    what the parent goes on using, nor take a lock that another of its threads may have held. Does nothing on Windows,
    which does not fork.

    :param before: in the parent, just before it forks.
    :param after_in_parent: in the parent, afterwards.
    :param after_in_child: in the child.
    """
    _before.add(before)
    _after_in_parent.add(after_in_parent)
    _after_in_child.add(after_in_child)


class ProcessFlag:
    """A flag that one process has set: in a child that was forked since then it is not set."""

    __slots__ = ("_pid",)

    def __init__(self, *, is_set: bool = False) -> None:
        self._pid = os.getpid() if is_set else 0

    def is_set(self) -> bool:
        """Return whether this process has set it."""
        return self._pid == os.getpid()

    def set(self) -> None:
        """Set it, in this process."""
        self._pid = os.getpid()

    def clear(self) -> None:
        """Have it set in no process."""
        self._pid = 0


class OncePerProcess(ProcessFlag):
    """A flag for what one task does in each process, while those that come meanwhile wait for its end.

    :param mode: the async mode of the tasks.
    """

    def __init__(self, mode: AsyncMode, *, is_set: bool = False) -> None:
        super().__init__(is_set=is_set)
        self._mode = mode
        self._forget()
        register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        # Nobody goes on in a child with what a task of the parent was about to do.
        self._lock = self._mode.create_lock()
        self._doing: Event | None = None

    def run(self, act: Callable[[], object]) -> None:
        """Do it, unless that was done, or wait for the task that does.

        :param act: does it and sets the flag; as long as it has not, it is to be done.
        """
        mine = self._mode.create_event()
        with self._lock:
            if self.is_set():
                return
            doing, self._doing = self._doing, self._doing or mine
        if doing is not None:
            doing.wait()
            return
        try:
            act()
        finally:
            with self._lock:
                self._doing = None
            mine.set()


class _Methods:
    """Methods that are called together, in the order in which they were added."""

    def __init__(self, *, backwards: bool = False) -> None:
        self._backwards = backwards
        self._numbers = itertools.count()
        # No WeakMethod: when the interpreter ends, its callback may outlive it, and complains.
        self._methods: dict[int, tuple[weakref.ref[object], Callable[..., object]]] = {}

    def add(self, method: Method | None) -> None:
        if method is not None:
            number, bound = next(self._numbers), cast("types.MethodType", method)
            owner = weakref.ref(bound.__self__, lambda _: self._methods.pop(number, None))
            self._methods[number] = owner, bound.__func__

    def call(self) -> None:
        found = list(self._methods.values())
        for reference, function in reversed(found) if self._backwards else found:
            owner = reference()
            if owner is not None:
                method = types.MethodType(function, owner)
                try:
                    method()
                except Exception as error:  # noqa: BLE001  # the others have to be called all the same
                    log_failure(error, f"{describe(method)}, called because of a fork,")


_before = _Methods(backwards=True)
_after_in_parent = _Methods()
_after_in_child = _Methods()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before.call, after_in_parent=_after_in_parent.call, after_in_child=_after_in_child.call
    )
