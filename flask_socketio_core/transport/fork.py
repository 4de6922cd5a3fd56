"""What a forked child forgets: connections, clients and timers belong to the parent."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forgetful(Protocol):
    """Something of which a child must have nothing."""

    def forget(self) -> None:
        """Start afresh in a forked child, touching nothing that the parent uses. Runs before anything else there."""

    def __hash__(self) -> int: ...


_forgetful: weakref.WeakSet[Forgetful] = weakref.WeakSet()


def forget_after_fork(thing: Forgetful) -> None:
    """Have ``thing.forget()`` called in every child forked from now on, as long as it lives."""
    _forgetful.add(thing)


def _forget_all() -> None:
    for thing in list(_forgetful):
        thing.forget()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_forget_all)
