"""A process that publishes what it likes on the channel: wrong messages are dropped, and nobody goes deaf by them."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from flask_socketio_core.cluster.acks import Awaited, PendingAcks
from flask_socketio_core.cluster.envelope import stamp
from flask_socketio_core.cluster.link import SERVER_LINES
from flask_socketio_core.cluster.memory import MemoryQueue
from flask_socketio_core.cluster.peers import MAX_NODES
from flask_socketio_core.common.sids import new_sid
from flask_socketio_core.contracts.clients import Emission
from support.nodes import Bus, Node, wait_until

GOOD: tuple[dict[str, Any], ...] = (
    {
        "method": "emit",
        "event": "e",
        "data": [1],
        "namespace": "/",
        "room": "r",
        "skip_sid": ["s"],
        "except": ["x", ["y", 1]],
        "ask_all": 7,
        "expires_at": 1e12,
        "host_id": "h",
    },
    {"method": "emit", "event": "e", "data": [{"_placeholder": True, "num": 0}, "YQ=="], "binary": True},
    {"method": "callback", "host_id": "h", "sid": "s", "namespace": "/", "id": 1, "args": [1]},
    {"method": "gone", "host_id": "h", "sid": "s", "id": 1},
    {"method": "asked", "host_id": "h", "id": 1, "sids": [new_sid()], "total": 1, "node": "n", "seq": 1},
    {"method": "acked", "host_id": "h", "id": 1, "acks": [[new_sid(), [1], False]], "node": "n", "seq": 1},
    {"method": "disconnect", "sid": "s", "namespace": "/", "host_id": "h"},
    {"method": "enter_room", "sid": "s", "room": "r", "namespace": "/"},
    {"method": "leave_room", "sid": "s", "room": "r", "namespace": "/"},
    {"method": "close_room", "room": "r", "namespace": "/"},
    {"method": "move", "namespace": "/o", "to": ["r"], "except": ["x"], "enter": ["e"], "leave": ["r"]},
    {"method": "kick", "namespace": "/o", "to": ["r"], "except": ["x"], "reason": "why", "close": True},
    {
        "method": "node",
        "state": "here",
        "host_id": "h",
        "interval": 5,
        "async_mode": "m",
        "node": "n",
        "seq": 1,
    },
)
DEEP: Any = []
for _ in range(400):
    DEEP = [DEEP]
WRONG: tuple[Any, ...] = (
    None, 5, -1, 1.5, 10**30, True, "", "x" * 70_000, "a\nb", "\ud800", [], [[]], [None, {}], {}, {"a": [1]}, DEEP,
    [1, 2, 3], ["s", "/", 1], "é" * 40,
)  # fmt: skip


@pytest.fixture
def bus(request: pytest.FixtureRequest) -> Bus:
    return Bus(MemoryQueue, "memory://", request.node.name)


@pytest.fixture
def node(bus: Bus) -> Iterator[Node]:
    node = Node(bus).start()
    yield node
    node.close()


@pytest.fixture
def attacker(bus: Bus, node: Node) -> Iterator[MemoryQueue]:
    queue = MemoryQueue(bus.url, bus.channel, mode=node.mode, options={})
    yield queue
    queue.close()


def test_parts_of_wrong_types_are_dropped_with_a_line_per_kind(
    node: Node, attacker: MemoryQueue, caplog: pytest.LogCaptureFixture
) -> None:
    member = node.connect()
    caplog.clear()
    sent = 0
    for good in GOOD:
        for key in (*good, "callback", "node", "seq"):
            for value in WRONG:
                attacker.publish(json.dumps({**good, key: value}).encode())
                sent += 1
    attacker.publish(b'{"method":"emit","event":"last","data":[],"host_id":"x"}')
    wait_until(lambda: ["last"] in member.receive(), "last message")
    assert not member.left
    errors = [record.getMessage() for record in caplog.records if record.levelno > logging.WARNING]
    assert all("never arrived here" in text for text in errors), errors  # of a server that was made up
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert 10 < len(lines) < 60
    assert all("\n" not in line and len(line) < 1_500 for line in lines)
    assert node.cluster.health().unreadable > sent / 3
    assert node.cluster.health().up


def test_a_kind_is_told_once_a_minute(
    node: Node, attacker: MemoryQueue, caplog: pytest.LogCaptureFixture
) -> None:
    before = node.cluster.health().unreadable
    for _ in range(1_000):
        attacker.publish(b'{"method":"emit","event":7}')
    wait_until(lambda: node.cluster.health().unreadable - before == 1_000, "thousandth message")
    assert caplog.text.count("dropped a message") == 1


@pytest.mark.parametrize("how", ["message", "sign of life"])
def test_a_forged_number_makes_nobody_deaf(node: Node, attacker: MemoryQueue, bus: Bus, how: str) -> None:
    other = Node(bus).start()
    try:
        member = node.connect()
        wait_until(node.has_peer, "peer")
        other.cluster.emit(Emission("before", ()))
        member.wait_for(1)
        forged: dict[str, Any] = {"method": "emit", "event": "forged", "data": []}
        if how == "sign of life":
            forged = {
                "method": "node",
                "state": "here",
                "host_id": other.cluster.health().node,
                "interval": 5,
            }
        attacker.publish(stamp(json.dumps(forged).encode(), other.cluster.health().node, 10**9))
        for number in range(50):
            other.cluster.emit(Emission("n", (number,)))
        wait_until(lambda: ["n", 49] in member.receive(), "last honest message")
        heard = [event for event in member.events if event[0] == "n"]
        assert heard == [["n", number] for number in range(50)]
        wait_until(lambda: node.cluster.health().lost_received == 0, "loss taken back")
        other.cluster.emit(Emission("after", ()))
        wait_until(lambda: ["after"] in member.receive(), "message after it")
        assert node.cluster.health().lost_received == 0
    finally:
        other.close()


def test_made_up_servers_are_bounded_and_displace_nobody(node: Node, attacker: MemoryQueue, bus: Bus) -> None:
    other = Node(bus).start()
    try:
        wait_until(node.has_peer, "peer")
        for number in range(2 * MAX_NODES):
            fake = {"method": "node", "state": "here", "host_id": f"fake-{number}", "interval": 3000}
            attacker.publish(stamp(json.dumps(fake).encode(), f"fake-{number}", 1))
        other.cluster.emit(Emission("last", ()))
        member = node.connect()
        wait_until(lambda: len(node.cluster.health().peers) == MAX_NODES, "bound")
        other.cluster.emit(Emission("after", ()))
        wait_until(lambda: ["after"] in member.receive(), "message of the honest one")
        assert other.cluster.health().node in {peer.node for peer in node.cluster.health().peers}
    finally:
        other.close()


def test_with_a_secret_none_of_it_is_heard(bus: Bus, caplog: pytest.LogCaptureFixture) -> None:
    # Alone with the attacker: signs of life of a server without the secret would be refused, and counted, as well.
    node = Node(bus, secret="correct horse battery staple").start()
    attacker = MemoryQueue(bus.url, bus.channel, mode=node.mode, options={})
    try:
        member = node.connect()
        wait_until(lambda: node.cluster.health().lag_s is not None, "own sign of life")
        caplog.clear()
        before = node.cluster.health()
        sent = 0
        for good in GOOD:
            for seq in (0, 1, 10**9):
                attacker.publish(stamp(json.dumps(good).encode(), before.node, seq))
                attacker.publish(stamp(json.dumps(good).encode(), f"fake-{seq}", seq))
                sent += 2
        wait_until(lambda: node.cluster.health().unauthentic - before.unauthentic == sent, "last refusal")
        after = node.cluster.health()
        assert (after.received, after.unreadable, after.peers) == (before.received, before.unreadable, ())
        assert (after.duplicates, after.lost_received) == (before.duplicates, before.lost_received)
        assert member.receive() == [] and not member.left
        assert caplog.text.count("dropped a message") == 1
    finally:
        attacker.close()
        node.close()


def test_numbers_of_acknowledgements_cannot_be_guessed(node: Node) -> None:
    acks = PendingAcks(node.mode.create_lock())
    numbers = [acks.add(Awaited("sid", lambda *_: None, None, 1e9)) for _ in range(200)]
    assert len(set(numbers)) == 200
    assert max(numbers) < 2**53
    assert min(abs(b - a) for a, b in pairwise(numbers)) > 2**20
    assert acks.take(numbers[0] + 1, "sid") is None


@pytest.mark.parametrize("method", ["callback", "gone"])
def test_an_acknowledgement_is_that_of_who_was_asked(node: Node, attacker: MemoryQueue, method: str) -> None:
    answers: list[tuple[Any, ...]] = []
    node.cluster.emit(Emission("ask", (), to=("r" * 20,), on_ack=lambda *values: answers.append(values)))
    acks = node.cluster._link.acks
    (number,) = acks._awaited
    answer = {"method": method, "host_id": _name(node), "id": number, "args": ["mine"]}
    for sid, room in (("s" * 20, False), ("s" * 20, True), (["r" * 20], False)):
        attacker.publish(json.dumps({**answer, "sid": sid, "room": room}).encode())
    attacker.publish(json.dumps({**answer, "method": "callback", "sid": "r" * 20, "args": [1]}).encode())
    wait_until(lambda: answers, "answer")
    assert answers == [(1,)]
    assert len(acks) == 0


def test_made_up_servers_and_their_losses_take_few_lines(
    node: Node, attacker: MemoryQueue, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for number in range(100):
        fake = {"method": "node", "state": "here", "host_id": f"fake-{number}", "interval": 3599}
        for seq in (1, 7):
            attacker.publish(stamp(json.dumps(fake).encode(), f"fake-{number}", seq))
    wait_until(lambda: node.cluster.health().lost_received == 600, "losses that were made up")
    wait_until(lambda: sum(gap.missed or 0 for gap in node.gaps) == 600, "word of them to the application")
    assert len(node.gaps) < 50
    assert caplog.text.count("is there") + caplog.text.count("never arrived here") <= 2 * SERVER_LINES


def test_who_asks_a_thousand_times_is_answered_a_few_times(node: Node, attacker: MemoryQueue) -> None:
    before = node.cluster.health().sent
    for number in range(1_000):
        asking = {"method": "node", "state": "who", "host_id": f"fake-{number}"}
        attacker.publish(stamp(json.dumps(asking).encode(), f"fake-{number}", 0))
    attacker.publish(b'{"method":"emit","event":"last","data":[],"host_id":"x"}')
    wait_until(lambda: node.cluster.health().received, "last message")
    assert node.cluster.health().sent - before < 100


def _name(node: Node) -> str:
    return node.cluster.health().node
