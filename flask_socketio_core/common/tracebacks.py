"""Errors in log lines, with tracebacks in which text of a peer starts no line.

What an error says may quote what a peer sent: ``ValueError(f"no room {room}")``.
"""

from __future__ import annotations

import logging
import sys
import traceback
from types import TracebackType

from .quoting import MOST_SENTENCE, printable

MOST_LINES = 20
"""So many lines of what one error says are shown."""

_MARK = "  | "
"""What a further line of what an error says begins with."""

_HEADER = "Traceback (most recent call last):\n"


def log_error(logger: logging.Logger, error: BaseException, text: str, *args: object) -> None:
    """Log an error with its traceback; arguments as those of :meth:`logging.Logger.error`.

    The record has the error, for handlers that look at it, and its traceback as it may be written.
    """
    if not logger.isEnabledFor(logging.ERROR):
        return
    caller = sys._getframe(1)
    place = (caller.f_code.co_filename, caller.f_lineno)
    info = (type(error), error, error.__traceback__)
    record = logger.makeRecord(
        logger.name, logging.ERROR, *place, text, args, info, func=caller.f_code.co_name
    )
    record.exc_text = printable_traceback(error)  # formatters take the text that is there
    logger.handle(record)


def printable_traceback(error: BaseException) -> str:
    """Return an error's traceback, without a line break at its end.

    It looks as Python's own. What the errors say is cut, escaped by :func:`printable`, and begins a line only behind a
    mark.
    """
    shown: list[str] = []
    told = False  # what the error says has begun: notes follow
    for part in traceback.format_exception(error):
        # The second is "During handling of the above exception" and its like.
        if part == _HEADER or (part.startswith("\n") and part != "\n"):
            told = False
            shown.append(part)
            continue
        indented = part.startswith(" ") and not told  # a frame, or a part of a group behind its margin
        for number, line in enumerate(part.splitlines()[:MOST_LINES]):
            begins = line.startswith(" ") if indented else number == 0 and not told
            shown.append(("" if begins else _MARK) + printable(line, MOST_SENTENCE) + "\n")
        told = told or not indented
    return "".join(shown).rstrip("\n")


def raised_at(error: BaseException) -> TracebackType | None:
    """Return the innermost entry of an error's traceback; ``None`` if it was not raised yet."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace


def printable_error(error: BaseException) -> str:
    """Return an error as it may stand in a log line; an error that cannot be shown by its class."""
    try:
        return printable(repr(error))
    except Exception:  # noqa: BLE001  # whatever its own method raises
        return type(error).__name__
