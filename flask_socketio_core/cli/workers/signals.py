"""Signals as bytes that can be waited for together with other descriptors."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from types import FrameType
from typing import Any


class Signals:
    """Take over signals while the body runs; they are told in the order in which they came.

    One that this process was started to ignore stays ignored, as SIGINT is for what a shell runs in the background.

    :ivar fd: readable when a signal has come.
    """

    def __init__(
        self, numbers: Iterable[signal.Signals], never_ignored: Iterable[signal.Signals] = ()
    ) -> None:
        self._numbers = tuple(numbers)
        self._never_ignored = frozenset(never_ignored)
        self._previous: dict[signal.Signals, Any] = {}
        self.fd, self._wakeup = os.pipe()
        for fd in (self.fd, self._wakeup):
            os.set_blocking(fd, False)

    def __enter__(self) -> Signals:
        self._previous_fd = signal.set_wakeup_fd(self._wakeup)
        for number in self._numbers:
            if number in self._never_ignored or signal.getsignal(number) is not signal.SIG_IGN:
                self._previous[number] = signal.signal(number, _noted)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._previous_fd)
        os.close(self.fd)
        os.close(self._wakeup)

    def read(self) -> list[signal.Signals]:
        """Return those that have come since."""
        try:
            return [signal.Signals(number) for number in os.read(self.fd, 1000)]
        except BlockingIOError:
            return []


def _noted(number: int, frame: FrameType | None) -> None:
    """Do nothing: the byte is there already."""
