"""What a gap has cost is told once the servers that were there before it have said so: with numbers only, no queue."""

from __future__ import annotations

import threading

from flask_socketio_core.cluster.gaps import Gap, Gaps


def begin(
    gaps: Gaps, *nodes: str, duration_s: float = 2.0, since: float = 100.0, lost: int = 0
) -> Gap | None:
    return gaps.begin(duration_s, since, nodes=nodes, lost=lost, until=50.0)


def test_a_gap_is_told_when_every_server_has_said_what_it_sent() -> None:
    gaps = Gaps(threading.Lock())
    assert begin(gaps, "a", "b", lost=7) is None
    assert gaps.settle("a", 9) is None
    assert gaps.settle("stranger", 9) is None
    assert gaps.settle("b", 12) == Gap(duration_s=2.0, since=100.0, missed=5, resumed=False)
    assert gaps.settle("b", 13) is None


def test_messages_given_up_before_a_gap_that_come_after_all_make_no_negative_number() -> None:
    gaps = Gaps(threading.Lock())
    begin(gaps, "a", lost=3)
    assert gaps.settle("a", 0) == Gap(duration_s=2.0, since=100.0, missed=0, resumed=False)


def test_without_other_servers_nobody_can_say_what_is_missing() -> None:
    assert begin(Gaps(threading.Lock())) == Gap(duration_s=2.0, since=100.0, missed=None, resumed=False)


def test_a_server_that_is_not_heard_is_not_waited_for_longer_than_agreed() -> None:
    gaps = Gaps(threading.Lock())
    begin(gaps, "a", "b")
    gaps.settle("a", 4)
    assert gaps.overdue(50.0) is None
    assert gaps.overdue(50.1) == Gap(duration_s=2.0, since=100.0, missed=None, resumed=False)
    assert gaps.overdue(50.2) is None


def test_a_second_gap_before_the_first_is_settled_makes_one_of_both() -> None:
    gaps = Gaps(threading.Lock())
    begin(gaps, "a", since=100.0, lost=1)
    begin(gaps, "a", since=105.0, duration_s=3.0, lost=2)
    assert gaps.settle("a", 11) == Gap(duration_s=8.0, since=100.0, missed=10, resumed=False)
    assert (gaps.count, gaps.total_s) == (2, 5.0)


def test_losses_without_a_gap_are_told_unless_one_is_open() -> None:
    gaps = Gaps(threading.Lock())
    assert gaps.lost(100.0, 3) == Gap(duration_s=0.0, since=100.0, missed=3, resumed=False)
    begin(gaps, "a")
    assert gaps.lost(101.0, 3) is None
    assert (gaps.count, gaps.total_s) == (1, 2.0)


def test_after_a_gap_that_the_queue_makes_up_for_nothing_is_missing() -> None:
    gaps = Gaps(threading.Lock())
    assert gaps.resumed(4.0, 100.0) == Gap(duration_s=4.0, since=100.0, missed=0, resumed=True)
    assert (gaps.count, gaps.total_s) == (1, 4.0)
