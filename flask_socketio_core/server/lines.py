"""Log lines about what clients do, written behind the back of those who cause them."""

from __future__ import annotations

import logging
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from ..transport.serial import Serial

if TYPE_CHECKING:
    from ..contracts import AsyncMode

MOST_WAITING = 10_000
"""So many lines wait for a handler that is slow; further ones are counted instead."""

FLUSH_S = 1.0
"""How long the end of a server waits for its last lines, seconds."""


class Tell(Protocol):
    """Write a line at INFO, soon."""

    def __call__(self, text: str, *args: object) -> None:
        """Write a line; arguments as those of :meth:`logging.Logger.info`."""


class Fallback(logging.Handler):
    """Write to the standard error as long as the application has configured no handler, whenever it does so."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record that nobody else writes."""
        logger: logging.Logger | None = logging.getLogger(record.name)
        while logger is not None:
            if any(handler is not self for handler in logger.handlers):
                return
            logger = logger.parent if logger.propagate else None
        try:
            sys.stderr.write(self.format(record) + "\n")
        except Exception:  # noqa: BLE001  # what every handler does with an error of its own
            self.handleError(record)


def choose_logger(setting: Any, name: str) -> logging.Logger:
    """Return the logger that an option stands for.

    :param setting: ``False``, ``True`` for the logger of that name at INFO, or a logger.
    """
    if not isinstance(setting, bool):
        chosen: logging.Logger = setting
        return chosen
    logger = logging.getLogger(name)
    if setting:
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.INFO)
        if not any(isinstance(handler, Fallback) for handler in logger.handlers):
            logger.addHandler(Fallback())
    return logger


class Lines:
    """Write lines one after the other from a worker: log handlers may block, and a hub or a reader must not.

    :param mode: whose workers write.
    """

    def __init__(self, mode: AsyncMode) -> None:
        self._mode = mode
        self._waiting = Serial(mode)
        self.forget()

    def forget(self) -> None:
        """Start afresh in a forked child: the lines are the parent's."""
        self._lock = self._mode.create_lock()
        self._waiting.forget()
        self._left_out = 0

    def teller(self, logger: logging.Logger, *, on: bool) -> Tell:
        """Return what writes lines to a logger, or to nobody."""
        return partial(self._tell, logger) if on else _say_nothing

    def _tell(self, logger: logging.Logger, text: str, *args: object) -> None:
        with self._lock:
            if len(self._waiting) >= MOST_WAITING:
                self._left_out += 1
                return
            missing, self._left_out = self._left_out, 0
        if missing:
            self._waiting.put(partial(logger.warning, "%d lines left out: log handlers are slow", missing))
        self._waiting.put(partial(logger.info, text, *args))

    def flush(self) -> None:
        """Wait until what was told is written, for a while."""
        self._waiting.flush(FLUSH_S)


def _say_nothing(text: str, *args: object) -> None:
    """Write no line."""
