"""Report what blocks an event loop: a handler that computes, or waits in a way that does not yield.

In a mode whose tasks are greenlets one such handler stops every client, and a coroutine stops all others. A native
thread asks the loop for a sign of life now and then; when none comes within the bound, it looks at what the loop's
thread is doing and has it logged.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING

from ..contracts.fork import register_at_fork

if TYPE_CHECKING:
    from ..contracts import AsyncMode

LOOKS_PER_BOUND = 4
"""How often the loop is asked within the bound."""


class Watchdog:
    """Watch the loop of the OS thread that calls :meth:`start`.

    :param mode: has what the standard library's time and threads were, and the worker that logs.
    :param bound_s: how long the loop may be blocked before that is reported, seconds.
    :param logger: gets a warning, once per blocked stretch, with the handler's name and the stack.
    :param call_soon: has the loop call a function, from any thread.
    :param handler_in: says which handler a frame runs; ``None`` if it is not the outermost one of a handler.
    :param stops: who has to wait meanwhile.
    """

    def __init__(
        self,
        mode: AsyncMode,
        bound_s: float,
        logger: logging.Logger,
        *,
        call_soon: Callable[[Callable[[], object]], object],
        handler_in: Callable[[FrameType], str | None],
        stops: str,
    ) -> None:
        self._mode = mode
        self._bound_s = bound_s
        self._logger = logger
        self._call_soon = call_soon
        self._handler_in = handler_in
        self._stops = stops
        self._sleep: Callable[[float], None] = mode.original("time", "sleep")
        self._clock: Callable[[], float] = mode.original("time", "monotonic")
        self._watching: object | None = None  # what the thread that watches now was given
        self._loop_thread = 0
        self._beat_s = 0.0
        register_at_fork(after_in_child=self.forget)

    def start(self) -> None:
        """Begin to watch; does nothing if it was begun."""
        if self._watching is None:
            self._watching = watching = object()
            self._loop_thread = self._mode.original("_thread", "get_ident")()
            self._mode.original("_thread", "start_new_thread")(self._watch, (watching,))

    def stop(self) -> None:
        """End the thread, within a fraction of the bound."""
        self._watching = None

    def forget(self) -> None:
        """Watch nothing in a forked child, where that thread is not, until it is started there."""
        self._watching = None

    def _watch(self, watching: object) -> None:
        look_s = self._bound_s / LOOKS_PER_BOUND
        while self._watching is watching:
            asked_s = self._clock()
            self._call_soon(self._beat)
            self._sleep(look_s)
            self._await_beat(asked_s, look_s, watching)

    def _beat(self) -> None:
        self._beat_s = self._clock()

    def _await_beat(self, asked_s: float, look_s: float, watching: object) -> None:
        report = ""
        while self._watching is watching and self._beat_s < asked_s:
            if not report and self._clock() - asked_s >= self._bound_s:
                # The only way to see another thread.
                report = self.describe(sys._current_frames().get(self._loop_thread))
            self._sleep(look_s)
        if report:
            blocked_s = max(self._beat_s - asked_s, self._bound_s)
            self._mode.spawn(
                partial(self._logger.warning, "the event loop was blocked for %.1f s %s", blocked_s, report)
            )

    def describe(self, frame: FrameType | None) -> str:
        """Say which handler a thread is in, and where."""
        if frame is None:
            return "by a thread that has ended"
        stack = "".join(traceback.format_stack(frame))
        return f"by {self._handler(frame)}, which stops {self._stops} meanwhile:\n{stack}"

    def _handler(self, frame: FrameType | None) -> str:
        while frame is not None:
            handler = self._handler_in(frame)
            if handler is not None:
                return handler
            frame = frame.f_back
        return "code outside of any event handler"
