"""Repeats are dropped, losses counted, dead nodes forgotten: with numbers only, no clock and no queue."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from flask_socketio_core.cluster.envelope import sender_to
from flask_socketio_core.cluster.peers import MAX_MISSING, MAX_NODES, MAX_SENDERS, Peers

NEWS = {"async_mode": "threading", "version": "1", "interval": 5}


def make(*, in_order: bool = False) -> Peers:
    return Peers(threading.Lock(), in_order=in_order)


def beat(peers: Peers, seq: int, now_s: float = 0.0) -> int:
    return peers.on_heartbeat("n", NEWS, seq, now_s)


def hear(peers: Peers, *numbers: int, node: str = "n") -> list[int]:
    return [number for number in numbers if peers.is_new(node, number, 0.0)]


def test_repeats_are_dropped() -> None:
    peers = make()
    assert hear(peers, 1, 2, 2, 3, 1) == [1, 2, 3]
    assert peers.duplicates == 2


def test_a_sender_is_heard_from_any_number_on() -> None:
    peers = make()
    assert hear(peers, 500, 501) == [500, 501]
    assert beat(peers, 501) == 0


def test_what_was_sent_before_its_first_sign_of_life_is_no_loss() -> None:
    peers = make(in_order=True)
    assert beat(peers, 500) == 0
    assert hear(peers, 501) == [501]
    assert beat(peers, 501) == 0


def test_what_was_sent_before_the_first_that_was_heard_is_delivered_once() -> None:
    peers = make()
    assert hear(peers, 5, 4, 3, 4, 6) == [5, 4, 3, 6]
    beat(peers, 6)
    assert beat(peers, 6, 5.0) == 0
    assert peers.duplicates == 1


def test_what_comes_late_is_delivered() -> None:
    peers = make()
    assert hear(peers, 1, 4, 3, 2, 3) == [1, 4, 3, 2]
    beat(peers, 4)
    beat(peers, 4, 5.0)
    assert peers.lost == 0


def test_a_gap_is_a_loss_at_the_second_heartbeat() -> None:
    peers = make()
    hear(peers, 1, 2, 6)
    assert beat(peers, 6) == 0
    assert beat(peers, 6, 5.0) == 3
    assert beat(peers, 6, 10.0) == 0
    assert peers.lost == 3


def test_two_heartbeats_at_once_give_what_is_on_its_way_no_time_and_count_as_one() -> None:
    peers = make()
    hear(peers, 1, 3)
    assert beat(peers, 3, 0.0) == 0
    assert beat(peers, 3, 2.4) == 0
    assert hear(peers, 2) == [2]
    assert beat(peers, 3, 5.0) == 0
    assert peers.lost == 0


def test_on_a_queue_that_keeps_order_a_gap_is_a_loss_at_the_first_heartbeat() -> None:
    peers = make(in_order=True)
    hear(peers, 1, 2, 6)
    assert beat(peers, 6) == 3
    assert beat(peers, 6) == 0
    assert peers.lost == 3


def test_the_last_messages_before_a_silence_are_counted() -> None:
    peers = make(in_order=True)
    hear(peers, 1)
    assert beat(peers, 4) == 3
    assert hear(peers, 5) == [5]
    assert beat(peers, 5) == 0


def test_a_heartbeat_that_overtakes_messages_makes_no_loss_of_them() -> None:
    peers = make()
    hear(peers, 1)
    assert beat(peers, 3) == 0
    assert hear(peers, 2, 3) == [2, 3]
    assert beat(peers, 3, 5.0) == 0
    assert (peers.lost, peers.duplicates) == (0, 0)


def test_a_node_is_settled_at_the_last_heartbeat_behind_which_nothing_was_missing() -> None:
    peers = make()
    assert peers.settled_at("n") is None
    hear(peers, 1)
    beat(peers, 1, 10.0)
    hear(peers, 3)
    beat(peers, 3, 20.0)
    assert peers.settled_at("n") == 10.0
    assert beat(peers, 3, 30.0) == 1
    assert peers.settled_at("n") == 30.0


def test_the_losses_of_a_node_that_ends_or_dies_are_counted() -> None:
    peers = make(in_order=True)
    hear(peers, 1)
    beat(peers, 1)
    assert peers.on_bye("n", {}, 3, 0.0) == 2
    hear(peers, 1, 4, node="m")
    peers.on_heartbeat("m", NEWS, 4, 0.0)
    hear(peers, 6, node="m")
    assert peers.forget_silent(100.0) == {"m": 1}
    assert peers.lost == 2 + 2 + 1


def test_what_was_given_up_and_comes_after_all_is_delivered_and_no_loss() -> None:
    peers = make()
    hear(peers, 1, 3)
    beat(peers, 3)
    beat(peers, 3, 5.0)
    assert hear(peers, 2, 2) == [2]
    assert (peers.lost, peers.duplicates) == (0, 1)


def test_a_gap_too_large_to_track_is_counted_at_once() -> None:
    peers = make()
    hear(peers, 1, 2 + 3 * MAX_MISSING)
    assert peers.lost == 2 * MAX_MISSING
    assert beat(peers, 2 + 3 * MAX_MISSING) == 2 * MAX_MISSING
    assert beat(peers, 2 + 3 * MAX_MISSING, 5.0) == MAX_MISSING
    assert peers.lost == 3 * MAX_MISSING


def test_a_silent_node_is_forgotten() -> None:
    peers = make()
    hear(peers, 1)
    beat(peers, 1, 100.0)
    assert peers.forget_silent(115.0) == {}
    assert [peer.node for peer in peers.alive(115.0)] == ["n"]
    assert peers.alive(115.0)[0].silent_s == 15.0
    assert peers.forget_silent(115.1) == {"n": 0}
    assert peers.alive(115.1) == ()


def test_silence_that_was_ours_is_excused() -> None:
    peers = make()
    beat(peers, 1, 100.0)
    peers.excuse_silence(200.0)
    assert peers.forget_silent(210.0) == {}


def test_a_message_that_comes_while_its_sender_is_given_up_is_delivered_once() -> None:
    peers = make()
    hear(peers, 1, 3)
    beat(peers, 3)
    first: list[int] = []
    listener = threading.Thread(target=lambda: first.extend(hear(peers, 2)))

    class Missing(set[int]):
        def __isub__(self, other: Any) -> Missing:  # type: ignore[misc]  # the moment at which it comes
            listener.start()
            listener.join(0.2)
            self.difference_update(other)
            return self

    sender = peers._senders["n"]
    sender.missing = Missing(sender.missing)
    assert peers.forget_silent(100.0) == {"n": 1}
    listener.join()
    assert (first, hear(peers, 2)) == ([2], [])
    assert (peers.lost, peers.duplicates) == (0, 1)


def test_a_node_that_says_good_bye_is_gone_at_once() -> None:
    peers = make()
    beat(peers, 1)
    peers.on_bye("n", {}, 1, 0.0)
    assert "n" not in peers


def test_news_that_make_no_sense_do_no_harm() -> None:
    peers = make()
    peers.on_heartbeat("n", {"interval": "soon", "async_mode": None}, 0, 0.0)
    assert peers.forget_silent(15.0) == {}
    assert peers.forget_silent(15.1) == {"n": 0}


def test_a_forged_first_number_makes_nobody_deaf_for_long() -> None:
    peers = make()
    honest = range(1, 3 * MAX_MISSING)
    assert hear(peers, 10**9) == [10**9]
    assert hear(peers, *honest) == list(honest)
    assert hear(peers, *honest[-100:]) == []


def test_a_node_that_is_watched_is_displaced_by_no_number_of_senders() -> None:
    peers = make()
    hear(peers, 1)
    beat(peers, 1)
    for number in range(MAX_SENDERS + 10):
        hear(peers, 1, node=str(number))
    assert hear(peers, 1) == []
    assert len(peers._senders) == MAX_SENDERS


def test_a_node_that_promised_a_long_interval_makes_room_for_a_new_one() -> None:
    peers = make()
    for number in range(MAX_NODES):
        peers.on_heartbeat(f"fake-{number}", {**NEWS, "interval": 3599}, 0, 0.0)
    beat(peers, 0, 15.0)
    assert "n" not in peers
    beat(peers, 0, 15.1)
    assert "n" in peers
    assert len(peers.alive(15.1)) == MAX_NODES


def test_senders_are_not_remembered_without_limit() -> None:
    peers = make()
    for number in range(MAX_SENDERS + 10):
        hear(peers, 1, node=str(number))
    assert hear(peers, 1, node="0") == [1]  # forgotten, so it counts as new
    assert hear(peers, 1, node=str(MAX_SENDERS + 9)) == []


def test_what_others_have_heard_is_covered_by_who_has_heard_it_or_was_not_there_yet() -> None:
    theirs, ours = make(), make()
    assert theirs.is_new("n", 1, 10.0)
    assert theirs.is_new("n", 2, 10.0)
    heard = theirs.heard(13.0, within_s=60.0)
    assert heard == {"n": (2, [], 1, 3.0)}
    assert ours.covers(heard, "us", listening_s=2.0)  # it came before ours listened
    # It is late, or theirs was; or it is lost.
    assert [ours.covers(heard, "us", 5.0, waited_s) for waited_s in (0.0, 0.5, 1.0)] == [False, False, True]
    assert not ours.covers(heard, "us", 3600.0, waited_s=1.0)  # theirs was not that late
    assert ours.is_new("n", 1, 13.0)
    assert not ours.covers(heard, "us", listening_s=2.0)
    assert ours.is_new("n", 2, 13.0)
    assert ours.covers(heard, "us", listening_s=5.0)
    assert theirs.heard(80.0, within_s=60.0) == {}


TO_US, TO_OTHERS = sender_to("n", "0a1b2c"), sender_to("n", "0d0d0d")


@pytest.mark.parametrize(
    ("heard", "sent", "lost"), [((1, 4), 4, 2), ((3,), 3, 2), ((1,), 3, 2), ((), 2, 2), ((1, 2), 2, 0)]
)
@pytest.mark.parametrize("how", ["here", "bye"])
def test_what_was_sent_to_us_alone_and_is_missing_is_counted(
    heard: tuple[int, ...], sent: int, lost: int, how: str
) -> None:
    peers = Peers(threading.Lock(), in_order=True, address="0a1b2c")
    assert peers.on_heartbeat("n", {}, 3, 10.0) == 0
    assert all(peers.is_new(TO_US, number, 11.0) for number in heard)
    assert not any(peers.is_new(TO_US, number, 11.0) for number in heard)
    news = peers.on_heartbeat if how == "here" else peers.on_bye
    assert news("n", {"to": {"0a1b2c": sent, "0d0d0d": 100}}, 3, 12.0) == lost
    assert news("n", {"to": {"0a1b2c": sent, "0d0d0d": 100}}, 3, 13.0) == 0
    assert peers.lost == lost


def test_what_one_that_falls_silent_has_sent_to_us_alone_is_counted_too() -> None:
    peers = Peers(threading.Lock(), address="0a1b2c")
    peers.on_heartbeat("n", {}, 3, 10.0)
    assert [peers.is_new(TO_US, number, 11.0) for number in (1, 4)] == [True, True]
    assert peers.forget_silent(100.0) == {"n": 2}


def test_what_was_sent_to_another_one_alone_counts_for_nothing() -> None:
    for address in ("", "0a1b2c"):
        peers = Peers(threading.Lock(), in_order=True, address=address)
        assert [peers.is_new(TO_OTHERS, number, 10.0) for number in (1, 30_001)] == [True, True]
        assert peers.on_heartbeat("n", {"to": {"0d0d0d": 40_000}}, 3, 12.0) == peers.lost == 0
        assert peers.is_new(TO_US, 1, 10.0)
        assert peers.heard(10.0, within_s=60.0) == {"n": (3, [], 4, 0.0)}  # nobody's state depends on more
