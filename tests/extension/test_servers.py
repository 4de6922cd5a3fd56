"""``SocketIO.servers``: for applications and plugins, the same with and without a message queue."""

from __future__ import annotations

import os
from typing import Any

import pytest
from flask import Flask, current_app

from flask_socketio_core import SocketBlueprint, SocketIO, SocketIOTestClient
from flask_socketio_core.cluster.envelope import PROTOCOL
from flask_socketio_core.cluster.memory import MemoryQueue
from flask_socketio_core.cluster.topics import CORE
from flask_socketio_core.contracts import QueueCapabilities
from flask_socketio_core.errors import ConfigurationError, NotInitialised, PartUnsuitable
from support.nodes import wait_until


@pytest.fixture(params=[None, "memory://of-these-tests"], ids=["without a queue", "with a queue"])
def queue(request: pytest.FixtureRequest) -> str | None:
    url: str | None = request.param
    return url


def make(queue: str | None, **options: Any) -> tuple[Flask, SocketIO]:
    app = Flask(__name__)
    return app, SocketIO(app, async_mode="threading", message_queue=queue, **options)


def peers_of(socketio: SocketIO) -> list[str]:
    health = socketio.health()
    assert health is not None
    return [peer.node for peer in health.peers]


def test_a_handler_runs_in_the_context_of_the_application_that_serves(queue: str | None) -> None:
    socketio = SocketIO(async_mode="threading", message_queue=queue)
    apps = [Flask("first"), Flask("second")]

    @socketio.servers.on_topic("who")
    def who(payload: Any, node: str) -> Any:
        return [current_app.name, payload, socketio.servers.node == node]

    for number, app in enumerate(apps):
        socketio.init_app(app, path=f"socket.io-{number}", channel=f"channel-{number}")
    try:
        for app in apps:
            with app.app_context():
                outcome = socketio.servers.ask("who", {"a": (1, b"\x00")})
                assert outcome.answers == {socketio.servers.node: [app.name, {"a": [1, b"\x00"]}, True]}
    finally:
        for app in apps:
            with app.app_context():
                socketio.close()


def test_two_servers_of_one_process_ask_each_other() -> None:
    pairs = [make("memory://of-these-tests", channel="two") for _ in range(2)]
    clients = []
    try:
        for number, (app, socketio) in enumerate(pairs):
            socketio.servers.on_topic("number", lambda payload, node, number=number: number)
            clients.append(SocketIOTestClient(app, socketio))
        first, second = (socketio for _, socketio in pairs)
        wait_until(lambda: len(first.servers.ask("number").answers) == 2, "answer of both")
        assert first.servers.ask("number").answers == {first.servers.node: 0, second.servers.node: 1}
        told: list[Any] = []
        second.servers.on_topic("told", lambda payload, node: told.append((payload, node)))
        first.servers.tell("told", 1)
        wait_until(lambda: told == [(1, first.servers.node)], "what was told")

        def known_of_the_other() -> list[tuple[int, list[str]]]:
            health = first.health()
            assert health is not None
            return [
                (peer.protocol, [topic for topic in peer.topics if not topic.startswith(CORE)])
                for peer in health.peers
            ]

        wait_until(
            lambda: known_of_the_other() == [(PROTOCOL, ["number", "told"])],
            "news of the second topic",
        )
    finally:
        for client in clients:
            client.disconnect()
        for _, socketio in pairs:
            socketio.close()


def test_it_uses_the_json_module_of_the_application(queue: str | None) -> None:
    class Custom:
        @staticmethod
        def dumps(value: Any, **options: Any) -> str:
            import json

            return json.dumps(value, default=lambda item: f"custom {item!r}")

        @staticmethod
        def loads(text: str, **options: Any) -> Any:
            import json

            return json.loads(text)

    _, socketio = make(queue, json=Custom, channel="json")
    socketio.servers.on_topic("echo", lambda payload, node: payload)
    try:
        assert list(socketio.servers.ask("echo", {1j}).answers.values()) == ["custom {1j}"]
    finally:
        socketio.close()


def test_a_forked_process_is_another_server_without_questions(queue: str | None) -> None:
    _, socketio = make(queue, channel="fork")
    socketio.servers.on_topic("id", lambda payload, node: os.getpid())
    node = socketio.servers.node
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.write(
            writer, f"{socketio.servers.node} {list(socketio.servers.ask('id').answers.values())}".encode()
        )
        os._exit(0)
    try:
        os.waitpid(pid, 0)
        child, _, answers = os.read(reader, 1000).decode().partition(" ")
        assert child != node == socketio.servers.node
        assert answers == f"[{pid}]"
    finally:
        os.close(reader)
        os.close(writer)
        socketio.close()


def test_handlers_may_be_registered_before_there_is_an_application_and_nobody_can_be_asked() -> None:
    socketio = SocketIO()
    socketio.servers.on_topic("early", lambda payload, node: "heard")
    with pytest.raises(NotInitialised):
        socketio.servers.ask("early")
    socketio.init_app(Flask(__name__), async_mode="threading")
    assert list(socketio.servers.ask("early").answers.values()) == ["heard"]


def test_an_application_has_topics_of_its_own_whatever_plugins_have(
    queue: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    app, socketio = make(queue, channel="topics")
    blueprint = SocketBlueprint()
    socketio.register_blueprint(blueprint)
    socketio.servers.on_topic("version", lambda payload, node: "a plugin's")

    @socketio.on_server("version")
    def version(*args: Any) -> Any:
        return [current_app.name, *args]

    @blueprint.on_server("fail")
    def fail() -> None:
        raise LookupError("nothing there")

    try:
        here = socketio.servers.node
        assert socketio.ask_servers("version").answers == {here: [app.name]}
        assert socketio.ask_servers("version", 1, (2, b"\x00"), node=here).answers == {
            here: [app.name, 1, [2, b"\x00"]]
        }
        assert socketio.servers.ask("version").answers == {here: "a plugin's"}
        outcome = socketio.ask_servers("fail")
        assert (outcome.answers, outcome.errors) == ({}, {here: "LookupError('nothing there')"})
        assert f"error on topic 'app:fail', for server {here}" in caplog.text
        assert "TypeError" in socketio.ask_servers("fail", "one too many").errors[here]
        assert socketio.ask_servers("nobody has it").answers == {}
    finally:
        socketio.close()


def test_other_servers_are_told_and_asked_in_the_words_of_the_application() -> None:
    pairs = [make("memory://of-these-tests", channel="words") for _ in range(2)]
    told: list[list[Any]] = [[], []]
    for number, (_, socketio) in enumerate(pairs):
        socketio.on_server("told")(lambda *args, number=number: told[number].append(args))
        socketio.on_server("number")(lambda number=number: number)
    outside = SocketIO(message_queue="memory://of-these-tests", channel="words", async_mode="threading")
    clients = [SocketIOTestClient(app, socketio) for app, socketio in pairs]
    first, second = (socketio for _, socketio in pairs)
    try:
        numbers = {first.servers.node: 0, second.servers.node: 1}
        wait_until(lambda: first.ask_servers("number").answers == numbers, "answers of both")
        assert first.ask_servers("number", include_self=False).answers == {second.servers.node: 1}
        assert outside.ask_servers("number").answers == numbers
        first.tell_servers("told", "a", {"key": b"\x00"})
        wait_until(lambda: told == [[], [("a", {"key": b"\x00"})]], "what was told")
        outside.tell_servers("told")
        wait_until(lambda: told == [[()], [("a", {"key": b"\x00"}), ()]], "what was told to both")
    finally:
        for client in clients:
            client.disconnect()
        for socketio in (first, second, outside):
            socketio.close()


@pytest.mark.parametrize("topics", [False, True], ids=["without topics", "with topics"])
def test_a_page_makes_a_server_join_if_others_have_something_to_tell_it(topics: bool) -> None:
    app, socketio = make("memory://of-these-tests", channel=f"page-{topics}")
    outside = SocketIO(
        message_queue="memory://of-these-tests", channel=f"page-{topics}", async_mode="threading"
    )
    if topics:
        socketio.on_server("number")(lambda: 1)
    try:
        assert outside.ask_servers("number").answers == {}
        assert app.test_client().get("/a page").status_code == 404
        cluster = socketio.binding_of(app).cluster
        assert cluster is not None and cluster._link.serves is topics
        joined = {socketio.servers.node: 1} if topics else {}
        wait_until(lambda: outside.ask_servers("number").answers == joined, "answer")
        assert peers_of(outside) == list(joined)
    finally:
        outside.close()
        socketio.close()


def test_a_page_is_answered_where_the_queue_does_not_suit_the_mode_and_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app, socketio = make("memory://of-these-tests", channel="unsuitable")
    socketio.on_server("number")(lambda: 1)
    monkeypatch.setattr(MemoryQueue, "capabilities", QueueCapabilities(needs_patched=("socket",)))
    monkeypatch.setattr(socketio._binding().mode, "is_patched", lambda module: False)
    client = app.test_client()
    assert client.get("/a page").status_code == 404
    assert (
        "cannot join the other servers: message queue memory://of-these-tests blocks in socket" in caplog.text
    )
    with pytest.raises(PartUnsuitable, match="blocks in socket"):
        client.get("/socket.io/?transport=polling&EIO=4")
    socketio.close()


def test_topics_that_cannot_be_are_refused() -> None:
    socketio = SocketIO()
    for name in ("", "x" * 61, "line\nend", "ü", None):
        with pytest.raises(ValueError, match="expected text of 1 to 60 printable ASCII characters"):
            socketio.on_server(name)  # type: ignore[arg-type]  # as asked
    for name in ("app:version", "core:who"):
        with pytest.raises(ValueError, match="choose another name"):
            socketio.servers.on_topic(name, lambda payload, node: None)
    with pytest.raises(TypeError, match="the handler of topic 'a' must be callable, not int"):
        socketio.on_server("a")(5)  # type: ignore[type-var]  # as asked
    socketio.on_server("x" * 60)(print)
    socketio.on_server("x" * 60)(print)  # the same again
    with pytest.raises(ConfigurationError, match="has a handler already, builtins"):
        socketio.on_server("x" * 60)(len)
