"""What one process asks several servers: who was asked, who has answered, who has left. Pure: no clock and no queue.

Answers are noted by the task that listens, or by the one that answers for this server; who waits takes the outcome.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..contracts.servers import Answers
from .acks import NUMBER_BITS

if TYPE_CHECKING:
    from ..contracts import Lock
    from ..contracts.servers import Cause


@dataclass(slots=True)
class _Question:
    awaited: set[str]
    on_done: Callable[[], object]
    is_enough: Callable[[Any], bool] | None
    answers: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    missing: dict[str, Cause] = field(default_factory=dict)


class Questions:
    """Number questions, in a way that nobody can guess, and note what becomes of them.

    :param lock: held for a few instructions.
    """

    def __init__(self, lock: Lock) -> None:
        self._lock = lock
        self._questions: dict[int, _Question] = {}

    def add(
        self,
        asked: Iterable[str],
        on_done: Callable[[], object],
        is_enough: Callable[[Any], bool] | None = None,
    ) -> int:
        """Keep a question to some servers, until :meth:`end`, and return its number.

        :param on_done: called once no answer is awaited any more, which may be at once; must not block.
        :param is_enough: says of an answer whether no other is awaited any more.
        """
        question = _Question(set(asked), on_done, is_enough)
        with self._lock:
            while (number := secrets.randbits(NUMBER_BITS)) in self._questions:
                pass
            self._questions[number] = question
        if not question.awaited:
            on_done()
        return number

    def answer(self, number: int, node: str, value: Any, error: str | None) -> None:
        """Note an answer; one that is not awaited (any more), or of a server that was not asked, is none."""
        with self._lock:
            question = self._questions.get(number)
            if question is None or node not in question.awaited:
                return
            question.awaited.discard(node)
            if error is None:
                question.answers[node] = value
                if question.is_enough is not None and question.is_enough(value):
                    question.awaited.clear()
            else:
                question.errors[node] = error
        self._tell_if_done(question)

    def left(self, node: str) -> None:
        """Wait no longer for a server that has ended, or is taken for dead."""
        with self._lock:
            found = [question for question in self._questions.values() if node in question.awaited]
            for question in found:
                question.awaited.discard(node)
                question.missing[node] = "left"
        for question in found:
            self._tell_if_done(question)

    def end(self, number: int, *, unable: Iterable[str] = (), cut_off: bool = False) -> Answers:
        """Forget a question and return what came back; who has not answered by now is silent."""
        with self._lock:
            question = self._questions.pop(number)
            for node in sorted(question.awaited):
                question.missing[node] = "silent"
            question.awaited.clear()
        return Answers(
            answers=MappingProxyType(question.answers),
            errors=MappingProxyType(question.errors),
            missing=MappingProxyType(question.missing),
            unable=tuple(unable),
            cut_off=cut_off,
        )

    def close(self) -> None:
        """Let nobody wait any longer: this process ends."""
        with self._lock:
            questions = list(self._questions.values())
        for question in questions:
            question.on_done()

    @staticmethod
    def _tell_if_done(question: _Question) -> None:
        if not question.awaited:
            question.on_done()

    def __len__(self) -> int:
        return len(self._questions)
