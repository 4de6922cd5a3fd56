"""What is for one client is heard by its server alone, where the queue can do that; everybody else misses nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flask_socketio_core.common.sids import address_in
from flask_socketio_core.contracts.clients import Emission
from support.nodes import Bus, Node, emitter, wait_until

from .buses import make_bus

pytestmark = pytest.mark.timeout(60)

MANY = 200


@pytest.fixture
def bus(request: pytest.FixtureRequest) -> Bus:
    return make_bus(request, "host")


@pytest.fixture
def trio(bus: Bus) -> Iterator[list[Node]]:
    nodes = [Node(bus).start() for _ in range(3)]
    wait_until(lambda: all(len(node.cluster.health().peers) == 2 for node in nodes), "other servers")
    yield nodes
    for node in nodes:
        node.close()


def test_the_others_do_not_hear_it_and_take_nothing_for_lost(trio: list[Node]) -> None:
    sender, holder, third = trio
    member = holder.connect()
    sender.cluster.emit(Emission("before"))  # who has sent nothing knows nobody
    for number in range(MANY):
        sender.cluster.emit(Emission("for one", (number,), to=(member.sid,)))
    sender.cluster.emit(Emission("for all"))
    sent = [["before"], *(["for one", number] for number in range(MANY)), ["for all"]]
    assert member.wait_for(MANY + 2) == sent
    counted = [third.cluster.health().received, holder.cluster.health().received]
    assert counted == [2, MANY + 2]
    beats = third.cluster.link.peers.settled_at(sender.cluster.node)
    wait_until(lambda: third.cluster.link.peers.settled_at(sender.cluster.node) != beats, "sign of life")
    assert [node.cluster.health().lost_received for node in trio] == [0, 0, 0]


def test_it_keeps_its_order_with_what_is_for_a_room(trio: list[Node]) -> None:
    sender, holder, _ = trio
    member = holder.connect()
    holder.server.enter_room(member.sid, "room")
    for number in range(MANY):
        sender.cluster.emit(Emission("event", (number,), to=(member.sid,) if number % 2 else ("room",)))
    assert member.wait_for(MANY) == [["event", number] for number in range(MANY)]


def test_a_process_that_only_sends_and_asks_reaches_it_too(bus: Bus, trio: list[Node]) -> None:
    member = trio[1].connect()
    outside = emitter(bus)
    try:
        outside.emit(Emission("first", to=(member.sid,)))  # it has not looked yet who there is
        outside.emit(Emission("second", to=(member.sid,)))
        assert member.wait_for(2) == [["first"], ["second"]]
    finally:
        outside.close()
    assert trio[2].cluster.health().received == 1


def test_a_client_is_called_wherever_it_is(trio: list[Node]) -> None:
    sender, holder, third = trio
    member = holder.connect()
    answers: list[tuple[object, ...]] = []
    sender.cluster.emit(Emission("question", to=(member.sid,), on_ack=lambda *values: answers.append(values)))
    wait_until(lambda: member.receive() and answers, "answer")
    assert answers == [("ok",)]
    gone: list[None] = []
    member.answer = None
    call, _ = sender.cluster.question(Emission("question"), member.sid, 10.0)
    call(lambda *values: None, lambda: gone.append(None))
    wait_until(lambda: len(member.receive()) == 2, "second question")
    member.leave()
    wait_until(lambda: gone, "news that it has left")
    assert third.cluster.health().received == 0


def test_clients_that_may_come_back_elsewhere_have_no_address(bus: Bus) -> None:
    keeps, forgets = Node(bus, recovery=60), Node(bus)
    try:
        assert address_in(keeps.start().connect().sid) == ""
        assert address_in(forgets.start().connect().sid) == forgets.cluster.link.queue.address
    finally:
        keeps.close()
        forgets.close()
