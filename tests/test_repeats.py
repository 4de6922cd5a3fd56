"""What comes again and again is told once per kind and minute, and counted."""

from __future__ import annotations

import threading

from flask_socketio_core.common.repeats import EACH_S, MOST_KINDS, Repeats, kind_of


class Clock:
    """A clock that a test turns."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_the_first_is_told_and_the_next_minute_has_the_count() -> None:
    clock = Clock()
    repeats = Repeats(clock)
    assert repeats.take("a") == ""
    assert [repeats.take("a") for _ in range(299)] == [None] * 299
    assert repeats.take("b") == ""
    clock.now_s += EACH_S
    assert repeats.take("a") == " (and 299 more like it since the last that was told)"
    assert repeats.take("b") == ""


def test_threads_lose_none_and_one_tells() -> None:
    clock = Clock()
    repeats = Repeats(clock)
    told: list[str | None] = []
    threads = [
        threading.Thread(target=lambda: told.extend(repeats.take("a") for _ in range(1000))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told, key=str)[:1] == [""] and told.count(None) == 7999
    clock.now_s += EACH_S
    assert "7999 more" in str(repeats.take("a"))


def test_a_thousand_kinds_are_kept() -> None:
    clock = Clock()
    repeats = Repeats(clock)
    assert [repeats.take(number) for number in range(MOST_KINDS)] == [""] * MOST_KINDS
    assert [repeats.take(f"new {number}") for number in range(3)] == ["", None, None]
    clock.now_s += EACH_S
    assert repeats.take("new") == ""


def test_one_statement_raises_one_kind() -> None:
    def raised(value: str) -> ValueError:
        try:
            if value == "other":
                raise ValueError(value)
            raise ValueError(value)
        except ValueError as error:
            return error

    assert kind_of(raised("a")) == kind_of(raised("b"))
    assert kind_of(raised("a")) != kind_of(raised("other"))
