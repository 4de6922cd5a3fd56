"""Servers tell and ask each other over every queue; those that cannot answer are not waited for."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flask_socketio_core.cluster import envelope, link
from flask_socketio_core.cluster.cluster import Cluster
from flask_socketio_core.cluster.envelope import MAX_ID, MAX_TOPICS, PROTOCOL
from flask_socketio_core.cluster.memory import MemoryQueue
from flask_socketio_core.cluster.topics import MOST_AT_ONCE, MOST_WAITING, InOrder
from flask_socketio_core.contracts import MessageQueue
from flask_socketio_core.contracts.clients import Emission
from flask_socketio_core.contracts.servers import Answers
from flask_socketio_core.errors import QueueClosed
from flask_socketio_core.testing.conformance.queues import Listener
from flask_socketio_core.testing.threads import ThreadMode
from support.nodes import Bus, Node, emitter, wait_until

from .buses import KINDS, broker_of, make_bus

pytestmark = pytest.mark.timeout(120)

SECRET = "correct horse battery staple"
#: Long enough that a test which waits for it fails.
LONG_S = 20.0


@pytest.fixture(scope="module", params=KINDS)
def bus(request: pytest.FixtureRequest) -> Bus:
    return make_bus(request, request.param, secret=SECRET if request.param == "rabbitmq" else None)


class Trio:
    """Three servers that answer each other; the third alone knows the topic ``third``.

    :ivar told: what each was told on ``news``, with who told it.
    """

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.nodes = [Node(bus) for _ in range(3)]
        self.told: list[list[tuple[Any, str]]] = [[], [], []]
        self.gate = threading.Event()
        for number, node in enumerate(self.nodes):
            node.servers.on_topic("echo", lambda payload, asker, number=number: [number, payload, asker])
            node.servers.on_topic(
                "news", lambda payload, teller, number=number: self.told[number].append((payload, teller))
            )
        self.nodes[2].servers.on_topic("third", self._answer_slowly)
        self.nodes[1].servers.on_topic("mixed", self._fail)
        self.nodes[2].servers.on_topic("mixed", self._answer_slowly)
        for node in self.nodes:
            node.start()
        wait_until(
            lambda: all(len(node.cluster.health().peers) == len(self.nodes) - 1 for node in self.nodes),
            "servers that know each other",
        )

    def _answer_slowly(self, payload: Any, asker: str) -> str:
        self.gate.wait(LONG_S)
        return "late"

    @staticmethod
    def _fail(payload: Any, asker: str) -> None:
        raise LookupError(f"no {payload}")

    @property
    def ids(self) -> list[str]:
        return [node.servers.node for node in self.nodes]

    def close(self) -> None:
        self.gate.set()
        for node in self.nodes:
            node.close()


@pytest.fixture(scope="module")
def trio(bus: Bus) -> Iterator[Trio]:
    trio = Trio(bus)
    yield trio
    trio.close()


class Stranger:
    """Whoever may publish and listen on the channel, with messages of its own making."""

    def __init__(self, bus: Bus) -> None:
        self._queue: MessageQueue = bus.queue_class(bus.url, bus.channel, mode=ThreadMode(), options={})
        self.node = "old-server"
        self._listener = Listener(self._queue).subscribed()
        self._seq = 0

    def say(self, method: str, **parts: Any) -> None:
        """Publish a message, numbered as ours are, from a node of its own."""
        self._seq += method != "node"
        encoded = json.dumps({"method": method, "host_id": self.node, **parts}).encode()
        self._queue.publish(envelope.stamp(encoded, self.node, self._seq))

    def heard(self, method: str) -> list[dict[str, Any]]:
        messages = [json.loads(raw) for raw in list(self._listener.messages)]
        return [message for message in messages if message["method"] == method]

    def close(self) -> None:
        self._queue.close()


def test_all_servers_answer(trio: Trio) -> None:
    started = time.monotonic()
    payload = {"binary": [b"\x00\xff"], "text": "ü", "none": None}
    for node in trio.nodes:
        asker = node.servers.node
        outcome = node.servers.ask("echo", payload, timeout_s=LONG_S)
        assert outcome.complete
        assert outcome.answers == {other: [number, payload, asker] for number, other in enumerate(trio.ids)}
        others = node.servers.ask("echo", timeout_s=LONG_S, include_self=False).answers
        assert sorted(others) == sorted(set(trio.ids) - {asker})
    assert time.monotonic() - started < LONG_S


def test_one_server_is_asked_alone(trio: Trio) -> None:
    first, *_ = trio.nodes
    for number, other in enumerate(trio.ids):
        assert first.servers.ask("echo", 7, node=other, timeout_s=LONG_S) == Answers(
            answers={other: [number, 7, trio.ids[0]]}, errors={}, missing={}
        )
    assert first.servers.ask("echo", node="nobody", timeout_s=LONG_S).missing == {"nobody": "unknown"}
    assert first.servers.ask("third", node=trio.ids[1], timeout_s=LONG_S).missing == {trio.ids[1]: "unable"}


def test_only_servers_that_know_the_topic_are_asked_and_slow_ones_not_waited_for(trio: Trio) -> None:
    outcome = trio.nodes[0].servers.ask("third", timeout_s=0.3)
    assert outcome.missing == {trio.ids[2]: "silent"}
    assert sorted(outcome.unable) == [trio.ids[1]]
    assert not outcome.answers and not outcome.errors and not outcome.cut_off


def test_who_fails_and_who_is_slow_take_nothing_from_the_others(
    trio: Trio, caplog: pytest.LogCaptureFixture
) -> None:
    trio.nodes[0].servers.on_topic("mixed", lambda payload, asker: payload)
    outcome = trio.nodes[0].servers.ask("mixed", "way", timeout_s=1.0)
    assert outcome.answers == {trio.ids[0]: "way"}
    assert outcome.errors == {trio.ids[1]: "LookupError('no way')"}
    assert outcome.missing == {trio.ids[2]: "silent"}
    assert f"error on topic 'mixed', for server {trio.ids[0]}" in caplog.text


def test_the_others_are_told_in_order(trio: Trio) -> None:
    for told in trio.told:
        told.clear()
    outside = emitter(trio.bus)
    try:
        for number in range(50):
            trio.nodes[0].servers.tell("news", number)
            outside.tell("news", -number)
        outside_id = outside.node
        for told in trio.told[1:]:
            wait_until(lambda told=told: len(told) == 100, "news")  # type: ignore[misc]
            assert [item for item in told if item[1] == trio.ids[0]] == [(n, trio.ids[0]) for n in range(50)]
            assert [item[0] for item in told if item[1] == outside_id] == [-n for n in range(50)]
        wait_until(lambda: len(trio.told[0]) == 50, "news of the process that only sends")
        assert {teller for _, teller in trio.told[0]} == {outside_id}
    finally:
        outside.close()


def test_a_process_that_only_sends_asks(trio: Trio) -> None:
    outside = emitter(trio.bus)
    try:
        for _ in range(2):
            outcome = outside.ask("echo", 1, timeout_s=LONG_S)
            assert outcome.complete
            assert outcome.answers == {other: [n, 1, outside.node] for n, other in enumerate(trio.ids)}
        assert outside.ask("echo", 1, timeout_s=LONG_S, node=trio.ids[1]).complete
        assert all(outside.node not in {peer.node for peer in n.cluster.health().peers} for n in trio.nodes)
    finally:
        outside.close()
    with pytest.raises(QueueClosed):
        outside.ask("echo", 1, timeout_s=LONG_S)


def test_a_server_that_has_just_come_knows_whom_to_ask_and_is_asked_what_it_learns(trio: Trio) -> None:
    newcomer = Node(trio.bus).start(wait=False)
    try:
        outcome = newcomer.servers.ask("echo", 1, timeout_s=LONG_S)
        assert sorted(outcome.answers) == sorted(trio.ids)
        assert not outcome.cut_off
        newcomer.servers.on_topic("new", lambda payload, asker: "learnt")
        here = newcomer.servers.node
        wait_until(
            lambda: trio.nodes[0].servers.ask("new", timeout_s=LONG_S).answers == {here: "learnt"},
            "topic",
            2.0,
        )
    finally:
        newcomer.close()


def test_a_server_that_ends_is_not_waited_for(trio: Trio) -> None:
    leaver = Node(trio.bus)
    gate = threading.Event()
    asked = threading.Event()

    def hold(payload: Any, asker: str) -> None:
        asked.set()
        gate.wait(LONG_S)

    leaver.servers.on_topic("echo", hold)
    leaver.start()
    here = leaver.servers.node
    outcomes: list[Answers] = []
    try:
        for node in trio.nodes:
            wait_until(lambda node=node: here in {p.node for p in node.cluster.health().peers}, "newcomer")  # type: ignore[misc]
        caller = threading.Thread(
            target=lambda: outcomes.append(trio.nodes[0].servers.ask("echo", 1, timeout_s=LONG_S)),
            daemon=True,
        )
        caller.start()
        own = threading.Thread(
            target=lambda: outcomes.append(leaver.servers.ask("third", 1, timeout_s=LONG_S)), daemon=True
        )
        own.start()
        assert asked.wait(LONG_S)
        wait_until(lambda: len(leaver.cluster._link.asking.questions), "question of the one that ends")
        started = time.monotonic()
        leaver.close()
        caller.join(LONG_S)
        own.join(LONG_S)
        assert time.monotonic() - started < LONG_S / 2
        theirs, ours = sorted(outcomes, key=lambda outcome: len(outcome.answers), reverse=True)
        assert theirs.missing == {here: "left"}
        assert sorted(theirs.answers) == sorted(trio.ids)
        assert ours.missing == {trio.ids[2]: "silent"}
    finally:
        gate.set()
        leaver.close()


def test_servers_without_topics_are_not_waited_for_and_newer_ones_are_heard(
    trio: Trio, caplog: pytest.LogCaptureFixture
) -> None:
    if trio.bus.options.get("secret"):
        pytest.skip("a stranger is not heard")
    old, new = Stranger(trio.bus), Stranger(trio.bus)
    new.node = "new-server"
    news = {"state": "here", "interval": 0.5, "async_mode": "threading", "version": "0.1"}
    try:
        old.say("node", **news)
        new.say("node", **news, protocol=99, topics=["third", "echo"], future={"a": [1]})
        node = trio.nodes[0]
        wait_until(lambda: len(node.cluster.health().peers) == 4, "strangers")
        peers = {peer.node: (peer.protocol, peer.topics) for peer in node.cluster.health().peers}
        assert peers["old-server"] == (0, ())
        assert peers["new-server"] == (99, ("third", "echo"))
        assert peers[trio.ids[2]] == (PROTOCOL, ("echo", "mixed", "news", "third"))
        outcomes: list[Answers] = []
        caller = threading.Thread(target=lambda: outcomes.append(node.servers.ask("echo", timeout_s=LONG_S)))
        caller.start()
        wait_until(lambda: new.heard("ask"), "question")
        (question,) = new.heard("ask")
        reply = {"host_id": question["node"], "id": question["id"], "args": ["future", 2], "future": True}
        old.say("answer", **reply)  # it was not asked
        new.say("answer", **{**reply, "id": question["id"] + 1})
        new.say("answer", **{**reply, "host_id": trio.ids[1]})
        new.say("answer", **reply)
        caller.join(LONG_S)
        assert outcomes[0].unable == ("old-server",)
        assert outcomes[0].answers["new-server"] == "future"
        assert sorted(outcomes[0].answers) == sorted([*trio.ids, "new-server"])
        new.say("ask", topic="echo", args=[1, "more"], id=1, expires_at=time.time() + 9, future=1)
        wait_until(lambda: len(new.heard("answer")) >= 3, "answers to a newer server")
        caplog.clear()
        node.cluster.emit(Emission("to all but some", (), exclude=frozenset({"room"})))
        wait_until(lambda: old.heard("emit") and new.heard("emit"), "event")
        assert [record.getMessage() for record in caplog.records if "older" in record.msg] == [
            "server old-server has an older version (0.1), whose clients receive events that exclude their rooms"
        ]
        for stranger in (old, new):
            stranger.say("node", **{**news, "state": "bye"})
        wait_until(lambda: len(node.cluster.health().peers) == 2, "end of the strangers")
    finally:
        old.close()
        new.close()


# ------------------------------------------------------------------------------------------ on one queue are enough


def test_what_is_hostile_is_counted_told_once_and_changes_nothing(
    request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    bus = make_bus(request, "memory")
    node, stranger = Node(bus), Stranger(bus)
    gate = threading.Event()
    node.servers.on_topic("slow", lambda payload, asker: gate.wait(LONG_S))
    node.servers.on_topic("echo", lambda payload, asker: payload)
    node.start()
    try:
        for parts in ({"topic": "x" * 65}, {"topic": "echo", "args": 5}, {"topic": ["echo"]}):
            for _ in range(10):
                stranger.say("tell", **{"args": [], **parts})
        stranger.say("ask", topic="echo", args=[], id="5", expires_at=0)
        stranger.say("node", state="here", topics=["t"] * 1000)
        wait_until(lambda: node.cluster.health().unreadable == 32, "count")
        assert caplog.text.count("'tell' with a wrong") == 2  # one for each part
        most = MOST_AT_ONCE + MOST_WAITING
        for number in range(most + 50):
            stranger.say("ask", topic="slow", args=[], id=number, expires_at=time.time() + 60)
        wait_until(lambda: node.cluster.health().unreadable == 32 + 50, "count of what is too much")
        assert caplog.text.count("too many on topics wait for their handlers, as this one on 'slow'") == 1
        gate.set()
        wait_until(lambda: node.servers.ask("echo", 1).complete, "answer afterwards")
        assert node.cluster.health().peers == ()
    finally:
        gate.set()
        node.close()
        stranger.close()


def test_a_question_that_is_too_much_begins_nothing(request: pytest.FixtureRequest) -> None:
    """A server would give away the state of a client, and not tell whoever has asked for it."""
    bus = make_bus(request, "memory")
    node, stranger = Node(bus), Stranger(bus)
    gate, begun = threading.Event(), []

    def begin(payload: Any, asker: str, seq: int) -> Callable[[], Any]:
        begun.append(payload)
        return lambda: gate.wait(LONG_S)

    node.cluster.link.asking.topics.add("in order", InOrder(begin))
    node.start()
    try:
        most = MOST_AT_ONCE + MOST_WAITING
        for number in range(most + 50):
            question = {"topic": "in order", "args": [number], "id": number}
            stranger.say("ask", **question, expires_at=time.time() + 60)
        wait_until(lambda: node.cluster.health().unreadable == 50, "count of what is too much")
        assert begun == list(range(most))
    finally:
        gate.set()
        node.close()
        stranger.close()


def test_unsigned_questions_and_answers_are_not_heard(request: pytest.FixtureRequest) -> None:
    bus = make_bus(request, "redis", secret=SECRET)
    first, second, stranger = Node(bus), Node(bus), Stranger(bus)
    gate = threading.Event()
    told: list[Any] = []
    second.servers.on_topic("held", lambda payload, asker: gate.wait(LONG_S) and "signed")
    second.servers.on_topic("told", lambda payload, teller: told.append(payload))
    first.start()
    second.start()
    outcomes: list[Answers] = []
    try:
        wait_until(first.has_peer, "peer")
        caller = threading.Thread(target=lambda: outcomes.append(first.servers.ask("held", timeout_s=LONG_S)))
        caller.start()
        wait_until(lambda: stranger.heard("ask"), "question")
        (question,) = stranger.heard("ask")
        stranger.node = second.servers.node
        stranger.say("answer", host_id=question["node"], id=question["id"], args=["forged"])
        stranger.say("tell", topic="told", args=["forged"])
        stranger.say("ask", topic="told", args=["forged"], id=1, expires_at=time.time() + 60)
        wait_until(lambda: first.cluster.health().unauthentic == 3, "refusal")
        gate.set()
        caller.join(LONG_S)
        assert outcomes[0].answers == {second.servers.node: "signed"}
        wait_until(lambda: second.cluster.health().unauthentic == 3, "refusal")
        assert told == []
    finally:
        gate.set()
        for one in (first, second, stranger):
            one.close()


def test_while_the_broker_is_away_this_server_answers(request: pytest.FixtureRequest) -> None:
    bus = make_bus(request, "redis")
    broker = broker_of(request, "redis")
    assert broker is not None
    nodes = Node(bus), Node(bus)
    for node in nodes:
        node.servers.on_topic("echo", lambda payload, asker: payload)
        node.start()
    here, there = (node.servers.node for node in nodes)
    stranded = Node(dataclasses.replace(bus, channel=f"{bus.channel}-2"))
    stranded.servers.on_topic("echo", lambda payload, asker: payload)
    outside = emitter(bus)
    try:
        wait_until(nodes[0].has_peer, "peer")
        with broker.outage():
            wait_until(lambda: not nodes[0].cluster.health().up, "notice of the outage")
            outcome = nodes[0].servers.ask("echo", 1, timeout_s=1.0)
            assert (outcome.answers, outcome.missing) == ({here: 1}, {there: "silent"})
            assert outcome.cut_off and not outcome.complete
            stranded.start(wait=False)
            outcome = stranded.servers.ask("echo", 2, timeout_s=4.0)
            assert outcome.answers == {stranded.servers.node: 2}
            assert outcome.cut_off
            started = time.monotonic()
            outcome = outside.ask("echo", 3, timeout_s=1.0)
            assert outcome == Answers(answers={}, errors={}, missing={}, cut_off=True)
            assert time.monotonic() - started < 4
        wait_until(lambda: nodes[0].servers.ask("echo", 4).complete, "recovery", 30)
        wait_until(
            lambda: sorted(outside.ask("echo", 5, timeout_s=5.0).answers) == sorted([here, there]),
            "recovery",
            30,
        )
    finally:
        for one in (*nodes, stranded, outside):
            one.close()


def test_a_message_that_the_queue_cannot_carry_is_an_error(request: pytest.FixtureRequest) -> None:
    bus = make_bus(request, "memory")

    class Small(bus.queue_class):  # type: ignore[misc,name-defined]  # a class that is known at run time only
        max_message_bytes = 10_000

    bus = dataclasses.replace(bus, queue_class=Small)
    first, second = Node(bus), Node(bus)
    second.servers.on_topic("much", lambda payload, asker: "x" * payload)
    first.start()
    second.start()
    try:
        wait_until(first.has_peer, "peer")
        there = second.servers.node
        assert first.servers.ask("much", 10).answers == {there: "x" * 10}
        outcome = first.servers.ask("much", 20_000)
        assert outcome.errors[there].startswith("MessageTooLarge(")
    finally:
        first.close()
        second.close()


def test_handlers_may_ask_and_tell_themselves(request: pytest.FixtureRequest) -> None:
    bus = make_bus(request, "memory")
    nodes = first, second = Node(bus), Node(bus)
    told: list[Any] = []
    for node in nodes:
        node.servers.on_topic("name", lambda payload, asker, node=node: nodes.index(node))
        node.servers.on_topic("told", lambda payload, teller: told.append(payload))

    @second.servers.on_topic("names")
    def names(payload: Any, asker: str) -> Any:
        second.servers.tell("told", payload)
        return sorted(second.servers.ask("name", timeout_s=LONG_S).answers.values())

    try:
        for node in nodes:
            node.start()
        wait_until(lambda: all(node.has_peer() for node in nodes), "peers")
        assert first.servers.ask("names", "x", timeout_s=LONG_S).answers == {second.servers.node: [0, 1]}
        wait_until(lambda: told == ["x"], "what was told")
    finally:
        for node in nodes:
            node.close()


def test_a_sign_of_life_with_as_many_topics_as_there_may_be_is_short(request: pytest.FixtureRequest) -> None:
    bus = make_bus(request, "memory")
    node, stranger, peer = Node(bus), Stranger(bus), Node(bus)
    names = [f"{number:02}".ljust(MAX_ID, "x") for number in range(MAX_TOPICS)]
    for name in names:
        node.servers.on_topic(name, print)
    try:
        node.start()
        peer.start()
        wait_until(peer.has_peer, "peer")
        assert [list(one.topics) for one in peer.cluster.health().peers] == [names]
        assert max(len(json.dumps(news)) for news in stranger.heard("node")) < 5_000
    finally:
        for one in (node, peer, stranger):
            one.close()


def many(clusters: list[Cluster], work: Callable[[Cluster], object]) -> None:
    threads = [threading.Thread(target=work, args=(cluster,)) for cluster in clusters]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_several_ask_at_once_and_get_their_own_answers(request: pytest.FixtureRequest) -> None:
    bus = make_bus(request, "memory")
    nodes = [Node(bus) for _ in range(3)]
    for node in nodes:
        node.servers.on_topic("echo", lambda payload, asker: payload)
    for node in nodes:
        node.start()
    wrong: list[Answers] = []

    def ask(cluster: Cluster) -> None:
        for number in range(20):
            outcome = cluster.ask("echo", number, timeout_s=LONG_S)
            if list(outcome.answers.values()) != [number] * 3:
                wrong.append(outcome)

    try:
        wait_until(lambda: all(len(node.cluster.health().peers) == 2 for node in nodes), "peers")
        many([node.cluster for node in nodes for _ in range(4)], ask)
        assert wrong == []
        assert [len(node.cluster._link.asking.questions) for node in nodes] == [0, 0, 0]
    finally:
        for node in nodes:
            node.close()


def test_who_only_sends_notices_the_end_of_whom_it_waits_for_however_long_it_took_to_meet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(link, "WATCH_S", 0.02)  # less than the others have to say that they are there
    bus = Bus(MemoryQueue, "memory://", "watch")
    begun, gate = threading.Event(), threading.Event()

    def wait(payload: Any, asker: str) -> None:
        begun.set()
        gate.wait(LONG_S)

    node = Node(bus, heartbeat_interval_s=0.2)
    node.servers.on_topic("wait", wait)
    node.start()
    outside = emitter(bus)
    found: list[Answers] = []
    asking = threading.Thread(target=lambda: found.append(outside.ask("wait", None, timeout_s=LONG_S)))
    asking.start()
    try:
        assert begun.wait(LONG_S)
        monkeypatch.setattr(node.cluster._link, "_send_news", lambda state: None)  # as one that was killed
        asking.join(LONG_S / 2)
        assert found == [Answers(answers={}, errors={}, missing={node.cluster.node: "left"})]
    finally:
        gate.set()
        asking.join(LONG_S)
        outside.close()
        node.close()
