"""The in-memory store passes the suite that every store passes, and keeps no more than it may."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from flask_socketio_core.contracts import Stretch
from flask_socketio_core.errors import UnknownOption, ValueTooLarge
from flask_socketio_core.store.memory import ENTRY_BYTES, MemoryStore
from flask_socketio_core.testing.conformance.stores import StoreConformance
from flask_socketio_core.testing.threads import ThreadMode

Make = Callable[..., MemoryStore]


class TestMemoryStore(StoreConformance):
    store_class = MemoryStore

    @pytest.fixture
    def url(self) -> str:
        return "memory://"


class TestNamedMemoryStore(StoreConformance):
    store_class = MemoryStore

    @pytest.fixture
    def url(self) -> str:
        return "memory://named?max_entries=1000"

    @pytest.fixture
    def secret_url(self) -> str | None:
        return None


class Clock:
    """A clock that the test moves, seconds."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def advance(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(clock: Clock, request: pytest.FixtureRequest) -> Make:
    def make(**options: Any) -> MemoryStore:
        return MemoryStore("memory://", request.node.name, mode=ThreadMode(), options=options, clock=clock)

    return make


def keys(store: MemoryStore) -> list[str]:
    return [name for _, name in store._shelf.entries]


def test_what_was_written_longest_ago_is_given_up_for_more_entries(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    store = make(max_entries=3)
    for key in ("a", "b", "c"):
        store.put(key, b"", ttl_s=60)
    store.put("a", b"again", ttl_s=60)
    with caplog.at_level(logging.WARNING):
        assert store.add("d", b"", ttl_s=60) is None
        store.append("e", b"", size=1, max_bytes=1, ttl_s=60)
    assert keys(store) == ["a", "d", "e"]
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1 and "has given up 1 entries before their time" in told[0]
    assert "raise max_entries=3 or max_bytes=67108864 in store_options=" in told[0]


def test_what_was_given_up_is_told_once_a_minute(
    make: Make, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    store = make(max_entries=1)
    for number in range(50):
        store.put(str(number), b"", ttl_s=600)
        clock.advance(2)
    assert [record.getMessage().split("given up ")[1][:2] for record in caplog.records] == ["1 ", "30"]


def test_no_more_bytes_are_kept_than_allowed(make: Make) -> None:
    store = make(max_bytes=4000)
    for number in range(10):
        store.put(str(number), bytes(1000), ttl_s=60)
    assert keys(store) == ["7", "8", "9"]
    for _ in range(10):
        store.append("stream", bytes(500), size=3, max_bytes=10_000, ttl_s=60)
    assert store.read("stream", limit=9).top == 10
    assert store._shelf.size_bytes <= 4000
    for key in keys(store)[:-1]:
        store.take(key)
    assert store._shelf.size_bytes == 3 * 500 + len("stream") + 4 * ENTRY_BYTES


def test_a_stream_that_is_given_up_begins_another_epoch(make: Make) -> None:
    store = make(max_entries=2)
    first = store.append("stream", b"", size=9, max_bytes=9, ttl_s=60)
    for key in ("a", "b"):
        store.put(key, b"", ttl_s=60)
    assert store.read("stream", limit=9) == Stretch()
    assert store.append("stream", b"", size=9, max_bytes=9, ttl_s=60).epoch != first.epoch


def test_a_value_that_never_fits_is_refused(make: Make) -> None:
    with pytest.raises(
        ValueTooLarge, match="value of 5000 bytes exceeds the in-memory store's max_bytes=4000"
    ):
        make(max_bytes=4000).put("key", bytes(5000), ttl_s=60)


def test_what_has_ended_takes_no_memory_once_something_else_is_done(make: Make, clock: Clock) -> None:
    store = make()
    for number in range(1000):
        store.put(str(number), b"", ttl_s=number + 1)
        store.append(f"stream-{number}", b"", size=1, max_bytes=1, ttl_s=number + 1)
    clock.advance(500)
    store.take("nothing")
    assert len(keys(store)) == 1000
    clock.advance(500)
    store.take("nothing")
    assert keys(store) == [] and store._shelf.size_bytes == 0


def test_a_renewed_entry_has_one_end(make: Make, clock: Clock) -> None:
    store = make()
    for _ in range(10_000):
        store.put("key", b"", ttl_s=60)
        store.append("stream", b"", size=1, max_bytes=1, ttl_s=60)
        clock.advance(1)
    assert len(store._shelf._ends) == 2


def test_entries_that_are_gone_leave_few_ends_behind(make: Make) -> None:
    store = make()
    for number in range(10_000):
        store.add(str(number), b"", ttl_s=600)
        store.take(str(number))
    assert len(store._shelf._ends) < 200


def test_an_option_of_a_queue_is_none_of_a_store() -> None:
    with pytest.raises(
        UnknownOption, match=r"store 'memory' got .* 'max_entry', did you mean 'max_entries'\?"
    ):
        MemoryStore("memory://?max_entry=3", "test", mode=ThreadMode(), options={})
    with pytest.raises(
        UnknownOption, match="store 'memory' got an unexpected keyword argument 'secret', expected"
    ):
        MemoryStore("memory://", "test", mode=ThreadMode(), options={"secret": "x"})
