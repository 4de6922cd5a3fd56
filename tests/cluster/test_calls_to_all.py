"""``call_all()`` over every queue: the answers of all clients by sid, and who is missing."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from flask_socketio_core.cluster import calls_to_all
from flask_socketio_core.cluster.calls_to_all import (
    MOST_BYTES,
    MOST_CALLS,
    MOST_CLIENTS,
    PROTOCOL,
    Roll,
    in_time,
    wait,
)
from flask_socketio_core.cluster.cluster import Cluster
from flask_socketio_core.cluster.envelope import MAX_DEPTH
from flask_socketio_core.cluster.memory import MemoryQueue
from flask_socketio_core.common.sids import new_sid
from flask_socketio_core.contracts.clients import CallAnswers, Emission
from flask_socketio_core.errors import CallError, CallTimeout, InvalidData
from support.nodes import Bus, Member, Node, emitter, wait_until

from .buses import KINDS, make_bus
from .test_asking import Stranger

pytestmark = pytest.mark.timeout(120)

#: Long enough that a test which waits for it fails.
LONG_S = 20.0


# ------------------------------------------------------------------------------------------------- who was asked: pure


def roll(*nodes: str, sids: tuple[str, ...] = ()) -> tuple[Roll, list[str]]:
    done: list[str] = []
    return Roll(threading.Lock(), nodes, sids, done.append), done


def closed(found: Roll, unheard: dict[str, Any] | None = None, **options: Any) -> CallAnswers:
    return found.close(unheard or {}, (), **{"cut_off": False, **options})


def test_a_server_is_done_when_all_of_its_clients_have_answered_or_left() -> None:
    found, done = roll("m", "n", "empty")
    found.name("empty", [], 0)
    assert done == ["empty"]
    found.name("m", ["a"], 2)
    found.answer("m", "a", (1,), 1)
    assert done == ["empty"]
    found.name("m", ["b"], 2)
    found.answer("n", "c", (1, 2), 1)  # before it was named
    found.miss("m", "b", "gone")
    assert done == ["empty", "m"]
    found.name("n", ["c"], 1)
    assert done == ["empty", "m", "n"]
    answers = closed(found)
    assert (answers.answers, answers.missing) == ({"a": 1, "c": (1, 2)}, {"b": "gone"})
    assert not answers.complete


def test_only_who_was_asked_is_heard_and_only_once() -> None:
    found, done = roll("m", "n")
    found.name("m", ["a", "a"], 1)
    found.name("stranger", ["x"], 1)
    found.name("n", ["a", "b"], 1)  # one of them is the other server's
    found.answer("n", "a", ("theirs",), 1)
    found.answer("stranger", "a", ("theirs",), 1)
    found.answer("m", "a", (), 1)
    found.answer("m", "a", ("again",), 1)
    found.answer("m", "unknown", (), 1)
    assert done == ["m"]
    answers = closed(found, {"n": "silent"})
    assert (answers.answers, answers.missing, answers.servers) == ({"a": None}, {"b": "silent"}, {})


def test_who_is_missing_has_a_cause() -> None:
    there, away = new_sid(), new_sid()
    found, _ = roll("m", "n", "o", sids=(there, away))
    found.name("m", [there], 1)
    found.name("n", ["a", "b"], 2)
    found.name("o", ["c"], 2)
    found.answer("n", "a", (1,), 1)
    answers = found.close({"m": "silent", "n": "left", "o": "left"}, ("old",), cut_off=False)
    assert answers.answers == {"a": 1}
    assert answers.missing == {there: "silent", away: "silent", "b": "gone", "c": "gone"}
    assert answers.servers == {"o": "left", "old": "unable"}  # of the others all clients are known
    alone, _ = roll("m", sids=(away,))
    alone.name("m", [], 0)
    assert closed(alone).missing == {away: "gone"}
    assert closed(alone, cut_off=True).missing == {away: "silent"}


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls_to_all, "MOST_CLIENTS", 3)
    found, done = roll("m")
    found.name("m", ["a", "b", "c", "d", "e"], 5)
    found.answer("m", "a", (1,), MOST_BYTES)
    found.answer("m", "b", (2,), 1)
    found.answer("m", "d", (4,), 1)
    found.answer("m", "c", (3,), 0)
    assert done == ["m"]
    answers = closed(found)
    assert (answers.answers, answers.missing, answers.more) == ({"a": 1, "c": 3}, {"b": "dropped"}, 2)
    assert not answers.complete
    assert MOST_CLIENTS == 100_000


def test_only_silence_is_a_time_out() -> None:
    gone = CallAnswers(answers={"a": 1}, missing={"b": "gone"}, servers={"m": "left", "n": "unable"})
    assert in_time(gone, "ask", 5) is gone
    silent = CallAnswers(answers={"a": 1}, missing={"b": "silent", "c": "gone"})
    with pytest.raises(CallTimeout, match="1 of 3 clients did not acknowledge 'ask' within 5 s") as caught:
        in_time(silent, "ask", 5)
    assert caught.value.answers is silent
    with pytest.raises(CallTimeout, match="the clients of 1 servers did not acknowledge 'ask'"):
        in_time(CallAnswers(answers={}, missing={}, servers={"m": "silent"}), "ask", 0.5)


# -------------------------------------------------------------------------------------------------- over every queue


@pytest.fixture(scope="module", params=KINDS)
def bus(request: pytest.FixtureRequest) -> Bus:
    return make_bus(request, request.param)


class Crowd:
    """Two servers, a process that only sends, and clients that answer as long as nobody stops them."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.nodes = [Node(bus).start() for _ in range(2)]
        self.outside = emitter(bus)
        self._numbers = itertools.count()
        wait_until(lambda: all(node.has_peer() for node in self.nodes), "servers that know each other")

    @property
    def askers(self) -> list[Cluster]:
        return [*(node.cluster for node in self.nodes), self.outside]

    def room(self, *counts: int) -> tuple[str, list[Member]]:
        """Make a room with so many new clients of each server."""
        room = f"room {next(self._numbers)}"
        members: list[Member] = []
        for node, count in zip(self.nodes, counts, strict=True):
            for _ in range(count):
                member = node.connect()
                member.answer = (len(members),)
                node.cluster.enter_room(member.sid, room)
                members.append(member)
        return room, members

    def close(self) -> None:
        self.outside.close()
        for node in self.nodes:
            node.close()


@pytest.fixture(scope="module")
def crowd(bus: Bus) -> Iterator[Crowd]:
    crowd = Crowd(bus)
    yield crowd
    crowd.close()


@contextmanager
def answering(*members: Member) -> Iterator[None]:
    """Let clients take and answer what is sent to them, for the length of a ``with`` block."""
    end = threading.Event()

    def answer() -> None:
        while not end.wait(0.001):
            for member in members:
                member.receive()

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join(5)


def call_all(
    cluster: Cluster, *to: str, args: Any = (), timeout_s: float = LONG_S, **more: Any
) -> CallAnswers:
    emission = Emission("ask", args, to=to or None, **more)
    return wait(cluster._mode, partial(cluster.call_all, emission, timeout_s))


class Calling(threading.Thread):
    """Call all in a thread of its own."""

    def __init__(self, call: Callable[[], CallAnswers]) -> None:
        super().__init__(daemon=True)
        self._call = call
        self.answers: CallAnswers | None = None
        self.start()

    def run(self) -> None:
        self.answers = self._call()


def nothing_is_left(crowd: Crowd) -> bool:
    kept = [
        len(found)
        for cluster in crowd.askers
        for found in (cluster._calls._rolls, cluster._calls._replies, cluster._link.asking.questions)
    ]
    return not any(kept)


def test_every_client_answers_whoever_asks(crowd: Crowd) -> None:
    room, members = crowd.room(2, 3)
    beside, (other,) = crowd.room(0, 1)
    expected: dict[str, Any] = {member.sid: number for number, member in enumerate(members)}
    members[4].answer = ("two", {"deep": [1]})
    expected[members[4].sid] = members[4].answer
    members[3].answer = ()
    expected[members[3].sid] = None
    with answering(*members, other):
        for asker in crowd.askers:
            answers = call_all(asker, room, args=(1, b"\x02"))
            assert answers.answers == expected
            assert answers.complete
            named = call_all(asker, members[0].sid, members[2].sid, beside, exclude=frozenset({beside}))
            assert named.answers == {members[0].sid: 0, members[2].sid: 2}
            skip, exclude = frozenset({members[0].sid}), frozenset({members[4].sid})
            some = call_all(asker, room, skip=skip, exclude=exclude)
            assert some.answers == {sid: expected[sid] for sid in expected if sid not in skip | exclude}
            assert call_all(asker, "nobody").answers == {}
        away = new_sid()
        assert call_all(crowd.outside, away, members[0].sid).missing == {away: "gone"}
        local = call_all(crowd.nodes[0].cluster, room, local=True)
        assert sorted(local.answers) == sorted(member.sid for member in members[:2])
    wait_until(lambda: nothing_is_left(crowd), "end of the questions")
    assert members[4].events[0] == ["ask", 1, b"\x02"]


def test_who_leaves_is_missing_at_once(crowd: Crowd) -> None:
    room, members = crowd.room(2, 2)
    members[0].answer = members[2].answer = None
    calls = [Calling(partial(call_all, asker, room)) for asker in crowd.askers]
    begun = time.monotonic()
    with answering(*members):
        wait_until(lambda: [len(member.events) for member in members] == [3] * 4, "questions at all clients")
        members[0].leave()
        members[2].leave()
        for call in calls:
            call.join(LONG_S)
    assert time.monotonic() - begun < LONG_S / 2
    for call in calls:
        assert call.answers is not None
        assert call.answers.answers == {members[1].sid: 1, members[3].sid: 3}
        assert call.answers.missing == {members[0].sid: "gone", members[2].sid: "gone"}


def test_older_servers_are_not_waited_for_and_dead_ones_not_any_more(crowd: Crowd) -> None:
    old, dying = Stranger(crowd.bus), Stranger(crowd.bus)
    dying.node = "dying-server"
    news = {"interval": 0.5, "async_mode": "threading", "version": "0.1"}
    room, members = crowd.room(1, 1)
    theirs = [new_sid(), new_sid()]
    try:
        old.say("node", state="here", protocol=PROTOCOL - 1, **news)
        dying.say("node", state="here", protocol=PROTOCOL, **{**news, "interval": 3000})
        asker = crowd.nodes[0].cluster
        wait_until(lambda: len(asker.health().peers) == 3, "strangers")
        with answering(*members):
            calling = Calling(partial(call_all, asker, room))
            wait_until(lambda: dying.heard("emit"), "question")
            (question,) = dying.heard("emit")
            reply = {"host_id": question["host_id"], "id": question["ask_all"]}
            dying.say("acked", acks=[[theirs[0], ["yes"], False]], **reply)
            dying.say("asked", sids=theirs, total=3, **reply)
            old.say("asked", sids=[new_sid()], total=1, **reply)  # it was not asked
            dying.say("node", state="bye", **news)
            calling.join(LONG_S)
        assert calling.answers is not None
        assert calling.answers.answers == {members[0].sid: 0, members[1].sid: 1, theirs[0]: "yes"}
        assert calling.answers.missing == {theirs[1]: "gone"}
        assert calling.answers.servers == {"dying-server": "left", "old-server": "unable"}
        old.say("node", state="bye", **news)
        wait_until(lambda: len(asker.health().peers) == 1, "end of the strangers")
    finally:
        old.close()
        dying.close()


# -------------------------------------------------------------------------------------------- on one queue are enough


@pytest.fixture
def memory(request: pytest.FixtureRequest) -> Iterator[Crowd]:
    crowd = Crowd(Bus(MemoryQueue, "memory://", request.node.name))
    yield crowd
    crowd.close()


def test_answers_travel_in_batches_and_no_more_is_asked(memory: Crowd) -> None:
    room, members = memory.room(0, 200)
    tap = Stranger(memory.bus)
    with answering(*members):
        assert len(call_all(memory.outside, room).answers) == 200
        here = call_all(memory.nodes[1].cluster, members[0].sid)  # a client of its own: nobody else is asked
        assert here.answers == {members[0].sid: 0}
    assert [len(tap.heard(method)) for method in ("emit", "asked", "ask", "answer", "callback")] == [
        1,
        2,
        0,
        0,
        0,
    ]
    assert 1 <= len(tap.heard("acked")) < 100
    tap.close()


def test_what_cannot_be_carried_is_dropped_alone(memory: Crowd, monkeypatch: pytest.MonkeyPatch) -> None:
    room, members = memory.room(2, 3)
    deep: Any = []
    for _ in range(MAX_DEPTH):
        deep = [deep]
    members[0].answer = members[2].answer = (deep,)
    members[3].answer = ("x" * 10_000,)
    monkeypatch.setattr(MemoryQueue, "max_message_bytes", 3_000)
    monkeypatch.setattr(calls_to_all, "BATCH_BYTES", 100)
    with answering(*members):
        for asker in (memory.nodes[0].cluster, memory.outside):
            answers = call_all(asker, room)
            assert answers.answers == {members[1].sid: 1, members[4].sid: 4}
            assert answers.missing == {members[number].sid: "dropped" for number in (0, 2, 3)}


def test_many_names_travel_in_parts(memory: Crowd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls_to_all, "BATCH_SIDS", 16)
    room, members = memory.room(0, 50)
    monkeypatch.setattr(MemoryQueue, "max_message_bytes", 600)
    tap = Stranger(memory.bus)
    with answering(*members):
        assert len(call_all(memory.nodes[0].cluster, room).answers) == 50
    assert 4 < len([message for message in tap.heard("asked") if message["sids"]]) < 20
    tap.close()


def test_calls_that_wait_are_bounded_at_both_ends(
    memory: Crowd, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert MOST_CALLS == 1_000
    monkeypatch.setattr(calls_to_all, "MOST_CALLS", 2)
    room, (member,) = memory.room(0, 1)
    member.answer = None
    first, second = memory.nodes
    pending = [
        cluster.call_all(Emission("ask", (), to=(room,)), LONG_S, lambda: None)
        for cluster in (first.cluster, first.cluster, memory.outside)
    ]
    with pytest.raises(CallError, match=r"cannot call 'ask': 2 call_all\(\) are waited for already"):
        call_all(first.cluster, room)
    wait_until(lambda: "too many wait for clients, as 'ask'" in caplog.text, "refusal")
    assert len(second.cluster._calls._replies) == 2
    assert sum(bool(call.end().missing) for call in pending) == 2
    member.leave()
    wait_until(lambda: nothing_is_left(memory), "end of the questions")


def test_a_question_that_is_none_leaves_nothing(memory: Crowd) -> None:
    for asker in memory.askers:
        with pytest.raises(InvalidData, match=r"event 'ask'"):
            call_all(asker, args=(object(),))
    assert nothing_is_left(memory)


def test_who_is_silent_is_missing_in_the_end_and_nobody_waits_for_ever(
    memory: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls_to_all, "CLOCK_SKEW_S", 0.2)
    room, members = memory.room(2, 2)
    members[0].answer = members[2].answer = None
    calls = [Calling(partial(call_all, asker, room, timeout_s=2.0)) for asker in memory.askers]
    with answering(*members):
        for call in calls:
            call.join(LONG_S)
            assert call.answers is not None
            assert call.answers.answers == {members[1].sid: 1, members[3].sid: 3}
            assert call.answers.missing == {members[0].sid: "silent", members[2].sid: "silent"}
    wait_until(lambda: nothing_is_left(memory), "end of the questions")
    for node, member in zip(memory.nodes, (members[0], members[2]), strict=True):
        client = node.server.client(member.sid)
        assert not client.gone_callbacks and not client.acks


def test_a_process_that_stood_still_judges_nobody_before_it_has_heard(
    memory: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = memory.outside._link
    monkeypatch.setattr(link, "_schedule_watch", lambda: None)  # the test looks when it likes
    pending = memory.outside.call_all(Emission("ask", ()), LONG_S, lambda: None)
    number = link.asking.questions.add(["server"], lambda: None)
    looks: list[float] = []
    monkeypatch.setattr(link, "_forget_silent", looks.append)
    link._watch_due_s = link._clock() - 60
    link._watch()
    assert looks == []
    link._watch_due_s = link._clock()
    link._watch()
    assert len(looks) == 1
    link.asking.questions.end(number)
    pending.end()
    link._watch()  # nobody waits any more
    assert len(looks) == 1


def test_a_call_in_a_process_without_anybody_is_over_at_once() -> None:
    cluster = emitter(Bus(MemoryQueue, "memory://", "nobody-is-here"))
    answers = call_all(cluster, "room")
    assert (answers.answers, answers.missing, answers.servers, answers.cut_off) == ({}, {}, {}, False)
    cluster.close()
