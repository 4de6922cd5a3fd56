"""Who was asked, who has answered, who has left; and how handlers of topics share the workers. No queue."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from flask_socketio_core.cluster import asking, topics
from flask_socketio_core.cluster.envelope import MAX_ERROR, MAX_TOPICS, Malformed, Wire
from flask_socketio_core.cluster.one_server import OneServer
from flask_socketio_core.cluster.questions import Questions
from flask_socketio_core.cluster.servers import ApplicationServers
from flask_socketio_core.cluster.topics import MOST_AT_ONCE, MOST_WAITING, Topics, TopicWorkers
from flask_socketio_core.common.sids import new_sid
from flask_socketio_core.contracts.servers import Answers, Servers
from flask_socketio_core.errors import ConfigurationError, InvalidData
from flask_socketio_core.testing.threads import ThreadMode


class Done:
    """Counts how often a question is done."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


def ask(*nodes: str) -> tuple[Questions, int, Done]:
    questions, done = Questions(threading.Lock()), Done()
    return questions, questions.add(nodes, done), done


def test_a_question_is_done_when_all_have_answered_or_left() -> None:
    questions, number, done = ask("a", "b", "c")
    questions.answer(number, "a", 1, None)
    questions.answer(number, "b", None, "wrong")
    assert done.times == 0
    questions.left("c")
    assert done.times == 1
    outcome = questions.end(number)
    assert outcome == Answers(answers={"a": 1}, errors={"b": "wrong"}, missing={"c": "left"})
    assert len(questions) == 0


def test_who_has_not_answered_at_the_end_is_silent() -> None:
    questions, number, done = ask("b", "a")
    assert questions.end(number).missing == {"a": "silent", "b": "silent"}
    assert done.times == 0


def test_an_answer_that_is_enough_is_the_last_that_is_awaited() -> None:
    questions, done = Questions(threading.Lock()), Done()
    number = questions.add(["a", "b", "c"], done, lambda answer: answer == "found")
    questions.answer(number, "a", None, None)
    assert done.times == 0
    questions.answer(number, "b", "found", None)
    assert done.times == 1
    questions.answer(number, "c", "found", None)
    questions.left("c")
    assert done.times == 1
    assert questions.end(number) == Answers(answers={"a": None, "b": "found"}, errors={}, missing={})


def test_a_question_to_nobody_is_done_at_once() -> None:
    questions, number, done = ask()
    assert done.times == 1
    assert questions.end(number, unable=["old"]) == Answers(
        answers={}, errors={}, missing={}, unable=("old",)
    )


def test_only_who_was_asked_answers_once_and_in_time() -> None:
    questions, number, done = ask("a", "b")
    questions.answer(number, "stranger", 1, None)
    questions.answer(number + 1, "a", 1, None)
    questions.answer(number, "a", 1, None)
    questions.answer(number, "a", 2, None)
    questions.left("a")
    assert done.times == 0
    outcome = questions.end(number)
    questions.answer(number, "b", 1, None)
    questions.left("b")
    assert (outcome.answers, outcome.missing) == ({"a": 1}, {"b": "silent"})


def test_numbers_cannot_be_guessed() -> None:
    questions = Questions(threading.Lock())
    numbers = [questions.add(["a"], Done()) for _ in range(100)]
    assert len(set(numbers)) == 100
    assert max(numbers) > 2**45 and sorted(numbers) != numbers


def test_answers_are_complete_when_nobody_is_left_out() -> None:
    nobody: Any = {"answers": {}, "errors": {}, "missing": {}}
    assert Answers(**nobody).complete
    for lack in ({"errors": {"a": "e"}}, {"missing": {"a": "left"}}, {"unable": ("a",)}, {"cut_off": True}):
        assert not Answers(**{**nobody, **lack}).complete


@pytest.mark.parametrize("topic", ["", "x" * 65, "ü", "a\nb", None, 7, b"x"])
def test_what_is_no_topic_is_refused(topic: Any) -> None:
    servers = alone()
    for act in (
        lambda: servers.on_topic(topic, print),
        lambda: servers.ask(topic),
        lambda: servers.tell(topic),
    ):
        with pytest.raises(ValueError, match="is no name of a topic: expected text of 1 to 64"):
            act()


def test_a_topic_has_one_handler_and_a_server_so_many_topics() -> None:
    servers = alone()

    @servers.on_topic("mine")
    def mine(payload: Any, node: str) -> None: ...

    servers.on_topic("mine", mine)
    with pytest.raises(
        ConfigurationError, match=r"'mine' has a handler already, [\w.<>]*mine: begin the name with"
    ):
        servers.on_topic("mine", lambda payload, node: None)
    for number in range(MAX_TOPICS - 1):
        servers.on_topic(f"{number}", mine)
    with pytest.raises(ConfigurationError, match="'more' is one too many: a server has 64 at most"):
        servers.on_topic("more", mine)


def test_a_function_that_is_registered_again_takes_its_own_place() -> None:
    servers = alone()

    def set_up(number: int) -> None:
        @servers.on_topic("number")
        def answer(payload: Any, node: str) -> int:
            return number

    class Feature:
        def answer(self, payload: Any, node: str) -> int:
            return id(self)

        __call__ = answer

    for number in (1, 2):
        set_up(number)
        feature = Feature()
        servers.on_topic("method", feature.answer)
        servers.on_topic("object", feature)
        servers.on_topic("partial", partial(Feature.answer, feature))
        expected = {"number": number, **dict.fromkeys(("method", "object", "partial"), id(feature))}
        assert {topic: servers.ask(topic).answers[servers.node] for topic in expected} == expected


# ------------------------------------------------------------------------------------------------- without a queue


def alone(**options: Any) -> Servers:
    topics = Topics()
    one = OneServer(topics, mode=ThreadMode(), **options)
    return ApplicationServers(topics, lambda: one)


def test_without_a_queue_this_server_answers() -> None:
    servers = alone()
    heard: list[Any] = []

    @servers.on_topic("echo")
    def echo(payload: Any, node: str) -> Any:
        heard.append((payload, node))
        return payload

    outcome = servers.ask("echo", {1: ("a", b"\x00\xff")})
    assert outcome.answers == {servers.node: {"1": ["a", b"\x00\xff"]}}  # as another server's: through JSON
    assert heard == [({"1": ["a", b"\x00\xff"]}, servers.node)]
    assert outcome.complete
    assert servers.ask("echo", 1, node=servers.node).answers == {servers.node: 1}
    assert servers.ask("echo", include_self=False) == Answers(answers={}, errors={}, missing={})
    assert servers.ask("nobody knows").complete
    assert servers.ask("nobody knows", node=servers.node).missing == {servers.node: "unable"}
    assert servers.ask("echo", node="someone").missing == {"someone": "unknown"}
    servers.tell("echo", "to the others")
    assert len(heard) == 2


def test_what_goes_wrong_in_a_handler_is_an_error_that_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    servers = alone()

    @servers.on_topic("raise")
    def fail(payload: Any, node: str) -> None:
        raise ValueError("x" * 1000 + "\n\U0001f600")

    servers.on_topic("no json", lambda payload, node: {payload})
    for _ in range(3):
        (error,) = servers.ask("raise").errors.values()
        assert error.startswith("ValueError('xxx") and len(error) <= MAX_ERROR
    assert caplog.text.count("error on topic 'raise', for server") == 1
    (error,) = servers.ask("no json", 1).errors.values()
    assert "the answer on topic 'no json' cannot be sent: data is of type set" in error
    assert "error on topic 'no json'" in caplog.text


class Timeout(BaseException):
    """As a green library's."""


def test_no_exception_leaves_whoever_asks_waiting() -> None:
    servers = alone()

    @servers.on_topic("raise")
    def fail(payload: Any, node: str) -> None:
        raise Timeout if payload else SystemExit

    ended = threading.excepthook
    threading.excepthook = lambda *args: None  # plain threads have no log
    try:
        assert list(servers.ask("raise", True).errors.values()) == ["Timeout()"]
        assert list(servers.ask("raise", False).errors.values()) == ["SystemExit()"]
    finally:
        threading.excepthook = ended


def test_what_cannot_be_sent_is_refused_with_the_place() -> None:
    servers = alone()
    deep: Any = 1
    for _ in range(300):
        deep = [deep]
    for act in (servers.tell, servers.ask):
        with pytest.raises(InvalidData, match=r"topic 'x' cannot be sent: data\[\"a\"\] is of type set"):
            act("x", {"a": {1}})
        with pytest.raises(InvalidData, match="topic 'x' cannot be sent: nested too deeply"):
            act("x", deep)


def test_a_slow_answer_is_not_waited_for() -> None:
    servers = alone()
    gate = threading.Event()
    servers.on_topic("slow", lambda payload, node: gate.wait(10))
    started = time.monotonic()
    assert servers.ask("slow", timeout_s=0.1).missing == {servers.node: "silent"}
    assert time.monotonic() - started < 2
    gate.set()


def test_a_question_that_waited_for_too_long_is_not_handled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "CLOCK_SKEW_S", 0.0)
    servers = alone()
    handled: list[Any] = []
    servers.on_topic("late", lambda payload, node: handled.append(payload))
    servers.ask("late", "too late", timeout_s=-1.0)
    servers.ask("late", "in time")
    assert handled == ["in time"]


# --------------------------------------------------------------------------------------------------- the workers


class Manual(ThreadMode):
    """Jobs run when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: list[Callable[[], object]] = []

    def spawn(self, job: Callable[[], object]) -> None:
        self.jobs.append(job)

    def run(self) -> None:
        while self.jobs:
            self.jobs.pop(0)()


def test_so_many_handlers_run_at_a_time_and_so_many_wait() -> None:
    mode, ran = Manual(), []
    workers = TopicWorkers(mode)
    taken = [workers.start(lambda number=number: ran.append(number)) for number in range(1_100)]  # type: ignore[misc]
    assert taken.count(True) == MOST_AT_ONCE + MOST_WAITING
    assert len(mode.jobs) == MOST_AT_ONCE
    mode.run()
    assert ran == list(range(MOST_AT_ONCE + MOST_WAITING))
    assert workers.start(lambda: None)


def test_handlers_leave_workers_to_clients() -> None:
    mode = Manual()
    mode.max_workers = 10
    workers = TopicWorkers(mode)
    for _ in range(5):
        workers.start(lambda: None)
    assert len(mode.jobs) == 2


def test_a_lane_is_in_order_and_does_not_hold_up_others() -> None:
    mode = Manual()
    ran: list[Any] = []
    workers = TopicWorkers(mode)
    for number in range(3):
        workers.start(lambda number=number: ran.append(("lane", number)), "lane")  # type: ignore[misc]
    workers.start(lambda: ran.append("other"), "other")
    assert len(mode.jobs) == 2
    mode.run()
    assert ran == [("lane", 0), "other", ("lane", 1), ("lane", 2)]
    assert not workers._lanes and not workers._running and not workers._waiting


def test_a_handler_that_fails_and_a_worker_that_cannot_be_had_hold_nobody_up() -> None:
    mode, ran = Manual(), []
    workers = TopicWorkers(mode)

    def fail() -> None:
        raise ValueError("no")

    workers.start(fail, "lane")
    workers.start(lambda: ran.append(1), "lane")
    with pytest.raises(ValueError, match="no"):
        mode.run()
    mode.run()
    assert ran == [1]

    def no_thread(job: object) -> None:
        raise RuntimeError("can't start new thread")

    mode.spawn = no_thread  # type: ignore[method-assign]
    with pytest.raises(RuntimeError):
        workers.start(lambda: ran.append(2), "lane")
    del mode.spawn
    workers.start(lambda: ran.append(3), "lane")
    mode.run()
    assert ran == [1, 3]
    assert topics.MOST_AT_ONCE == MOST_AT_ONCE and workers._running == 0


# ------------------------------------------------------------------------------------------------------ the wire


SID = new_sid()
GOOD: dict[str, dict[str, Any]] = {
    "tell": {"node": "n", "seq": 1, "topic": "t", "args": [1]},
    "ask": {
        "node": "n",
        "seq": 1,
        "topic": "t",
        "args": [],
        "id": 5,
        "expires_at": 1.5,
        "to": "m",
        "new": {},
    },
    "asked": {"node": "n", "seq": 1, "host_id": "m", "id": 5, "sids": [SID], "total": 1},
    "acked": {
        "node": "n",
        "seq": 1,
        "host_id": "m",
        "id": 5,
        "acks": [[SID, [1], False], [SID, "gone"], [SID, "dropped"]],
    },
    "answer": {"node": "n", "seq": 1, "host_id": "m", "id": 5, "args": [None], "error": None},
    "node": {
        "node": "n",
        "seq": 1,
        "state": "here",
        "protocol": 99,
        "topics": ["a", "b"],
        "to": {"0a1b2c": 7},
        "new": [1],
    },
}


@pytest.mark.parametrize("method", GOOD)
def test_messages_with_keys_that_are_not_known_are_read(method: str) -> None:
    assert Wire().decode(Wire().encode({"method": method, **GOOD[method]}))["node"] == "n"


BAD: dict[str, dict[str, list[Any]]] = {
    **{
        method: {
            "node": [None, "", 5, "x" * 65],
            "topic": [None, "", "x" * 65, "a b\n", ["t"]],
            "args": [None, "x", {}, 5],
        }
        for method in ("tell", "ask")
    },
    "answer": {
        "node": [None, "", 5],
        "host_id": [None, "", 5],
        "id": [None, -1, 1.5, True, 2**64, "5"],
        "args": [5, "x", {}],
        "error": [5, ["x"], "x" * (MAX_ERROR + 1), "\ud800"],
    },
    "node": {
        "protocol": [-1, 1.5, True, "1", 2**64],
        "topics": ["a", {"a": 1}, [""], [5], ["x" * 65], ["x"] * (MAX_TOPICS + 1)],
        "to": [5, ["0a1b2c"], {"": 1}, {"0A1B2C": 1}, {"0a1b2c": -1}, {"0a1b2c": "1"}],
    },
}
_ANSWERED = {name: BAD["answer"][name] for name in ("node", "host_id", "id")}
BAD["asked"] = {**_ANSWERED, "sids": [None, SID, [5], ["sid"], {}], "total": [None, -1, "1", 2**64]}
BAD["acked"] = {
    **_ANSWERED,
    "acks": [
        None,
        {},
        [SID],
        [[]],
        [[SID]],
        [["sid", "gone"]],
        [[SID, "silent"]],
        [[SID, [], 1]],
        [[SID, "x", True]],
    ],
}
BAD["ask"] |= {
    "id": BAD["answer"]["id"],
    "expires_at": [None, "1", True, [1]],
    "to": [5, "", ["m"]],
}


@pytest.mark.parametrize(
    ("method", "part", "value"),
    [
        (method, part, value)
        for method, parts in BAD.items()
        for part, values in parts.items()
        for value in values
    ],
)
def test_parts_of_wrong_types_are_refused(method: str, part: str, value: Any) -> None:
    with pytest.raises(Malformed, match=f"wrong '{part}'"):
        Wire().decode(Wire().encode({"method": method, **GOOD[method], part: value}))


def test_the_log_says_nothing_of_what_goes_well(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    servers = alone()
    servers.on_topic("t", lambda payload, node: None)
    assert servers.ask("t").complete
    assert caplog.text == ""
