"""With a secret only what its owners publish is heard, once, however late a queue brings it."""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest

from flask_socketio_core.cluster import envelope, signing
from flask_socketio_core.cluster.memory import MemoryQueue
from flask_socketio_core.cluster.peers import MAX_SENDERS, Peers
from flask_socketio_core.cluster.signing import (
    CLOCK_SKEW_S,
    SHORTEST_SECRET,
    Signer,
    Unauthentic,
    read_secrets,
    unsigned,
)
from flask_socketio_core.common.options import build
from flask_socketio_core.contracts import MessageQueue
from flask_socketio_core.contracts.clients import Emission
from flask_socketio_core.errors import InvalidOption, UnknownOption
from flask_socketio_core.testing.conformance.queues import Listener
from flask_socketio_core.testing.threads import ThreadMode
from support.nodes import Bus, Node, emitter, wait_until

from .buses import KINDS, broker_of, make_bus
from .cutting import Gate

pytestmark = pytest.mark.timeout(120)

SECRET = "correct horse battery staple"
OLD = b"\xff\x00 an older one \x80\x81"
STAMPED = envelope.stamp(b'{"method":"emit","event":"e","data":["\xc3\xa9"]}', "a" * 32, 7)


class Clock:
    """A clock that stands where a test puts it."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def signer(clock: Clock, *secrets: str | bytes, channel: str = "c", window_s: float = 3600.0) -> Signer:
    return Signer(read_secrets(list(secrets) or SECRET), channel, window_s, clock=clock)


def test_a_signed_message_is_the_message_and_its_signature(clock: Clock) -> None:
    signed = signer(clock).sign(STAMPED)
    assert len(signed) == len(STAMPED) + envelope.SIGNATURE_BYTES
    assert unsigned(signed) == STAMPED
    assert {**json.loads(signed), "sig": ""} == {**json.loads(STAMPED), "sig": ""}
    assert envelope.sent_by(signed, "a" * 32)
    assert not envelope.sent_by(signed, "b" * 32)
    assert signer(clock).verify(signed, 1.0).count == 1


def test_no_byte_of_it_can_be_changed_added_or_left_out(clock: Clock) -> None:
    ours = signer(clock)
    signed = ours.sign(STAMPED)
    for place in range(len(signed)):
        wrong = bytes([signed[place] ^ 1])
        for forged in (wrong, b"", bytes([signed[place]]) * 2):
            with pytest.raises(Unauthentic):
                ours.verify(signed[:place] + forged + signed[place + 1 :], 1.0)
    for other in (STAMPED, STAMPED[:-1] + signed[len(STAMPED) - 1 :].upper(), b"", signed + b" "):
        with pytest.raises(Unauthentic):
            ours.verify(other, 1.0)


def test_secrets_are_exchanged_one_server_after_the_other(clock: Clock) -> None:
    only_old, learns, changes, only_new = (
        signer(clock, *names) for names in ((OLD,), (OLD, SECRET), (SECRET, OLD), (SECRET,))
    )
    for pair in ((only_old, learns), (learns, changes), (changes, only_new)):
        for sender, receiver in (pair, pair[::-1]):
            assert receiver.verify(sender.sign(STAMPED), 1.0).age_s == 0
    with pytest.raises(Unauthentic, match="signed with another secret"):
        only_new.verify(only_old.sign(STAMPED), 1.0)


def test_a_message_is_good_on_one_channel(clock: Clock) -> None:
    with pytest.raises(Unauthentic, match="another secret, or for another channel"):
        signer(clock, channel="d").verify(signer(clock).sign(STAMPED), 1.0)


@pytest.mark.parametrize(
    ("age_s", "listening_s", "problem"),
    [
        (0.0, 0.0, ""),
        (3600.0, 1e6, ""),
        (3600.0 + CLOCK_SKEW_S, 1e6, ""),
        (3601.0 + CLOCK_SKEW_S, 1e6, "signed too long ago: 3661 s by our clock"),
        (CLOCK_SKEW_S, 0.0, ""),
        (1.0 + CLOCK_SKEW_S, 0.0, "signed too long ago: 61 s"),
        (-CLOCK_SKEW_S, 0.0, ""),
        (-1.0 - CLOCK_SKEW_S, 0.0, "signed in the future: 61 s by our clock: one of two clocks is wrong"),
    ],
)
def test_how_old_a_message_may_be(clock: Clock, age_s: float, listening_s: float, problem: str) -> None:
    ours = signer(clock)
    signed = ours.sign(STAMPED)
    clock.now += age_s
    if problem:
        with pytest.raises(Unauthentic, match=problem):
            ours.verify(signed, listening_s)
    else:
        assert ours.verify(signed, listening_s).age_s == age_s


@pytest.mark.parametrize(
    "value",
    ["", b"", "x" * (SHORTEST_SECRET - 1), [], (), [SECRET, ""], [SECRET, None], 5, {}, True, {SECRET: 1}],
)
def test_what_is_no_secret_is_refused_and_not_shown(value: Any) -> None:
    with pytest.raises(
        InvalidOption, match="option secret: expected text or bytes of at least 16 bytes"
    ) as raised:
        emitter(Bus(MemoryQueue, "memory://", "c"), secret=value)
    assert SECRET not in str(raised.value) and "xxx" not in str(raised.value)


def test_a_secret_is_given_as_an_option_and_not_in_the_url() -> None:
    with pytest.raises(UnknownOption, match="'secret'") as raised:
        emitter(Bus(MemoryQueue, f"memory://?secret={SECRET}", "c"))
    assert SECRET not in str(raised.value)


def test_a_secret_is_in_no_text(caplog: pytest.LogCaptureFixture) -> None:
    options = build({"message_queue": "memory://", "message_queue_options": {"secret": [SECRET, OLD]}})
    assert SECRET not in repr(options) and "an older one" not in repr(options)
    cluster = emitter(Bus(MemoryQueue, "memory://", "c"), secret=[SECRET, OLD])
    try:
        assert SECRET not in repr(vars(cluster)) and "an older one" not in repr(vars(cluster))
        logging.getLogger("flask_socketio_core.cluster").warning("%s and %r", SECRET, OLD)
        assert "*** and b'***'" in caplog.text
    finally:
        cluster.close()


# ------------------------------------------------------------------------------------------------------ on the bus


@pytest.fixture(params=KINDS)
def bus(request: pytest.FixtureRequest) -> Bus:
    return make_bus(request, request.param, secret=SECRET)


class Attacker:
    """Whoever may read and write the channel and knows no secret."""

    def __init__(self, bus: Bus) -> None:
        self._queue: MessageQueue = bus.queue_class(bus.url, bus.channel, mode=ThreadMode(), options={})
        self.heard = Listener(self._queue).subscribed()
        self.publish = self._queue.publish
        self.close = self._queue.close


@pytest.fixture
def attacker(bus: Bus) -> Iterator[Attacker]:
    attacker = Attacker(bus)
    yield attacker
    attacker.close()


def test_signed_servers_are_one_and_hear_nobody_else(
    bus: Bus, attacker: Attacker, nodes: tuple[Node, Node], caplog: pytest.LogCaptureFixture
) -> None:
    outside, stranger = emitter(bus), emitter(bus, secret=SECRET + "!")
    member = nodes[1].connect()
    answers: list[tuple[Any, ...]] = []
    try:
        wait_until(nodes[0].has_peer, "peer")
        nodes[0].cluster.emit(Emission("inside", (b"\x00\xff",)))
        outside.emit(Emission("outside", ()))
        outside.emit(Emission("ask", (), to=(member.sid,), on_ack=lambda *values: answers.append(values)))
        wait_until(lambda: member.receive() and answers, "answer to a process that only sends")
        stranger.emit(Emission("forged", ()))
        attacker.publish(b'{"method":"emit","event":"forged","data":[],"host_id":"x"}')
        attacker.publish(b'{"method":"disconnect","sid":"%b","namespace":"/"}' % member.sid.encode())
        wait_until(lambda: nodes[1].cluster.health().unauthentic >= 3, "refused messages")
        assert sorted(event[0] for event in member.wait_for(3)) == ["ask", "inside", "outside"]
        assert not member.left
        health = nodes[1].cluster.health()
        assert (health.up, health.unreadable, health.lost_received) == (True, 0, 0)
        assert 1 <= caplog.text.count(": not signed") <= 3  # of six, once by each process that listens
    finally:
        outside.close()
        stranger.close()


def test_what_was_recorded_cannot_be_played_again(
    bus: Bus, attacker: Attacker, nodes: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    member = nodes[1].connect()
    wait_until(nodes[0].has_peer, "peer")
    for number in range(20):
        nodes[0].cluster.emit(Emission("n", (number,)))
    member.wait_for(20)
    wait_until(lambda: nodes[1].cluster.health().lag_s is not None, "sign of life")
    peers = nodes[1].cluster._link.peers
    before = nodes[1].cluster.health().duplicates
    sender = nodes[0].cluster.health().node

    def heard(method: bytes) -> list[bytes]:
        messages = list(attacker.heard.messages)
        return [raw for raw in messages if envelope.sent_by(raw, sender) and b'"method": "' + method in raw]

    wait_until(lambda: len(heard(b"emit")) == 20 and heard(b"node"), "recording")
    recorded = heard(b"emit") + heard(b"node")
    for raw in recorded[::-1]:
        attacker.publish(raw)
    wait_until(lambda: peers.duplicates - before >= len(recorded), "refused repetitions")
    assert len(member.receive()) == 20
    assert nodes[1].cluster.health().lost_received == 0
    nodes[0].cluster.emit(Emission("after", ()))
    assert member.wait_for(21)[20:] == [["after"]]

    monkeypatch.setattr(signing, "CLOCK_SKEW_S", 0.0)
    newcomer = Node(bus).start()
    try:
        late = newcomer.connect()
        for raw in recorded:
            attacker.publish(raw)
        wait_until(lambda: newcomer.cluster.health().unauthentic >= len(recorded), "refusal at a newcomer")
        assert late.receive() == []
    finally:
        newcomer.close()


@pytest.mark.parametrize(
    ("bus", "window_s"),
    [("streams", 3600.0), ("streams", 0.5), ("rabbitmq", 3600.0), ("kafka", 3600.0)],
    indirect=["bus"],
)
def test_what_a_queue_has_kept_is_heard_within_the_window(
    bus: Bus, window_s: float, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(signing, "CLOCK_SKEW_S", 0.5)
    bus = dataclasses.replace(bus, options={**bus.options, "replay_window_s": window_s})
    gate = Gate()
    held, other = Node(gate.before(bus)).start(), Node(bus).start()
    try:
        member = held.connect()
        wait_until(held.has_peer, "peer")
        with gate.holding():
            for number in range(10):
                other.cluster.emit(Emission("n", (number,)))
            time.sleep(1.2)  # what was held is older than the shorter window and its slack
        other.cluster.emit(Emission("after", ()))
        if window_s > 1:
            assert member.wait_for(11) == [*(["n", number] for number in range(10)), ["after"]]
            assert held.cluster.health().unauthentic == 0
        else:
            assert member.wait_for(1) == [["after"]]
            wait_until(lambda: held.cluster.health().lost_received == 10, "count of the loss")
            assert held.cluster.health().unauthentic >= 10
            assert "signed too long ago" in caplog.text
    finally:
        held.close()
        other.close()


@pytest.mark.parametrize("bus", ["redis"], indirect=True)
def test_what_waits_for_a_broker_does_not_grow_old(
    bus: Bus, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing, "CLOCK_SKEW_S", 0.5)
    broker = broker_of(request, bus.kind)
    assert broker is not None
    node, outside = Node(bus, replay_window_s=0.5).start(), emitter(bus)
    try:
        member = node.connect()
        with broker.outage():
            for number in range(10):
                outside.emit(Emission("n", (number,)))
            time.sleep(1.5)
        assert member.wait_for(10, 60.0) == [["n", number] for number in range(10)]
        assert node.cluster.health().unauthentic == 0
    finally:
        node.close()
        outside.close()


def test_what_a_queue_gives_back_is_signed_anew(clock: Clock) -> None:
    published: list[bytes] = []

    class Forgetful(MemoryQueue):
        def publish(self, message: bytes, *, key: str = "") -> None:
            published.append(message)
            if len(published) == 1:
                assert self.on_failure is not None
                self.on_failure(message, key)

    outside = emitter(Bus(Forgetful, "memory://", "c"), secret=SECRET)
    outside._signer._clock = clock  # type: ignore[union-attr]
    try:
        outside.emit(Emission("e", ()))
        wait_until(lambda: len(published) == 2, "second attempt")
        first, second = published
        assert unsigned(first) == unsigned(second)
        assert [signer(clock).verify(raw, 1.0).count for raw in published] == [1, 2]
    finally:
        outside.close()


def test_a_sender_that_is_forgotten_cannot_be_played_again() -> None:
    peers = Peers(ThreadMode().create_lock())
    for number in range(MAX_SENDERS + 1):
        assert peers.is_new(str(number), 1, float(number))
    assert peers.may_be_forgotten("0", 0.0)
    assert not peers.may_be_forgotten("0", 1.0)
    assert not peers.may_be_forgotten("1", 0.0)


def test_a_sign_of_life_is_good_once() -> None:
    peers = Peers(ThreadMode().create_lock())
    assert [peers.is_news("n", 3, count, 0.0) for count in (5, 5, 4, 6)] == [True, False, False, True]
    assert peers.duplicates == 2
