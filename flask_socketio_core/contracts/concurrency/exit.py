"""The news that this process is about to end.

WebSockets that were taken over from the web server are invisible to it, so a server that was told to stop does not
wait for them; pending polls, on the other hand, keep it waiting. So the engine has to close both itself, as soon as
possible:

=====================================  ============================================================
who ends                               how we learn of it
=====================================  ============================================================
our own ``serve()``                    SIGTERM and SIGINT stop it (:func:`stopping_on_signals`)
a gunicorn worker (TERM, HUP,          its ``alive`` turns ``False``; asked for every 0.25 s, because
``--max-requests``)                    gunicorn tells nobody
uWSGI                                  ``uwsgi.atexit``
anything else that ends in order       the interpreter's exit hooks
=====================================  ============================================================
"""

from __future__ import annotations

import atexit
import contextlib
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ..fork import ProcessFlag
from .gunicorn import find_worker
from .jobs import log_failure

if TYPE_CHECKING:
    from types import FrameType

    from ..async_mode import AsyncMode

__all__ = ["ExitNotice", "stopping_on_signals"]


LOOK_S = 0.25
"""How often a gunicorn worker is asked whether it still lives, seconds."""
PATIENCE_S = 6.0
"""How long the interpreter's end waits for a callback that runs already, seconds."""


class ExitNotice:
    """Call back once when this process ends; a forked child never calls back.

    :param mode: runs the callback in a task; not kept alive by that.
    :param callback: may block for a few seconds.
    """

    def __init__(self, mode: AsyncMode, callback: Callable[[], object]) -> None:
        self._mode = weakref.ref(mode)
        self._callback = callback
        self._here = ProcessFlag(is_set=True)
        self._lock = mode.create_lock()
        self._begun = False
        self._done = mode.create_event()
        self._worker = find_worker()
        _notices.add(self)
        _hook_up()
        if self._worker is not None:
            mode.call_later(LOOK_S, self._look)

    def cancel(self) -> None:
        """Do not call back after all."""
        _notices.discard(self)
        self._begin()

    def run(self) -> None:
        """Call back now, or wait for the task that does."""
        if not self._here.is_set():
            return
        if not self._begin():
            self._done.wait(PATIENCE_S)
            return
        try:
            self._callback()
        except Exception as error:  # noqa: BLE001  # the other notices have a right to be given
            log_failure(error, "callback at exit")
        finally:
            self._done.set()

    def _begin(self) -> bool:
        with self._lock:
            begun, self._begun = self._begun, True
            return not begun

    def _look(self) -> None:
        mode = self._mode()
        if mode is None or self._begun or not self._here.is_set():
            return
        if self._worker.alive:
            mode.call_later(LOOK_S, self._look)
        else:
            mode.start_task(self.run)


_notices: set[ExitNotice] = set()


def _give_all() -> None:
    for notice in list(_notices):
        _notices.discard(notice)
        notice.run()


def _hook_up() -> None:
    """Register with the interpreter, and with uWSGI, once per process."""
    if not getattr(_hook_up, "done", False):
        _hook_up.done = True  # type: ignore[attr-defined]  # a flag that lives as long as the registrations
        # The callback may need threads, and Python 3.12 starts none any more when atexit's turn has come. This private
        # function is what concurrent.futures uses; without it there is still atexit.
        register = getattr(threading, "_register_atexit", None)
        if register is not None:
            register(_give_all)
        atexit.register(_give_all)
        _hook_up_uwsgi()


def _hook_up_uwsgi() -> None:
    uwsgi: Any = sys.modules.get("uwsgi")
    if uwsgi is None:
        return
    previous = getattr(uwsgi, "atexit", None)

    def at_exit() -> None:
        _give_all()
        if callable(previous):
            previous()

    uwsgi.atexit = at_exit


@contextlib.contextmanager
def stopping_on_signals(stop: Callable[[], object]) -> Iterator[None]:
    """Call ``stop`` at the first SIGTERM or SIGINT while the body runs; the second one has its usual effect.

    A signal for which the program has a handler of its own is left to that. Does nothing outside the main thread,
    where Python lets nobody handle signals.

    :param stop: called in the signal handler: must not block or take a lock.
    """
    usual = {signal.SIGTERM: signal.SIG_DFL, signal.SIGINT: signal.default_int_handler}
    replaced: dict[signal.Signals, Any] = {}

    def handle(number: int, frame: FrameType | None) -> None:
        restore()
        stop()

    def restore() -> None:
        while replaced:
            number, previous = replaced.popitem()
            signal.signal(number, previous)

    try:
        for number, default in usual.items():
            if signal.getsignal(number) is default:
                signal.signal(number, handle)
                replaced[number] = default
    except ValueError:
        pass  # not the main thread
    try:
        yield
    finally:
        restore()
