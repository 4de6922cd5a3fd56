"""What was sent and not confirmed, as RabbitMQ's delivery tags have it."""

from __future__ import annotations

from flask_socketio_queue_kombu.unconfirmed import Unconfirmed


def sent(count: int) -> Unconfirmed:
    unconfirmed = Unconfirmed()
    for number in range(1, count + 1):
        unconfirmed.add(b"%d" % number, "key", float(number))
    return unconfirmed


def left(unconfirmed: Unconfirmed) -> list[bytes]:
    return [one.message for one in unconfirmed.take_all()]


def test_one_tag_confirms_one_message_in_any_order() -> None:
    unconfirmed = sent(4)
    for tag in (3, 1):
        unconfirmed.confirm(tag, False, 5.0)
    assert (len(unconfirmed), unconfirmed.bytes) == (2, 2)
    assert left(unconfirmed) == [b"2", b"4"]


def test_a_tag_for_several_confirms_all_up_to_it() -> None:
    unconfirmed = sent(4)
    unconfirmed.confirm(2, False, 5.0)
    unconfirmed.confirm(3, True, 5.0)
    assert left(unconfirmed) == [b"4"]


def test_a_tag_that_nobody_knows_changes_nothing() -> None:
    unconfirmed = sent(2)
    unconfirmed.confirm(7, False, 5.0)
    unconfirmed.confirm(0, True, 5.0)
    assert left(unconfirmed) == [b"1", b"2"]


def test_tags_begin_anew_with_a_new_channel() -> None:
    unconfirmed = sent(3)
    unconfirmed.take_all()
    unconfirmed.add(b"new", "key", 5.0)
    unconfirmed.confirm(1, False, 5.0)
    assert (len(unconfirmed), unconfirmed.bytes) == (0, 0)


def test_waiting_counts_from_the_last_confirmation() -> None:
    unconfirmed = sent(2)
    assert unconfirmed.waiting_s(11.0) == 10.0
    unconfirmed.confirm(1, False, 8.0)
    assert unconfirmed.waiting_s(11.0) == 3.0
    unconfirmed.confirm(2, False, 9.0)
    assert unconfirmed.waiting_s(11.0) == 0.0
