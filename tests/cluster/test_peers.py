"""Repeats are dropped, losses counted, dead nodes forgotten: with numbers only, no clock and no queue."""

from __future__ import annotations

from flask_socketio_core.cluster.peers import MAX_MISSING, MAX_SENDERS, Peers

NEWS = {"async_mode": "threading", "version": "1", "interval": 5}


def hear(peers: Peers, *numbers: int, node: str = "n") -> list[int]:
    return [number for number in numbers if peers.is_new(node, number, 0.0)]


def test_repeats_are_dropped() -> None:
    peers = Peers()
    assert hear(peers, 1, 2, 2, 3, 1) == [1, 2, 3]
    assert peers.duplicates == 2


def test_a_sender_is_heard_from_any_number_on() -> None:
    peers = Peers()
    assert hear(peers, 500, 501) == [500, 501]
    assert peers.on_heartbeat("n", NEWS, 0.0) == 0


def test_what_was_sent_before_the_first_that_was_heard_is_delivered_once() -> None:
    peers = Peers()
    assert hear(peers, 5, 4, 3, 4, 6) == [5, 4, 3, 6]
    peers.on_heartbeat("n", NEWS, 0.0)
    assert peers.on_heartbeat("n", NEWS, 0.0) == 0
    assert peers.duplicates == 1


def test_what_comes_late_is_delivered() -> None:
    peers = Peers()
    assert hear(peers, 1, 4, 3, 2, 3) == [1, 4, 3, 2]
    peers.on_heartbeat("n", NEWS, 0.0)
    peers.on_heartbeat("n", NEWS, 0.0)
    assert peers.lost == 0


def test_a_gap_is_a_loss_at_the_second_heartbeat() -> None:
    peers = Peers()
    hear(peers, 1, 2, 6)
    assert peers.on_heartbeat("n", NEWS, 0.0) == 0
    assert peers.on_heartbeat("n", NEWS, 0.0) == 3
    assert peers.on_heartbeat("n", NEWS, 0.0) == 0
    assert peers.lost == 3


def test_what_was_given_up_and_comes_after_all_is_delivered_and_no_loss() -> None:
    peers = Peers()
    hear(peers, 1, 3)
    peers.on_heartbeat("n", NEWS, 0.0)
    peers.on_heartbeat("n", NEWS, 0.0)
    assert hear(peers, 2, 2) == [2]
    assert (peers.lost, peers.duplicates) == (0, 1)


def test_a_gap_too_large_to_track_is_counted_at_once() -> None:
    peers = Peers()
    hear(peers, 1, 2 + 3 * MAX_MISSING)
    assert peers.lost == 2 * MAX_MISSING
    peers.on_heartbeat("n", NEWS, 0.0)
    assert peers.on_heartbeat("n", NEWS, 0.0) == MAX_MISSING
    assert peers.lost == 3 * MAX_MISSING


def test_a_silent_node_is_forgotten() -> None:
    peers = Peers()
    hear(peers, 1)
    peers.on_heartbeat("n", NEWS, 100.0)
    assert peers.forget_silent(115.0) == []
    assert [peer.node for peer in peers.alive(115.0)] == ["n"]
    assert peers.alive(115.0)[0].silent_s == 15.0
    assert peers.forget_silent(115.1) == ["n"]
    assert peers.alive(115.1) == ()


def test_silence_that_was_ours_is_excused() -> None:
    peers = Peers()
    peers.on_heartbeat("n", NEWS, 100.0)
    peers.excuse_silence(200.0)
    assert peers.forget_silent(210.0) == []


def test_a_node_that_says_good_bye_is_gone_at_once() -> None:
    peers = Peers()
    peers.on_heartbeat("n", NEWS, 0.0)
    peers.on_bye("n")
    assert "n" not in peers


def test_news_that_make_no_sense_do_no_harm() -> None:
    peers = Peers()
    peers.on_heartbeat("n", {"interval": "soon", "async_mode": None}, 0.0)
    assert peers.forget_silent(15.0) == []
    assert peers.forget_silent(15.1) == ["n"]


def test_senders_are_not_remembered_without_limit() -> None:
    peers = Peers()
    for number in range(MAX_SENDERS + 10):
        hear(peers, 1, node=str(number))
    assert hear(peers, 1, node="0") == [1]  # forgotten, so it counts as new
    assert hear(peers, 1, node=str(MAX_SENDERS + 9)) == []
