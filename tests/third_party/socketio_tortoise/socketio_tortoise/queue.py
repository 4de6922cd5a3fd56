"""Messages as files in a folder: ``spool:///var/spool/chat``."""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from flask_socketio_core.contracts import MessageQueue, QueueCapabilities
from flask_socketio_core.errors import QueueClosed, QueueUnavailable, UnknownOption

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flask_socketio_core.contracts import AsyncMode

LOOK_EVERY_S = 0.02
TICK_S = 0.5


class SpoolQueue(MessageQueue):
    """Each listener yields the files that appear after it began."""

    capabilities: ClassVar[QueueCapabilities] = QueueCapabilities(ordered=True, needs_patched=())

    def __init__(self, url: str, channel: str, *, mode: AsyncMode, options: Mapping[str, Any]) -> None:
        super().__init__(url, channel, mode=mode, options=options)
        for name in options:
            raise UnknownOption(f"the spool queue has no option {name!r}")
        self._folder = Path(url.partition("://")[2]) / channel
        self._numbers = itertools.count()
        self._closed = False

    def publish(self, message: bytes, *, key: str = "") -> None:
        self._refuse_closed()
        name = f"{time.time_ns():020}-{os.getpid()}-{next(self._numbers):09}"
        unfinished = self._folder / f".{name}"
        try:
            self._folder.mkdir(exist_ok=True)
            unfinished.write_bytes(message)
            unfinished.rename(self._folder / name)
        except OSError as exc:
            raise QueueUnavailable(f"cannot write to {self._folder}: {exc}") from exc

    def listen(self) -> Iterator[bytes]:
        self.ping()
        seen = set(self._names())
        yield b""
        quiet_until_s = time.monotonic() + TICK_S
        while not self._closed:
            fresh = self._fresh(seen)
            seen.update(fresh)
            for name in fresh:
                yield (self._folder / name).read_bytes()
            if time.monotonic() > quiet_until_s:
                yield b""
                quiet_until_s = time.monotonic() + TICK_S
            self.mode.sleep(LOOK_EVERY_S)

    def ping(self) -> None:
        self._refuse_closed()
        try:
            self._folder.mkdir(exist_ok=True)
        except OSError as exc:
            raise QueueUnavailable(f"there is no folder {self._folder.parent}: {exc}") from exc

    def close(self) -> None:
        self._closed = True

    def _fresh(self, seen: set[str]) -> list[str]:
        # A listing may show a file and not the one before it; whatever is before it is in the next listing.
        newest = max(self._names(), default="")
        return [name for name in self._names() if name <= newest and name not in seen]

    def _names(self) -> list[str]:
        return sorted(name for name in os.listdir(self._folder) if not name.startswith("."))

    def _refuse_closed(self) -> None:
        if self._closed:
            raise QueueClosed("the spool queue was closed")
