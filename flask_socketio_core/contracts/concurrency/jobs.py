"""Running what is not ours: jobs and callbacks that may raise anything."""

from __future__ import annotations

import logging
import opcode
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING

from ...common.tracebacks import log_error, printable_error, raised_at

if TYPE_CHECKING:
    from ..async_mode import AsyncMode

__all__ = [
    "Job",
    "Report",
    "describe",
    "guarded",
    "is_interrupt",
    "log_failure",
    "report_saturation",
    "run_job",
]


logger = logging.getLogger("flask_socketio_core.concurrency")

Job = Callable[[], object]
Report = Callable[[BaseException, str], None]
"""Called with an error and what failed; must not raise."""


def log_failure(error: BaseException, what: str) -> None:
    """Log an error that nobody else will see. Blocks as long as the log handlers do."""
    log_error(logger, error, "%s failed: %s", what, printable_error(error))


def run_job(job: Job) -> None:
    """Run a job in a fresh context and log what it raises, ``SystemExit`` and a greenlet's ``Timeout`` included.

    :raises KeyboardInterrupt: for Ctrl-C, because only the main program can decide what that means.
    """
    try:
        Context().run(job)
    except BaseException as error:  # whatever a handler raises must not end its worker
        if is_interrupt(error):
            raise
        log_failure(error, f"job {describe(job)}")


def is_interrupt(error: BaseException) -> bool:
    """Return whether an error is Ctrl-C, and not a ``KeyboardInterrupt`` that somebody's ``raise`` statement raised.

    In green modes a signal may interrupt any greenlet, also one that runs a handler. Where it did is no statement that
    raises.
    """
    if not isinstance(error, KeyboardInterrupt):
        return False
    trace = raised_at(error)
    if trace is None:
        return True
    code = trace.tb_frame.f_code.co_code[trace.tb_lasti : trace.tb_lasti + 1]
    return not code or opcode.opname[code[0]] != "RAISE_VARARGS"


def describe(job: object) -> str:
    """Name a callable for the log."""
    inner = getattr(job, "func", job)  # functools.partial
    return str(getattr(inner, "__qualname__", None) or type(inner).__qualname__)


def guarded(callback: Job, report: Report) -> Callable[..., None]:
    """Wrap a callback of an event loop: whatever it is called with, it gets nothing, and its errors are reported."""

    def call(*_: object) -> None:
        try:
            callback()
        except BaseException as error:  # an error must not reach the loop, which would drop the callback
            if is_interrupt(error):
                raise
            report(error, f"callback {describe(callback)}")

    return call


def report_saturation(mode: AsyncMode) -> None:
    """Say that all of a mode's workers are busy; in a task that may block."""
    logger.warning(
        "all max_workers=%d workers are busy, handlers wait for their turn: raise the option max_workers, or let "
        "the handlers return sooner",
        mode.max_workers,
    )
    if mode.on_saturated is not None:
        mode.on_saturated()
