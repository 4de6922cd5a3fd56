"""The task that listens to the bus for ever: it reconnects by itself, and can be made to if it has gone deaf."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..common.repeats import Repeats, kind_of
from ..common.tracebacks import log_error
from ..errors import QueueClosed, QueueUnavailable

if TYPE_CHECKING:
    import logging

    from ..contracts import AsyncMode, MessageQueue

#: Most tasks in ``listen()``: the current one, and one that was given up and has neither yielded nor ended since. A
#: task that is stuck cannot be ended, and each is a thread in some modes.
MOST_TASKS = 2
#: Seconds between two attempts to listen again: grows from the first to the second, by half more or less by chance.
#: Shorter than a sender's, because what is sent before a listener is back may be lost to it.
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 1.0


class Listener:
    """Hand every message of a queue to a function, in one task.

    :param on_message: called with each message; what it raises is logged and changes nothing.
    :param on_quiet: called now and then (twice a second) while there are none; the same.
    :param on_lost: called when the connection is lost, with the cause, and again when the cause is of another kind.
    :param on_back: called when a subscription exists, with the seconds since something was heard last; with 0.0 for
        the first subscription, unless it could not be had at once.
    """

    def __init__(
        self,
        queue: MessageQueue,
        mode: AsyncMode,
        *,
        clock: Callable[[], float],
        logger: logging.Logger,
        on_message: Callable[[bytes], object],
        on_quiet: Callable[[], object],
        on_lost: Callable[[BaseException], object],
        on_back: Callable[[float], object],
    ) -> None:
        self._queue = queue
        self._mode = mode
        self._clock = clock
        self._logger = logger
        self._on_message = on_message
        self._on_quiet = on_quiet
        self._on_lost = on_lost
        self._on_back = on_back
        self._repeats = Repeats(clock)
        self._stop = mode.create_event()
        self._subscribed = mode.create_event()
        self._run_number = 0
        self._running = 0  # tasks that have not ended, given-up ones included
        self._lock = mode.create_lock()
        self._cause: type[BaseException] | None = None  # of the loss; None while nothing is lost
        self._stuck = False  # nobody listens, since those that did are stuck
        self._heard_at = self.ticked_at = clock()

    @property
    def started(self) -> bool:
        return self._run_number > 0

    @property
    def subscribed(self) -> bool:
        """Whether a subscription exists, as far as we know."""
        return self._subscribed.is_set()

    def start(self) -> None:
        """Begin to listen, in a task of its own."""
        if not self.started:
            self._heard_at = self._clock()
        with self._lock:
            self._run_number += 1
            self._running += 1
        self._mode.start_task(self._run, self._run_number)

    def restart(self, why: str) -> None:
        """Leave a connection that has gone deaf to itself and listen on a new one.

        Not if the one before was left like that and is stuck still: then listening begins anew when one of them ends.
        """
        if self._running < MOST_TASKS:
            self._logger.error("listening to the message queue anew: %s", why)
            self._lose(QueueUnavailable(why))
            self.start()
            return
        why = f"{why}, and neither has the one before ended: the queue's listen() is stuck"
        self._logger.error("listening to the message queue ends: %s", why)
        with self._lock:
            self._run_number += 1  # the run that ends first finds nobody listening
            self._stuck = True
        self._lose(QueueUnavailable(why))

    def wait(self, timeout_s: float) -> bool:
        """Wait until a subscription exists."""
        return self._subscribed.wait(timeout_s)

    def stop(self) -> None:
        """End as soon as the queue yields; close the queue to make it."""
        self._stop.set()

    def _run(self, number: int) -> None:
        try:
            self._listen_again(number)
        finally:
            with self._lock:
                self._running -= 1
                stuck, self._stuck = self._stuck, False
            if stuck and not self._stop.is_set():
                self.start()

    def _listen_again(self, number: int) -> None:
        pause_s = FIRST_PAUSE_S
        while self._current(number):
            before = self._clock()
            error = self._listen(number)
            if error is None or not self._current(number):
                return
            self._lose(error)
            if self._clock() - before > LONGEST_PAUSE_S:
                pause_s = FIRST_PAUSE_S  # it had worked for a while
            self._stop.wait(pause_s * random.uniform(0.5, 1.5))
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    def _listen(self, number: int) -> BaseException | None:
        """Listen until something ends it; return what, or ``None`` if that was wanted."""
        try:
            for message in self._queue.listen():
                if not self._current(number):
                    self._leave(message)
                    return None
                self._note_life()
                if message:
                    self._heard_at = self.ticked_at
                    self._hand_over(self._on_message, message)
                else:
                    self._hand_over(self._on_quiet)
                    self._mode.sleep(0)  # lets others run where the client library blocks the whole thread
        except QueueClosed:
            return None
        except QueueUnavailable as error:
            return error
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001  # a queue's fault must not make this server deaf
            if type(error) is not self._cause:  # not for each attempt
                log_error(self._logger, error, "unexpected error of the message queue's listen()")
            return error
        return None if self._stop.is_set() else QueueUnavailable("the message queue ended its subscription")

    def _leave(self, message: bytes) -> None:
        """Hand over what was heard last: the queue has noted it as heard, so the next listener may not hear it."""
        if message and not self._stop.is_set():
            self._hand_over(self._on_message, message)

    def _hand_over(self, tell: Callable[..., object], *message: bytes) -> None:
        try:
            tell(*message)
        except Exception as error:  # noqa: BLE001  # the next message may be a better one
            more = self._repeats.take(kind_of(error))
            if more is not None:
                log_error(
                    self._logger, error, "a message from the message queue could not be handled%s", more
                )

    def _note_life(self) -> None:
        self.ticked_at = self._clock()
        if self._subscribed.is_set():
            return
        # Since something was heard, not since the loss was noticed: a connection may have been dead for a while.
        away_s = 0.0 if self._cause is None else self.ticked_at - self._heard_at
        self._cause = None
        self._heard_at = self.ticked_at
        self._subscribed.set()
        self._on_back(away_s)

    def _lose(self, error: BaseException) -> None:
        if type(error) is not self._cause:
            self._cause = type(error)
            self._subscribed.clear()
            self._on_lost(error)

    def _current(self, number: int) -> bool:
        return number == self._run_number and not self._stop.is_set()
