"""The store inside one process: the one there is without an option, for one server, and for tests."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
import uuid
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ..contracts import Position, Store, StoreCapabilities, Stretch, stores
from ..contracts.fork import register_at_fork
from ..contracts.stores import Setting
from ..errors import StoreClosed, ValueTooLarge

if TYPE_CHECKING:
    from ..contracts import AsyncMode

ENTRY_BYTES = 300
"""What Python takes for an entry besides its key and value, roughly, bytes."""
FEW = 100
"""Ends of what is not there any more that are no matter."""
TELL_S = 60.0
"""Seconds in which it is told once that something was given up."""
SETTINGS: tuple[Setting[Any], ...] = (
    Setting(
        "max_entries", int, 100_000, "most keys and streams in a process; the oldest are given up", above=0
    ),
    Setting(
        "max_bytes",
        int,
        64 * 1024 * 1024,
        "most bytes of all of them, with what Python takes for each",
        above=0,
    ),
)

logger = logging.getLogger(__name__)

Clock = Callable[[], float]


class _Entry:
    """What is kept under a name: a value, or a stream."""

    __slots__ = ("ends_s", "scheduled", "size_bytes", "stream", "value")

    def __init__(self) -> None:
        self.value = b""
        self.stream: _Stream | None = None
        self.ends_s = 0.0
        self.size_bytes = 0
        self.scheduled = False
        """Whether the heap of ends has it."""


class _Stream:
    __slots__ = ("epoch", "top", "values", "values_bytes")

    def __init__(self) -> None:
        self.epoch = uuid.uuid4().hex[:16]
        self.top = 0
        self.values: deque[tuple[float, bytes]] = deque()
        """When each ends, and what it is."""
        self.values_bytes = 0

    @property
    def first(self) -> int:
        """The number of the oldest value, or of the next one."""
        return self.top - len(self.values) + 1

    def drop_first(self) -> None:
        _, value = self.values.popleft()
        self.values_bytes -= len(value)


Name = tuple[bool, str]
"""Whether it is a stream, and its name."""


class _Shelf:
    """What all stores of one name in a process have in common. Its methods are called with its lock held."""

    def __init__(self) -> None:
        self.lock = threading.Lock()  # held for a few instructions: it need not yield
        self.entries: OrderedDict[Name, _Entry] = OrderedDict()
        """In the order of their last writing."""
        self.size_bytes = 0
        self.given_up = 0
        self._ends: list[tuple[float, int, Name]] = []
        self._numbers = itertools.count()

    def find(self, name: Name, now_s: float) -> _Entry | None:
        self._expire(now_s)
        entry = self.entries.get(name)
        if entry is not None and entry.ends_s <= now_s:
            self.drop(name)  # its place in the heap may be that of an earlier time
            return None
        return entry

    def _forget_ends(self) -> None:
        """Make the heap anew, of what is there: an entry that was dropped leaves its end behind."""
        self._ends = [(entry.ends_s, next(self._numbers), name) for name, entry in self.entries.items()]
        heapq.heapify(self._ends)
        for entry in self.entries.values():
            entry.scheduled = True

    def write(self, name: Name, entry: _Entry, size_bytes: int, ends_s: float) -> None:
        self.entries[name] = entry
        self.entries.move_to_end(name)
        self.size_bytes += size_bytes - entry.size_bytes
        entry.size_bytes, entry.ends_s = size_bytes, ends_s
        if not entry.scheduled:
            entry.scheduled = True
            heapq.heappush(self._ends, (ends_s, next(self._numbers), name))
        if len(self._ends) > 2 * len(self.entries) + FEW:
            self._forget_ends()

    def drop(self, name: Name) -> None:
        self.size_bytes -= self.entries.pop(name).size_bytes

    def make_room(self, max_entries: int, max_bytes: int) -> int:
        """Give up what was written longest ago; return how many entries that were."""
        count = 0
        while len(self.entries) > max_entries or self.size_bytes > max_bytes:
            self.drop(next(iter(self.entries)))
            count += 1
        self.given_up += count
        return count

    def _expire(self, now_s: float) -> None:
        while self._ends and self._ends[0][0] <= now_s:
            _, _, name = heapq.heappop(self._ends)
            entry = self.entries.get(name)
            if entry is None:
                continue
            if entry.ends_s <= now_s:
                self.drop(name)
            else:  # written again since
                heapq.heappush(self._ends, (entry.ends_s, next(self._numbers), name))


class _Shelves:
    """As the in-memory queue's bus, this is state of the process; each goes with the last store that uses it."""

    def __init__(self) -> None:
        self._begin()
        register_at_fork(after_in_child=self._begin)  # another thread of the parent may have held a lock

    def _begin(self) -> None:
        self._found: weakref.WeakValueDictionary[tuple[str, str], _Shelf] = weakref.WeakValueDictionary()
        self._lock = threading.Lock()

    def get(self, name: str, channel: str) -> _Shelf:
        with self._lock:
            shelf = self._found.get((name, channel))
            if shelf is None:
                shelf = self._found[name, channel] = _Shelf()
            return shelf


_shelves = _Shelves()


class MemoryStore(Store):
    """Keep everything in this process, for the objects that use the same URL and channel.

    ``memory://`` is one store, ``memory://name`` another. It takes no more than ``max_bytes`` and ``max_entries``: for
    more, it gives up what was written longest ago, and the log says so once a minute.
    """

    capabilities: ClassVar[StoreCapabilities] = StoreCapabilities(shared=False, needs_patched=())

    def __init__(
        self,
        url: str,
        channel: str,
        *,
        mode: AsyncMode,
        options: Mapping[str, Any],
        clock: Clock = time.monotonic,
    ) -> None:
        super().__init__(url, channel, mode=mode, options=options)
        parsed = stores.parse(url)
        settings = stores.read(SETTINGS, options, parsed.query, where="memory")
        self._max_entries: int = settings["max_entries"]
        self._max_bytes: int = settings["max_bytes"]
        self._clock = clock
        self._told_s = -TELL_S
        self._closed = False
        self._shelf = _shelves.get(parsed.host(("", 0))[0], channel)

    def put(self, key: str, value: bytes, *, ttl_s: float) -> None:
        name, shelf = self._name(key), self._shelf
        self._check_size(key, value)
        with shelf.lock:
            now_s = self._clock()
            self._keep(name, shelf.find(name, now_s) or _Entry(), value, now_s + ttl_s)
        self._tell()

    def take(self, key: str) -> bytes | None:
        name, shelf = self._name(key), self._shelf
        with shelf.lock:
            entry = shelf.find(name, self._clock())
            if entry is None:
                return None
            shelf.drop(name)
            return entry.value

    def add(self, key: str, value: bytes, *, ttl_s: float) -> bytes | None:
        name, shelf = self._name(key), self._shelf
        self._check_size(key, value)
        with shelf.lock:
            now_s = self._clock()
            entry = shelf.find(name, now_s)
            if entry is not None:
                return None if entry.value == value else entry.value
            self._keep(name, _Entry(), value, now_s + ttl_s)
        self._tell()
        return None

    def append(self, stream: str, value: bytes, *, size: int, max_bytes: int, ttl_s: float) -> Position:
        name, shelf = self._name(stream, is_stream=True), self._shelf
        self._check_size(stream, value)
        with shelf.lock:
            now_s = self._clock()
            entry = shelf.find(name, now_s) or _Entry()
            kept = entry.stream = entry.stream or _Stream()
            kept.top += 1
            kept.values.append((now_s + ttl_s, value))
            kept.values_bytes += len(value)
            while len(kept.values) > size or kept.values_bytes > max_bytes or _has_ended(kept, now_s):
                kept.drop_first()
            position = Position(kept.epoch, kept.top)
            size_bytes = len(stream) + kept.values_bytes + ENTRY_BYTES * (1 + len(kept.values))
            shelf.write(name, entry, size_bytes, now_s + ttl_s)
            shelf.make_room(self._max_entries, self._max_bytes)
        self._tell()
        return position

    def read(self, stream: str, *, after: Position | None = None, limit: int) -> Stretch:
        name, shelf = self._name(stream, is_stream=True), self._shelf
        with shelf.lock:
            now_s = self._clock()
            entry = shelf.find(name, now_s)
            if entry is None or entry.stream is None:
                return Stretch(complete=after is None)
            kept = entry.stream
            while _has_ended(kept, now_s):
                kept.drop_first()
            first, complete = stretch_from(Position(kept.epoch, kept.top), kept.first, after, limit)
            start = first - kept.first
            values = tuple(value for _, value in itertools.islice(kept.values, start, start + limit))
            return Stretch(epoch=kept.epoch, first=first, values=values, top=kept.top, complete=complete)

    def ping(self) -> None:
        self._check_open()

    def close(self) -> None:
        self._closed = True
        self._shelf = _Shelf()  # the other goes with the last store that uses it

    def _keep(self, name: Name, entry: _Entry, value: bytes, ends_s: float) -> None:
        entry.value = value
        self._shelf.write(name, entry, len(name[1]) + len(value) + ENTRY_BYTES, ends_s)
        self._shelf.make_room(self._max_entries, self._max_bytes)

    def _name(self, name: str, *, is_stream: bool = False) -> Name:
        self._check_open()
        return is_stream, stores.check_name(name)

    def _check_size(self, name: str, value: bytes) -> None:
        if len(value) + len(name) + 2 * ENTRY_BYTES > self._max_bytes:
            raise ValueTooLarge(
                f"value of {len(value)} bytes exceeds the in-memory store's max_bytes={self._max_bytes}"
            )

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosed("the in-memory store was closed")

    def _tell(self) -> None:
        shelf = self._shelf
        if not shelf.given_up or self._clock() - self._told_s < TELL_S:
            return
        with shelf.lock:
            count, shelf.given_up = shelf.given_up, 0
        self._told_s = self._clock()
        logger.warning(
            "the in-memory store was full and has given up %d entries before their time, those written longest ago; "
            "raise max_entries=%d or max_bytes=%d in store_options=, or keep them elsewhere with store=",
            count,
            self._max_entries,
            self._max_bytes,
        )


def _has_ended(stream: _Stream, now_s: float) -> bool:
    return bool(stream.values) and stream.values[0][0] <= now_s


def stretch_from(top: Position, oldest: int, after: Position | None, limit: int) -> tuple[int, bool]:
    """Return the number of the first value to read, and whether none is missing before it.

    :param top: that of the newest value.
    :param oldest: the number of the oldest value that is kept.
    """
    if after is None:
        wanted = max(top.number - limit + 1, 1)
    elif after.epoch == top.epoch and after.number <= top.number:
        wanted = after.number + 1
    else:
        return oldest, False
    return max(wanted, oldest), wanted >= oldest
