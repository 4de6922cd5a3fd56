"""Counts in the memory of this process, for the strategies of the library."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from math import floor

from limits.storage import MovingWindowSupport, SlidingWindowCounterSupport, Storage

LOOKED_AT = 2
"""How many keys are looked at for each hit, which adds one at most: so those that have ended do not become many."""


class Window:
    """What is counted under one key."""

    __slots__ = ("count", "ends_s", "number", "previous", "times")

    def __init__(self) -> None:
        self.ends_s = 0.0
        """When nothing of it counts any longer, seconds since the epoch."""
        self.count = 0
        self.times: deque[float] = deque()
        """Of a moving window: when each hit was, seconds since the epoch."""
        self.number = 0
        """Of a sliding window: how many of its length have been since the epoch."""
        self.previous = 0
        """Of a sliding window: the count of the one before."""


class Memory(Storage, MovingWindowSupport, SlidingWindowCounterSupport):
    """A storage in the memory of this process; thread-safe.

    The library's own starts a thread for hits, which goes through all keys, and a hub stands still meanwhile; it never
    drops the keys of moving windows.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._windows: OrderedDict[str, Window] = OrderedDict()

    def __len__(self) -> int:
        """How many keys there are."""
        return len(self._windows)

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        """None is raised."""
        return ()

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Count in a fixed window."""
        with self._lock:
            now_s = time.time()
            window = self._take(key, now_s)
            if window.ends_s <= now_s:
                window.count, window.ends_s = 0, now_s + expiry
            window.count += amount
            return window.count

    def get(self, key: str) -> int:
        """Return the count of a fixed window."""
        window = self._windows.get(key)
        return window.count if window is not None and window.ends_s > time.time() else 0

    def get_expiry(self, key: str) -> float:
        """Return when a window ends, seconds since the epoch."""
        window = self._windows.get(key)
        return time.time() if window is None else window.ends_s

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count in a moving window, if there is room."""
        with self._lock:
            now_s = time.time()
            window = self._take(key, now_s)
            _drop_before(window, now_s - expiry)
            if len(window.times) + amount > limit:
                return False
            window.times.extend([now_s] * amount)
            window.ends_s = now_s + expiry
            return True

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """Return when the oldest hit was, seconds since the epoch, and how many there are."""
        with self._lock:
            now_s = time.time()
            window = self._windows.get(key)
            if window is not None:
                _drop_before(window, now_s - expiry)
            if window is None or not window.times:
                return now_s, 0
            return window.times[0], len(window.times)

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count in a sliding window, if there is room."""
        with self._lock:
            now_s = time.time()
            window = self._take(key, now_s)
            _slide(window, expiry, now_s)
            weighted = window.previous * (1 - now_s / expiry % 1) + window.count
            if floor(weighted) + amount > limit:
                return False
            window.count += amount
            window.ends_s = (window.number + 2.0) * expiry
            return True

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """Return the count of the window before and for how long it matters, and these of the current one, seconds."""
        with self._lock:
            now_s = time.time()
            window = self._windows.get(key) or Window()
            _slide(window, expiry, now_s)
            left_s = (1 - now_s / expiry % 1) * expiry
            return window.previous, left_s if window.previous else 0.0, window.count, left_s + expiry

    def clear_sliding_window(self, key: str, expiry: int) -> None:
        """Forget a key."""
        self.clear(key)

    def clear(self, key: str) -> None:
        """Forget a key."""
        with self._lock:
            self._windows.pop(key, None)

    def check(self) -> bool:
        """Return that it is there."""
        return True

    def reset(self) -> int:
        """Forget everything; return how many keys there were."""
        with self._lock:
            dropped = len(self._windows)
            self._windows.clear()
            return dropped

    def _take(self, key: str, now_s: float) -> Window:
        for _ in range(min(LOOKED_AT, len(self._windows))):
            first = next(iter(self._windows))
            if self._windows[first].ends_s <= now_s:
                del self._windows[first]
            else:
                self._windows.move_to_end(first)
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = Window()
        return window


def _drop_before(window: Window, began_s: float) -> None:
    while window.times and window.times[0] < began_s:
        window.times.popleft()


def _slide(window: Window, expiry: int, now_s: float) -> None:
    number = int(now_s / expiry)
    if number != window.number:
        window.previous = window.count if number == window.number + 1 else 0
        window.count, window.number = 0, number
