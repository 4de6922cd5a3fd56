"""What a server shows to who looks at it: for as long as they do, in bounds, and at no cost when nobody does."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from flask import Flask

from flask_socketio_core import SocketIO, SocketIOTestClient, emit, join_room
from flask_socketio_core.app import watched
from flask_socketio_core.app.watched import Watched

ALL: dict[str, Any] = {"namespace": "*", "events": [], "rooms": [], "args": False, "most": 10}


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s

    def advance(self, seconds: float) -> None:
        self.now_s += seconds


class Stand:
    """A server with two clients, the first of which is in a room, and what it shows, by a clock of the test's."""

    def __init__(self) -> None:
        self.clock = Clock()
        app = Flask("stand")
        self.socketio = SocketIO(app, async_mode="threading")
        self.socketio.on_error_default(lambda error: None)
        self.socketio.on("connect")(lambda auth: None)
        self.socketio.on("enter")(lambda: join_room("room"))
        self.socketio.on("say")(lambda *words: emit("said", *words, to="room"))
        self.socketio.on("fail")(self._fail)
        self.socketio.on("*")(lambda event, *args: None)
        self.clients: list[SocketIOTestClient] = [
            self.socketio.test_client(app, auth={"token": "secret"}) for _ in range(2)
        ]
        self.clients[0].emit("enter")
        self.app = app
        binding = self.socketio.binding_of(app)
        server = binding.server
        assert server is not None
        self.plugins = binding.plugins
        self.watched = Watched(
            binding.plugins, server, binding.mode, lambda: None, lambda: None, clock=self.clock
        )

    @staticmethod
    def _fail(*args: Any) -> None:
        raise ValueError("as asked")

    def ask(self, node: str = "shell", lease_s: float = 10, **tap: Any) -> dict[str, Any]:
        answer = self.watched.answer({"lease_s": lease_s, "tap": {**ALL, **tap} if tap else None}, node)
        assert answer is not None
        return answer

    def samples(self, **tap: Any) -> list[dict[str, Any]]:
        samples: list[dict[str, Any]] = self.ask(**{**ALL, **tap})["samples"]
        return samples

    def costs_nothing(self) -> bool:
        plugins = self.plugins
        return not (plugins.observes_events or plugins.attends_events or plugins.observes_deliveries)


@pytest.fixture
def stand(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stand]:
    monkeypatch.setenv("SOCKETIO_LOAD_PLUGINS", "async-threading")
    stand = Stand()
    yield stand
    stand.socketio.close()


def test_nothing_is_observed_but_while_somebody_looks(stand: Stand) -> None:
    assert stand.costs_nothing()
    stand.ask("one", lease_s=10)
    stand.ask("two", lease_s=20, **ALL)
    assert not stand.costs_nothing()
    stand.clock.advance(15)
    stand.clients[0].emit("say")  # the second looks yet
    assert not stand.costs_nothing()
    stand.clock.advance(15)  # both have been killed: nobody says so
    stand.clients[0].emit("say")
    assert stand.costs_nothing()
    stand.ask()
    assert stand.watched.answer({"lease_s": 0}, "shell") is None
    assert stand.costs_nothing()


def test_a_lease_ends_with_what_is_sent_and_with_a_question_too(stand: Stand) -> None:
    def end() -> None:
        stand.watched.answer({"lease_s": 0}, "somebody else")

    emit_to = partial(stand.socketio.emit, "news", to="nobody")
    for happens in (partial(stand.socketio.emit, "news"), emit_to, end):
        stand.ask()
        stand.clock.advance(10)
        happens()
        assert stand.costs_nothing()


def test_events_are_counted_from_the_first_question_on(stand: Stand) -> None:
    stand.clients[0].emit("say")
    before = stand.ask()
    stand.clock.advance(2)
    for event in ("say", "say", "fail", "whatever"):
        stand.clients[1].emit(event)
    after = stand.ask()
    grown = {name: after[name] - before[name] for name in ("at_s", "begun", "handled", "failed", "sent")}
    assert grown == {"at_s": 2, "begun": 4, "handled": 4, "failed": 1, "sent": 2}
    assert (before["handled"], after["since_s"]) == (0, before["since_s"])
    assert (after["clients"], after["rooms"], after["bus_lag_s"]) == (2, 1, None)
    stand.clock.advance(10)
    assert stand.ask()["handled"] == 0 and stand.ask()["since_s"] == stand.clock()


def test_samples_tell_what_came_and_went_without_arguments(stand: Stand) -> None:
    stand.samples()
    stand.clients[0].emit("say", "hello")
    stand.clients[1].emit("fail", "now")
    stand.socketio.emit("news", {"a": 1})
    stand.socketio.emit("nobody hears", to="empty room")
    said, sent, failing, failed, news = stand.samples()
    sids = [client.sid for client in stand.socketio.who(local=True)]
    assert [(item["what"], item["event"]) for item in (said, sent, failing, failed, news)] == [
        ("received", "say"),
        ("sent", "said"),
        ("received", "fail"),
        ("failed", "fail"),
        ("sent", "news"),
    ]
    assert said["sid"] in sids and failed["sid"] in sids and failed["error"] == "ValueError"
    assert (sent["to"], sent["recipients"], news["to"], news["recipients"]) == (["room"], 1, None, 2)
    assert not any("args" in item for item in (said, sent, failing, failed, news))
    assert stand.samples() == []


def test_arguments_are_shown_in_part_and_those_of_a_login_never(stand: Stand) -> None:
    stand.samples(args=True)
    stand.clients[0].emit("any", "hello\x1b[31m \udc00", {"a": [1, b"abc"]})
    stand.clients[0].emit("say", "x" * 100_000, *range(1000))
    stand.socketio.test_client(stand.app, auth={"token": "secret"})
    stand.clients[1].emit("reauth", {"token": "secret"})
    first, said, sent, connect, reauth = stand.samples(args=True)
    assert first["event"] == "any"
    assert first["args"] == r"""'hello\x1b[31m \udc00', {'a': [1, <3 bytes>]}"""
    for item in (said, sent):
        assert item["args"].startswith("'xxx") and len(item["args"]) <= watched.ARGS_CHARACTERS
    assert (connect["event"], reauth["event"]) == ("connect", "reauth")
    assert "secret" not in str([connect, reauth])


def test_who_looks_says_what_for(stand: Stand) -> None:
    sid = stand.socketio.who(to="room", local=True)[0].sid

    def seen(**tap: Any) -> list[str]:
        stand.samples(**tap)
        stand.clients[0].emit("say")
        stand.clients[1].emit("other")
        stand.socketio.emit("news", to=sid)
        stand.socketio.emit("news")
        found = [item["event"] for item in stand.samples(**tap)]
        stand.watched.answer({"lease_s": 0}, "shell")
        return found

    assert seen() == ["say", "said", "other", "news", "news"]
    assert seen(events=["other", "news"]) == ["other", "news", "news"]
    assert seen(rooms=["room"]) == ["say", "said"]
    assert seen(rooms=[sid]) == ["say", "news"]
    assert seen(namespace="/chat") == []
    assert seen(namespace="/", events=["said"], rooms=["room", sid]) == ["said"]


def test_what_is_kept_is_bounded_and_what_is_not_is_counted(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand.samples(most=2)
    for _ in range(5):
        stand.clients[1].emit("other")
    found = stand.ask(**{**ALL, "most": 10**9})
    assert (len(found["samples"]), found["seen"]) == (2, 5)
    for _ in range(watched.MOST_SAMPLES + 5):
        stand.clients[1].emit("other")
    monkeypatch.setattr(watched, "ANSWER_BYTES", 1000)
    found = stand.ask(**ALL)
    assert 0 < len(found["samples"]) < 10 and found["seen"] == watched.MOST_SAMPLES + 10
    for number in range(watched.MOST_WATCHERS - 1):
        stand.ask(f"shell {number}", lease_s=10**9)
    assert stand.ask("one too many") == {"refused": f"{watched.MOST_WATCHERS} look already"}
    assert "refused" not in stand.ask()
    stand.clock.advance(watched.MOST_LEASE_S)
    assert "refused" not in stand.ask("one too many")
