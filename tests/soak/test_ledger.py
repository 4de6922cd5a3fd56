"""Each fault that a soak looks for is found when it is there."""

from __future__ import annotations

import pytest

from .ledger import Ledger, Listener

TALK = ("ann", "room")
HERE, THERE = "here", "there"


class Play:
    """Two servers with two witnesses each, and one visitor on each."""

    def __init__(self) -> None:
        self.ledger = Ledger([HERE, THERE])
        self.witnesses = [self._enter(f"witness {n}", n % 2, witness=True) for n in range(4)]
        self.visitors = [self._enter(f"visitor {n}", n, witness=False) for n in range(2)]

    def _enter(self, name: str, place: int, *, witness: bool) -> Listener:
        listener = self.ledger.listener(name, (HERE, THERE)[place], witness=witness)
        listener.enter("room")
        return listener

    def send(self, *, unheard_by: tuple[Listener, ...] = (), confirmed: bool = True) -> int:
        number = self.ledger.next_number(TALK, HERE)
        for listener in (*self.witnesses, *self.visitors):
            if listener not in unheard_by:
                listener.hear(TALK, number)
        if confirmed:
            self.ledger.confirm(TALK, number)
        return number

    def faults(self) -> dict[str, int]:
        for visitor in self.visitors:
            visitor.end()
        self.ledger.check()
        return dict(self.ledger.faults.counts)

    @property
    def there(self) -> tuple[Listener, ...]:
        return tuple(one for one in (*self.witnesses, *self.visitors) if one.home == THERE)


@pytest.fixture
def play() -> Play:
    play = Play()
    play.send()
    return play


def test_what_everybody_heard_is_no_fault(play: Play) -> None:
    play.send()
    assert play.faults() == {}
    assert (play.ledger.sent, play.ledger.heard, play.ledger.missing(THERE)) == (2, 12, 0)


def test_what_comes_twice_is_one(play: Play) -> None:
    play.visitors[1].hear(TALK, 0)
    assert play.faults() == {"repeated": 1}


def test_what_comes_again_to_one_who_left_the_room_and_came_back_is_one(play: Play) -> None:
    visitor = play.visitors[1]
    visitor.leave("room")
    visitor.enter("room")
    visitor.hear(TALK, 0)
    assert play.faults() == {"repeated": 1}


def test_what_comes_to_one_who_left_the_room_is_one(play: Play) -> None:
    play.visitors[0].leave("room")
    play.send()
    assert play.faults() == {"not for it": 1}


def test_what_was_on_its_way_to_one_who_left_the_room_and_came_back_is_none(play: Play) -> None:
    visitor = play.visitors[1]
    play.send(unheard_by=(visitor,))
    visitor.leave("room")
    visitor.hear(TALK, 1)
    play.send(unheard_by=(visitor,))
    visitor.enter("room")
    visitor.hear(TALK, 1)
    play.send()
    assert play.faults() == {}


def test_what_was_never_sent_is_one(play: Play) -> None:
    play.visitors[0].hear(TALK, 7)
    play.visitors[0].hear(("bob", "room"), 0)
    assert play.faults() == {"never sent": 2}


def test_what_comes_out_of_order_is_one(play: Play) -> None:
    for _ in range(2):
        play.ledger.next_number(TALK, HERE)
    for listener in (*play.witnesses, *play.visitors):
        late = listener is play.visitors[0]
        for number in (2, 1) if late else (1, 2):
            listener.hear(TALK, number)
    assert play.faults() == {"out of order": 1}


def test_what_a_witness_of_the_same_server_misses_is_one(play: Play) -> None:
    play.send(unheard_by=(play.witnesses[0],))
    assert play.faults() == {"lost on its own server": 1}


def test_what_a_visitor_of_the_same_server_misses_is_one(play: Play) -> None:
    play.send(unheard_by=(play.visitors[0],))
    play.send()
    assert play.faults() == {"lost on its own server": 1}


def test_what_only_one_client_of_another_server_misses_is_one(play: Play) -> None:
    play.send(unheard_by=(play.visitors[1],))
    play.send(unheard_by=(play.witnesses[1],))
    play.send()
    assert play.faults() == {"lost on its way to one client": 2}


def test_what_was_acknowledged_and_nobody_heard_is_one(play: Play) -> None:
    play.send(unheard_by=(*play.witnesses, *play.visitors))
    assert play.faults() == {"acknowledged and not sent": 1}


def test_what_a_sender_that_vanished_had_not_brought_to_its_server_is_none(play: Play) -> None:
    play.send(unheard_by=(*play.witnesses, *play.visitors), confirmed=False)
    assert play.faults() == {}
    assert play.ledger.missing(THERE) == 0


def test_what_a_whole_server_misses_is_lost_between_the_servers(play: Play) -> None:
    for _ in range(3):
        play.send(unheard_by=play.there)
    play.send()
    play.send(unheard_by=play.there)
    assert play.faults() == {}
    assert (play.ledger.missing(THERE), play.ledger.missing(HERE)) == (4, 0)
