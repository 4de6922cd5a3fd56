"""The queue inside one process: for tests, and for several ``SocketIO`` objects in one program."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ..contracts import MessageQueue, QueueCapabilities, settings, urls
from ..errors import QueueClosed

if TYPE_CHECKING:
    from ..contracts import AsyncMode

#: Seconds between two ``b""`` of a quiet channel.
TICK_S = 0.5

# The bus is the process itself, so this is state of the process: (URL, channel) -> the open listeners' queues.
_listeners: dict[tuple[str, str], list[Any]] = {}
_lock = threading.Lock()


class MemoryQueue(MessageQueue):
    """Carry messages between the objects of one process that use the same URL and channel.

    ``memory://`` is one bus, ``memory://name`` another.
    """

    capabilities: ClassVar[QueueCapabilities] = QueueCapabilities(ordered=True, needs_patched=())

    def __init__(self, url: str, channel: str, *, mode: AsyncMode, options: Mapping[str, Any]) -> None:
        super().__init__(url, channel, mode=mode, options=options)
        parsed = urls.parse(url)
        settings.read((), options, parsed.query, where="memory")
        self._key = (parsed.host(("", 0))[0], channel)
        self._closed = False
        self._own: list[Any] = []

    def publish(self, message: bytes, *, key: str = "") -> None:
        if self._closed:
            raise QueueClosed("the in-memory message queue was closed")
        with _lock:
            for listener in _listeners.get(self._key, ()):
                listener.put(message)

    def listen(self) -> Iterator[bytes]:
        inbox = self._subscribe()
        try:
            yield b""
            while not self._closed:
                try:
                    message = inbox.get(timeout=TICK_S)
                except queue.Empty:
                    yield b""
                    continue
                if message is not None:  # None wakes us up to see that we were closed
                    yield message
        finally:
            self._unsubscribe(inbox)

    def ping(self) -> None:
        if self._closed:
            raise QueueClosed("the in-memory message queue was closed")

    def close(self) -> None:
        self._closed = True
        with _lock:
            own = list(self._own)
        for inbox in own:
            inbox.put(None)

    def _subscribe(self) -> Any:
        if self._closed:
            raise QueueClosed("the in-memory message queue was closed")
        inbox = self.mode.create_queue()
        with _lock:
            _listeners.setdefault(self._key, []).append(inbox)
            self._own.append(inbox)
        return inbox

    def _unsubscribe(self, inbox: Any) -> None:
        with _lock:
            self._own.remove(inbox)
            remaining = [other for other in _listeners[self._key] if other is not inbox]
            if remaining:
                _listeners[self._key] = remaining
            else:
                del _listeners[self._key]
