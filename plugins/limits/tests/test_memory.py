"""Counts in memory are those of the library's own storage, and do not become more and more."""

from __future__ import annotations

import random
import threading
import time
from types import SimpleNamespace

import pytest
from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import STRATEGIES

from flask_socketio_limits.memory import Memory

NAMES = sorted(STRATEGIES)
LIMITS: list[RateLimitItem] = [parse("2/second"), parse("2 per 2 seconds"), parse("20/minute")]


class Clock:
    now_s = 1_800_000_000.25

    def time(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "time", clock.time)
    return clock


@pytest.mark.parametrize("name", NAMES)
def test_counts_are_those_of_the_librarys_storage(
    name: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    timer = SimpleNamespace(start=lambda: None, is_alive=lambda: True)
    monkeypatch.setattr(threading, "Timer", lambda *args: timer)  # its thread expires, which hits do, too
    theirs, ours = STRATEGIES[name](MemoryStorage()), STRATEGIES[name](Memory())
    dice = random.Random(7)
    passed = 0
    for step in range(3000):
        clock.now_s += dice.uniform(0, dice.choice((0.01, 0.1, 0.1, 1)))
        limit, who = dice.choice(LIMITS), dice.choice("ab")
        hit = ours.hit(limit, who)
        assert hit == theirs.hit(limit, who), step
        passed += hit
        mine, other = ours.get_window_stats(limit, who), theirs.get_window_stats(limit, who)
        assert mine.remaining == other.remaining, step
        assert mine.reset_time == pytest.approx(other.reset_time, abs=1e-3), step
    assert 300 < passed < 2700  # both answers were compared


@pytest.mark.parametrize("name", NAMES)
def test_keys_that_have_ended_do_not_become_many(name: str, clock: Clock) -> None:
    storage = Memory()
    limiter = STRATEGIES[name](storage)
    most = 0
    for step in range(5000):
        clock.now_s += 0.01  # some 100 to 200 windows have not ended
        assert limiter.hit(LIMITS[0], f"client {step}")
        most = max(most, len(storage))
    assert 100 <= most <= 400
    assert storage.reset() <= most
    assert len(storage) == 0


def test_threads_count_together() -> None:
    limiter = STRATEGIES["fixed-window"](Memory())
    limit = parse("1000/hour")
    passed: list[bool] = []
    threads = [
        threading.Thread(target=lambda: passed.extend(limiter.hit(limit, "all") for _ in range(400)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert passed.count(True) == 1000
