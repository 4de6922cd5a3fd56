"""What calls back once: an acknowledgement, or the error that there will be none; and coroutines that are cancelled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from flask_socketio_core.common.sids import new_sid
from flask_socketio_core.server.calling import Expectation, wait_async
from support.engine import ManualMode

TIMEOUT_S = 5.0


class Asked:
    """A question that was put, and what came back to the one that asked."""

    def __init__(self, to: str, ask: Callable[[Asked], object] | None = None) -> None:
        self.mode = ManualMode()
        self.told: list[Any] = []
        self.forgotten = 0
        expectation = Expectation(
            self.mode,
            "ask",
            to,
            TIMEOUT_S,
            on_ack=lambda *values: self.told.append(values),
            on_failure=lambda error: self.told.append(type(error).__name__),
        )

        def put(on_ack: Callable[..., None], on_gone: Callable[[], None]) -> Callable[[], object]:
            self.answer, self.leave = on_ack, on_gone
            if ask is not None:
                ask(self)
            return self.forget

        expectation.begin(put)

    def forget(self) -> None:
        self.forgotten += 1

    def expire(self) -> None:
        ((delay_s, callback),) = self.mode.timers
        assert delay_s == TIMEOUT_S
        callback()
        self.mode.run_jobs()

    def everything_late(self) -> None:
        """Let happen what comes too late to matter."""
        self.answer("late")
        self.leave()


def test_an_answer_in_time_is_told_alone() -> None:
    asked = Asked(new_sid())
    asked.answer("yes", 1)
    assert asked.mode.timers == []
    asked.everything_late()
    assert (asked.told, asked.forgotten) == ([("yes", 1)], 1)


def test_a_client_that_leaves_is_told_at_once_and_alone() -> None:
    asked = Asked(new_sid())
    asked.leave()
    assert asked.mode.timers == []
    asked.everything_late()
    assert (asked.told, asked.forgotten) == (["ClientGone"], 1)


def test_silence_is_told_when_the_time_is_over_and_alone() -> None:
    asked = Asked(new_sid())
    asked.expire()
    asked.everything_late()
    assert (asked.told, asked.forgotten) == (["CallTimeout"], 1)


def test_members_of_a_room_answer_until_the_time_is_over() -> None:
    asked = Asked("room")
    asked.answer(1)
    asked.answer(2)
    assert asked.forgotten == 0
    asked.expire()
    asked.everything_late()
    assert (asked.told, asked.forgotten) == ([(1,), (2,)], 1)


def test_what_happens_while_the_question_is_put_counts() -> None:
    for end, told in ((lambda asked: asked.answer(), ()), (lambda asked: asked.leave(), "ClientGone")):
        asked = Asked(new_sid(), end)
        asked.everything_late()
        assert (asked.told, asked.forgotten, asked.mode.timers) == ([told], 1, [])


@pytest.mark.parametrize("asks", [True, False], ids=["while it asks", "while it waits"])
def test_a_coroutine_that_is_cancelled_leaves_nothing_behind(asks: bool) -> None:
    asking, may_ask = threading.Event(), threading.Event()
    forgotten: list[str] = []

    def ask(on_ack: Callable[..., None], on_gone: Callable[[], None]) -> Callable[[], object]:
        asking.set()
        assert may_ask.wait(10)
        return lambda: forgotten.append("once")

    async def main() -> None:
        task = asyncio.ensure_future(wait_async(ask, "ask", to="sid", timeout_s=60))
        await asyncio.to_thread(asking.wait, 10)
        if not asks:
            may_ask.set()
            await asyncio.to_thread(lambda: None)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        may_ask.set()

    asyncio.run(main())  # returns when its executor has ended
    assert forgotten == ["once"]
