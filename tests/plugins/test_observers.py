"""An installed observer is told what really happens in an application."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from flask_socketio_core import SocketIO, SocketIOTestClient, emit, join_room
from flask_socketio_core.contracts import hookspecs
from flask_socketio_core.errors import InvalidHook
from support.plugins import MakeDistribution
from support.servers import wait_until

OTHERS = hookspecs.DESCRIBING | hookspecs.SETTING_UP | hookspecs.SURROUNDING
OBSERVED = [name for name in vars(hookspecs) if name.startswith("socketio_") and name not in OTHERS]


def observer() -> str:
    """Return the source of a plugin that records every observing hook."""
    lines = ["from flask_socketio_core.hookspecs import hookimpl", "record = []"]
    for hook in OBSERVED:
        names = ", ".join(inspect.signature(getattr(hookspecs, hook)).parameters)
        lines += ["@hookimpl", f"def {hook}({names}):", f"    record.append(({hook[9:]!r}, dict(locals())))"]
    return "\n".join(lines)


Record = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def record(make_distribution: MakeDistribution, monkeypatch: pytest.MonkeyPatch) -> Record:
    """Install the observer beside the plugins that are always there, and return its record."""
    pytest.importorskip("flask_socketio_async_threading", reason="no async mode to serve with")
    monkeypatch.setenv("SOCKETIO_LOAD_PLUGINS", "async-threading,queue-memory,audit")
    make_distribution("socketio-audit", plugins={"audit": ("socketio_audit", observer())})
    found: Record = importlib.import_module("socketio_audit").record
    return found


@pytest.fixture
def client(record: Record) -> Iterator[SocketIOTestClient]:
    """Connect a client to an application; what that told the observer is already in the record."""
    app = Flask(__name__)
    app.secret_key = "only for tests"
    socketio = SocketIO(app)

    @socketio.on("connect")
    def connect() -> None:
        join_room("room")

    @socketio.on("say")
    def say(text: str) -> None:
        emit("said", text, to="room")

    @socketio.on("fail")
    def fail() -> None:
        raise ValueError("as asked")

    @socketio.on_error()
    def handle(error: Exception) -> None:
        emit("sorry", str(error))

    with socketio.test_client(app) as client:
        yield client


def told(record: Record, hook: str) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in arguments.items() if name != "socketio"}
        for told_of, arguments in record
        if told_of == hook
    ]


def test_who_observes_several_objects_is_told_which(client: SocketIOTestClient, record: Record) -> None:
    client.emit("say", "hello")
    assert {arguments["socketio"] for _, arguments in record} == {client.socketio}


def test_a_client_that_comes_is_told_after_its_connect_handler(
    client: SocketIOTestClient, record: Record
) -> None:
    names = [name for name, _ in record]
    assert names == ["session_opened", "event_before", "room_entered", "event_after", "connected"]
    (connected,) = told(record, "connected")
    assert connected["namespace"] == "/"
    assert connected["environ"]["PATH_INFO"] == "/socket.io/"


def test_an_event_is_told_before_and_after_its_handler(client: SocketIOTestClient, record: Record) -> None:
    record.clear()
    client.emit("say", "hello")
    assert [name for name, _ in record] == ["event_before", "emit", "delivered", "event_after"]
    (before,), (after,) = told(record, "event_before"), told(record, "event_after")
    assert (before["event"], before["namespace"], before["args"]) == ("say", "/", ("hello",))
    assert (after["event"], after["sid"]) == ("say", before["sid"])
    assert after["duration_s"] >= 0


def test_what_is_emitted_is_told_with_where_it_goes(client: SocketIOTestClient, record: Record) -> None:
    record.clear()
    client.emit("say", "hello")
    assert told(record, "emit") == [{"event": "said", "namespace": "/", "to": ("room",), "args": ("hello",)}]


def test_an_error_is_told_before_the_application_handles_it(
    client: SocketIOTestClient, record: Record
) -> None:
    record.clear()
    client.emit("fail")
    assert [name for name, _ in record] == ["event_before", "event_error", "emit", "delivered"]
    (failed,) = told(record, "event_error")
    assert (failed["event"], str(failed["error"])) == ("fail", "as asked")
    assert [event["name"] for event in client.get_received()] == ["sorry"]


def test_a_client_that_goes_is_told_with_its_reason(client: SocketIOTestClient, record: Record) -> None:
    record.clear()
    client.disconnect()
    (gone,) = told(record, "disconnected")
    assert (gone["namespace"], gone["reason"]) == ("/", SocketIO.reason.CLIENT_DISCONNECT)


def test_an_event_without_a_handler_is_not_told(client: SocketIOTestClient, record: Record) -> None:
    record.clear()
    client.emit("nobody hears this")
    assert record == []


@pytest.fixture
def socketio(record: Record) -> SocketIO:
    return SocketIO(Flask(__name__))


def test_an_application_observes_with_a_function(socketio: SocketIO) -> None:
    seen = []

    @socketio.observe
    def socketio_emit(event: str, to: object) -> None:
        seen.append((event, to))

    socketio.emit("news", to="room")
    assert seen == [("news", ("room",))]


def test_an_application_observes_events_of_clients_that_are_there_already(socketio: SocketIO) -> None:
    seen = []
    socketio.on("say")(lambda text: text)
    app = socketio._binding().app
    assert app is not None
    with socketio.test_client(app) as client:

        @socketio.observe
        def socketio_event_after(event: str) -> None:
            seen.append(event)

        client.emit("say", "hello")
        assert seen == ["say"]


def test_an_observer_may_be_registered_before_there_is_an_application(record: Record) -> None:
    seen = []
    socketio = SocketIO()

    @socketio.observe
    def socketio_bus_state(up: bool) -> None:
        seen.append(up)

    socketio.init_app(Flask(__name__), message_queue="memory://")
    socketio._binding().plugins.bus_state(up=True, detail="")
    assert seen == [True]


def test_a_process_that_only_sends_can_be_observed(record: Record) -> None:
    seen = []
    socketio = SocketIO(message_queue="memory://")

    @socketio.observe
    def socketio_emit(event: str) -> None:
        seen.append(event)

    socketio.emit("news")
    assert seen == ["news"]
    socketio.close()


def test_the_bus_is_told_at_the_start_and_message_by_message(record: Record) -> None:
    url = "memory://observed-bus"
    told: list[tuple[Any, ...]] = []
    apps = [Flask(name) for name in ("first", "second")]
    servers = [SocketIO(app, message_queue=url) for app in apps]

    @servers[1].observe
    def socketio_bus_state(up: bool, detail: str) -> None:
        told.append((up, detail))

    @servers[1].observe
    def socketio_bus_message(method: str, node: str, size_bytes: int) -> None:
        told.append((method, node, size_bytes > 50))

    @servers[1].observe
    def socketio_delivered(event: str, to: object, args: object, recipients: int) -> None:
        told.append((event, to, args, recipients))

    try:
        for socketio, app in zip(servers, apps, strict=True):
            socketio.on_event("connect", lambda: None)
            socketio.test_client(app)
        sender = servers[0].health()
        assert sender is not None
        assert wait_until(lambda: len(told) == 1, timeout_s=10)
        servers[0].emit("news", to="nobody's room")
        servers[0].emit("news", {"a": 1})
        assert wait_until(lambda: len(told) == 5, timeout_s=10)
        message = ("emit", sender.node, True)
        delivered = [("news", ("nobody's room",), (), 0), ("news", None, ({"a": 1},), 1)]
        assert told == [(True, "connected"), message, delivered[0], message, delivered[1]]
    finally:
        for socketio in servers:
            socketio.close()


def test_what_is_observed_no_longer_costs_nothing(socketio: SocketIO) -> None:
    told: list[str] = []

    def socketio_emit(event: str) -> None:
        told.append(event)

    before = socketio._plugins_here().observes_emits
    for event in ("first", "second"):
        socketio.observe(socketio_emit)
        socketio.emit(event)
        socketio.unobserve(socketio_emit)
        socketio.emit("unobserved")
    socketio.unobserve(socketio_emit)
    assert told == ["first", "second"]
    assert socketio._plugins_here().observes_emits is before
    assert "socketio_emit" not in {plugin.name for plugin in socketio.plugins.plugins}


def test_an_observer_with_a_misspelt_name_is_told_the_nearest(socketio: SocketIO) -> None:
    def socketio_bus_gaps() -> None: ...

    with pytest.raises(InvalidHook, match="is no hook, did you mean 'socketio_bus_gap'"):
        socketio.observe(socketio_bus_gaps)


def test_an_observer_cannot_describe(socketio: SocketIO) -> None:
    def socketio_async_modes() -> None: ...

    with pytest.raises(InvalidHook, match="socketio_async_modes, which is no observer's: only a plugin can"):
        socketio.observe(socketio_async_modes)
