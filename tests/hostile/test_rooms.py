"""A client that has learnt the sids of others and joins rooms of these names, on every server of a cluster.

The application lets clients join whatever they say. One server is Flask-SocketIO's. Only the owner of a sid hears what
is addressed to it; what only python-socketio could tell apart, docs/security.md says, and is here as it says it.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest
import socketio as python_socketio

from cluster.buses import make_bus
from cluster.stage import OUTSIDE, Person, Stage, cluster_app, emitting
from flask_socketio_core.contracts.clients import Emission
from support.nodes import Bus, Node, emitter, wait_until
from support.servers import REFERENCE, THREADING, serving

pytestmark = pytest.mark.timeout(120)

OURS, ALSO_OURS, THEIRS = "ours", "also ours", "theirs"
THEIR_EMITTER = "their emitter"
OF_OURS = (OURS, ALSO_OURS)
SIDE_ROOM = "side room"


@pytest.fixture(scope="module")
def bus(request: pytest.FixtureRequest) -> Bus:
    return make_bus(request, "redis")


@pytest.fixture(scope="module")
def stage(bus: Bus, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    directory = tmp_path_factory.mktemp("rooms")
    ours = cluster_app(bus)
    theirs = dataclasses.replace(
        ours, library=REFERENCE, options={"message_queue": bus.url, "channel": bus.channel}
    )
    with ExitStack() as stack:
        stage = Stage(stack.enter_context(emitting(bus)))
        for name, app in ((OURS, ours), (ALSO_OURS, ours), (THEIRS, theirs)):
            server = stack.enter_context(serving(THREADING, app, directory))
            stack.callback(stage.add(name, server).close)
        stage.become_one()
        yield stage


@pytest.fixture(scope="module")
def attackers(stage: Stage) -> Iterator[dict[str, Person]]:
    attackers = {name: Person(server) for name, server in stage.servers.items()}
    yield attackers
    for attacker in attackers.values():
        attacker.close()


@pytest.fixture
def their_emitter(bus: Bus) -> Iterator[Any]:
    manager: Any = python_socketio.RedisManager(bus.url, channel=bus.channel, write_only=True)
    yield manager
    manager.redis.connection_pool.disconnect()


def settle(stage: Stage, attackers: dict[str, Person], event: str) -> None:
    """Return when everybody has heard all that was sent until now."""
    stage.settle("")
    for sender in stage.senders.values():
        sender.do("emit", event, 0)
    for person in (*stage.people.values(), *attackers.values()):
        wait_until(lambda person=person: len(person.numbers(event)) == len(stage.senders), event)  # type: ignore[misc]


def test_only_its_owner_hears_what_is_sent_to_a_sid(
    stage: Stage, attackers: dict[str, Person], their_emitter: Any
) -> None:
    answers = {
        (name, owner): attacker.client.call("join whatever", stage.people[owner].sid, timeout=10)
        for (name, attacker), owner in itertools.product(attackers.items(), stage.people)
    }
    let_in = {pair for pair, answer in answers.items() if answer == "in"}
    # Theirs know their own sids only; a sid of theirs has no form that a name of a room could not have.
    assert let_in == {(THEIRS, OURS), (THEIRS, ALSO_OURS), (OURS, THEIRS), (ALSO_OURS, THEIRS)}
    assert all("form of a sid" in answers[name, owner] for name, owner in itertools.product(OF_OURS, OF_OURS))

    emits = {name: partial(sender.do, "emit") for name, sender in stage.senders.items()}
    emits[THEIR_EMITTER] = their_emitter.emit
    for (sender, emit), (owner, person) in itertools.product(emits.items(), stage.people.items()):
        emit("secret", (sender, owner, 1), to=person.sid)
        emit("secret", (sender, owner, 2), to=[person.sid])
        emit("secret", (sender, owner, 3), to=[SIDE_ROOM, person.sid])
        if sender != THEIR_EMITTER:
            assert stage.senders[sender].do("call", "question", 7, to=person.sid, timeout=10) == ("answer", 7)
    settle(stage, attackers, "end of secrets")
    wait_until(
        lambda: all(len(p.numbers("secret")) >= 3 * len(emits) for p in stage.people.values()), "secret"
    )

    secrets = itertools.product(emits, stage.people, (1, 2, 3))
    expected = {(sender, owner, number) for sender, owner, number in secrets}
    for owner, heard in stage.heard("secret").items():
        assert sorted(heard) == sorted(("secret", *secret) for secret in expected if secret[1] == owner)
    for name, attacker in attackers.items():
        overheard = {item[1:3] for item in list(attacker.heard) if item[0] == "secret"}
        if name in OF_OURS:
            assert overheard == {(sender, THEIRS) for sender in emits}
        else:
            assert overheard == set(itertools.product((THEIRS, THEIR_EMITTER), OF_OURS))


def test_nobody_is_put_into_such_a_room_from_elsewhere(stage: Stage, attackers: dict[str, Person]) -> None:
    victim, attacker = stage.people[ALSO_OURS], attackers[OURS]
    for name in (OUTSIDE, *OF_OURS):  # a server answers 500, and its log is in the error
        with pytest.raises((ValueError, AssertionError), match="form of a sid"):
            stage.senders[name].do("enter_room", attacker.sid, victim.sid)
        with pytest.raises((ValueError, AssertionError), match="form of a sid"):
            stage.senders[name].do("close_room", victim.sid)
    for _ in range(20):  # theirs do not know that they should not
        stage.senders[THEIRS].do("enter_room", attacker.sid, victim.sid)
        stage.senders[THEIRS].do("close_room", victim.sid)
    for name, sender in stage.senders.items():
        sender.do("emit", "private", name, to=victim.sid)
    settle(stage, attackers, "end of private")
    assert sorted(victim.numbers("private")) == sorted(stage.senders)
    assert [item for item in attacker.heard if item[0] == "private"] == []
    log = stage.servers[OURS].log_text()
    assert log.count("dropped a message") == 2  # of 40, one for each kind


def test_a_sid_stays_one_when_its_client_has_left(bus: Bus) -> None:
    one, two, outside = Node(bus).start(), Node(bus).start(), emitter(bus)
    try:
        gone, attacker = one.connect(), two.connect()
        gone.leave()
        wait_until(lambda: not one.server.is_connected(gone.sid, "/"), "leaving")
        for node in (one, two):
            with pytest.raises(ValueError, match="form of a sid"):
                node.cluster.enter_room(attacker.sid, gone.sid)
        for sender in (one.cluster, two.cluster, outside):
            sender.emit(Emission("late", (), to=(gone.sid,)))
            sender.emit(Emission("last", (), to=(attacker.sid,)))
        assert attacker.wait_for(3) == [["last"]] * 3
    finally:
        for node in (one, two):
            node.close()
        outside.close()
