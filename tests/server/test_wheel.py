"""The timing wheel: never early, at most one slot late, and forgetting what leaves."""

from __future__ import annotations

from flask_socketio_core.transport.timer import Wheel


class Item:
    def __init__(self) -> None:
        self.slot = -1

    def next_due(self) -> float | None:
        return None

    def on_due(self, now_s: float) -> float | None:
        return None


def test_an_item_is_due_after_its_time_and_never_before() -> None:
    wheel = Wheel(0.5)
    item = Item()
    wheel.schedule(item, 10.0)
    assert wheel.take_due(9.99) == []
    assert wheel.take_due(10.0) == []
    assert wheel.take_due(10.5) == [item]
    assert len(wheel) == 0


def test_moving_an_item_forgets_its_old_time() -> None:
    wheel = Wheel(1)
    item = Item()
    wheel.schedule(item, 5)
    wheel.schedule(item, 50)
    assert wheel.take_due(49) == []
    assert wheel.take_due(51) == [item]


def test_a_time_in_the_past_is_due_at_the_next_tick() -> None:
    wheel = Wheel(1)
    wheel.take_due(100)
    item = Item()
    wheel.schedule(item, 3)
    assert wheel.next_due_s() == 101
    assert wheel.take_due(101) == [item]


def test_removing_twice_does_no_harm_and_leaves_nothing() -> None:
    wheel = Wheel(1)
    item = Item()
    wheel.schedule(item, 5)
    wheel.remove(item)
    wheel.remove(item)
    assert wheel.next_due_s() is None
    assert wheel.take_due(1000) == []


def test_everything_late_is_due_at_once() -> None:
    wheel = Wheel(0.1)
    items = [Item() for _ in range(100)]
    for index, item in enumerate(items):
        wheel.schedule(item, index / 10)
    assert {id(item) for item in wheel.take_due(1000)} == {id(item) for item in items}
