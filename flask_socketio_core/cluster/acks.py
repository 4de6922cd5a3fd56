"""Acknowledgements that are awaited from clients elsewhere, and those that others await from ours."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..contracts import Lock
    from ..contracts.clients import AckCallback

NUMBER_BITS = 53
"""Of an acknowledgement's number: as many as every JSON reader takes for a whole number."""


@dataclass(frozen=True, slots=True)
class Awaited:
    """One acknowledgement that is awaited.

    :param to: the sid or room that was asked.
    :param on_gone: called instead, if the client leaves before it acknowledges; may be ``None``.
    """

    to: Any
    on_ack: AckCallback
    on_gone: Callable[[], Any] | None
    expires_at: float


class PendingAcks:
    """Number what is awaited, in a way that nobody can guess, and let none stay for ever."""

    def __init__(self, lock: Lock) -> None:
        self._lock = lock
        self._awaited: dict[int, Awaited] = {}

    def add(self, awaited: Awaited) -> int:
        """Keep one and return its number."""
        with self._lock:
            while (number := secrets.randbits(NUMBER_BITS)) in self._awaited:
                pass
            self._awaited[number] = awaited
            return number

    def forget(self, number: int) -> None:
        """Await one no longer."""
        with self._lock:
            self._awaited.pop(number, None)

    def take(self, number: int, sender: Any) -> Awaited | None:
        """Return one and forget it; ``None`` if it is not awaited (any more), or of somebody else."""
        with self._lock:
            awaited = self._awaited.get(number)
            if awaited is None or awaited.to != sender:
                return None
            return self._awaited.pop(number)

    def look_up(self, number: int, sender: Any) -> Awaited | None:
        """Return one that others may answer, too; ``None`` as by :meth:`take`."""
        with self._lock:
            awaited = self._awaited.get(number)
            return awaited if awaited is not None and awaited.to == sender else None

    def expire(self, now_s: float) -> None:
        """Forget those whose time is over; a call has a time-out of its own."""
        with self._lock:
            for number in [number for number, item in self._awaited.items() if item.expires_at <= now_s]:
                del self._awaited[number]

    def __len__(self) -> int:
        return len(self._awaited)


class Unanswered:
    """What is kept for the questions of other servers, until they are answered or nobody waits for that any more."""

    def __init__(self, lock: Lock) -> None:
        self._lock = lock
        self._questions: dict[object, tuple[float, Callable[[], object]]] = {}

    def add(self, question: object, expires_at: float, forget: Callable[[], object]) -> None:
        """Note a question; all are kept for equally long.

        :param question: what identifies it.
        :param forget: called by :meth:`expire`.
        """
        with self._lock:
            self._questions[question] = (expires_at, forget)

    def settle(self, question: object) -> None:
        """Forget one that was answered, or whose client has left."""
        with self._lock:
            self._questions.pop(question, None)

    def expire(self, now_s: float) -> None:
        """Let go of what is kept for those that nobody waits for any more."""
        expired: list[Callable[[], object]] = []
        with self._lock:
            for expires_at, forget in self._questions.values():  # in the order in which they expire
                if expires_at > now_s:
                    break
                expired.append(forget)
            for question in list(islice(self._questions, len(expired))):
                del self._questions[question]
        for forget in expired:
            forget()

    def __len__(self) -> int:
        return len(self._questions)
