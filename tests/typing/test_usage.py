"""How users call us, for the type checker: a line that is wrong carries the error that the checker reports there.

An ignored error that is no longer reported is an error itself, so both halves are checked. What is said here is not
run, except that the module can be imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Flask
from typing_extensions import assert_type

from flask_socketio_core import (
    Namespace,
    SocketIO,
    SocketIOTestClient,
    call,
    close_room,
    disconnect,
    emit,
    join_room,
    leave_room,
    rooms,
    send,
)
from flask_socketio_core.contracts import Task
from flask_socketio_core.contracts.clients import CallAnswers, ClientCause
from flask_socketio_core.contracts.servers import Answers, Cause
from flask_socketio_core.contracts.settings import Setting, configured


def test_it_can_be_imported() -> None:
    assert callable(constructing)


def constructing(app: Flask) -> None:
    SocketIO(app)
    SocketIO(app, async_mode="threading", ping_interval=(25, 5), cors_allowed_origins=["https://example.org"])
    SocketIO(app, transports=["websocket"], cookie={"name": "io", "path": "/"}, message_queue="redis://")
    socketio = SocketIO(message_queue="redis://localhost")
    socketio.init_app(app, namespaces="*", async_handlers="ordered", serializer="msgpack")
    SocketIO(app, ping_intervall=5)  # type: ignore[call-arg]
    SocketIO(app, ping_interval="5", max_http_buffer_size=1e8, allow_upgrades="false", transports="websocket")
    SocketIO(app, ping_interval=b"5")  # type: ignore[arg-type]
    SocketIO(app, outbox_policy="ignore")  # type: ignore[arg-type]
    socketio.init_app(app, paht="/x")  # type: ignore[call-arg]


def handling(socketio: SocketIO) -> None:
    @socketio.on("connect")
    def connect(auth: Any) -> bool | None:
        return bool(auth == "secret")

    @socketio.on("say", namespace="/chat")
    def say(text: str) -> tuple[str, int]:
        return text, 1

    @socketio.event
    def by_name(value: int) -> int:
        return value

    @socketio.event(namespace="/chat")
    def by_name_elsewhere(value: int) -> int:
        return value

    @socketio.on_error()
    def on_error(error: Exception) -> str:
        return str(error)

    @socketio.on_error_default
    def on_any_error(error: Exception) -> None: ...

    @socketio.observe
    def socketio_bus_gap(duration_s: float, resumed: bool) -> int:
        return 1

    @socketio.servers.on_topic("count")
    def count(payload: object, node: str) -> int:
        return 1

    @socketio.on_server("version")
    def version(part: str) -> str:
        return part

    # Decorators leave the function's type alone.
    assert_type(version("core"), str)
    socketio.tell_servers("version", "core", b"\x00")
    assert_type(socketio.ask_servers("version", "core", timeout=2, node="id", include_self=False), Answers)
    assert_type(count({}, "node"), int)
    assert_type(socketio.servers.ask("count", timeout_s=1).missing.get("node"), Cause | None)
    assert_type(socketio_bus_gap(1.5, True), int)
    assert_type(say("text"), tuple[str, int])
    assert_type(by_name(1), int)
    assert_type(by_name_elsewhere(1), int)
    assert_type(on_error(ValueError()), str)
    by_name("1")  # type: ignore[arg-type]
    socketio.on_event("say", say, namespace="/chat")
    socketio.on_event("say", "say")  # type: ignore[arg-type]


def sending(socketio: SocketIO) -> None:
    socketio.emit("event")
    socketio.emit("event", {"a": b"1"}, to="room", skip_sid=["a", "b"], callback=print)
    socketio.emit("event", 1, 2, room=["a", "b"], include_self=False, ignore_queue=True, volatile=True)
    socketio.emit(
        "event", to="sid", exclude=["a", "b"], local=True, callback=print, timeout=5, on_timeout=print
    )
    socketio.to("a", ["b"]).exclude("c").local.volatile.emit("event", 1, callback=print, timeout=0.5)
    socketio.exclude("c").emit("event", exclude="d")  # type: ignore[call-arg]
    assert_type(socketio.call_all("event", 1, to="room", exclude=["a"], timeout=0.5), CallAnswers)
    assert_type(socketio.call_all("event", on_timeout="return").missing.get("sid"), ClientCause | None)
    assert_type(socketio.to("a").call_all("event").answers, Mapping[str, Any])
    socketio.call_all("event", callback=lambda found: found.complete)
    socketio.call_all("event", on_timeout="ignore")  # type: ignore[call-overload]
    socketio.send("text", to="room")
    socketio.move(to="room", exclude=["a"], enter="b", leave=["c", ("d", 1)], namespace="/chat", local=True)
    socketio.kick(to=None, reason="banned", close=True)
    socketio.kick(to=["a", "b"], exclude="c", reason=SocketIO.reason.EXPIRED, namespace="/chat")
    socketio.to("a").move(enter="b")
    socketio.exclude("a").kick(close=True)
    socketio.kick(user=42, namespace="*")
    socketio.revoke(user="42")
    for client in socketio.who(to="a", exclude=["b"], limit=5, after=None, timeout=1.5):
        assert_type(client.rooms, tuple[Any, ...])
    assert_type(socketio.to("a").who().next, str | None)
    assert_type(socketio.count(to="a", local=True) + 1, int)
    assert_type(socketio.to("a").count().missing.get("node"), str | None)
    assert_type(socketio.count_rooms(namespace="/a")["room"], int)
    socketio.send({"a": 1}, json=True)
    assert_type(socketio.call("event", 1, to="sid", timeout=5), Any)
    socketio.close_room("room", namespace="/chat")
    socketio.emit("event", rooom="room")  # type: ignore[arg-type]
    socketio.send("text", brodcast=True)  # type: ignore[arg-type]
    socketio.call("event", to="sid", time_out=5)  # type: ignore[arg-type]
    socketio.emit(5)  # type: ignore[arg-type]


def in_a_handler() -> None:
    emit("event", 1, broadcast=True, include_self=False)
    send("text", to=["a", "b"], namespace="/chat")
    call("event", timeout=None)
    join_room("room")
    leave_room("room", sid="sid")
    close_room("room")
    assert_type(rooms(), list[Any])
    disconnect(sid="sid", namespace="/chat")
    emit("event", brodcast=True)  # type: ignore[arg-type]
    emit("event", to="a", to_all=True)  # type: ignore[arg-type]


class Chat(Namespace):
    def on_connect(self, auth: Any) -> None:
        self.emit("welcome", to="room")
        assert_type(self.socketio, SocketIO)

    def on_say(self, text: str) -> list[str]:
        self.send(text, room="room", include_self=False)
        return [text]


def running(app: Flask, socketio: SocketIO) -> None:
    socketio.on_namespace(Chat("/chat"))
    socketio.on_namespace(Chat)  # type: ignore[arg-type]
    assert_type(socketio.start_background_task(print, "text", end=""), Task)
    socketio.sleep(0.1)
    assert_type(socketio.async_mode, str)
    assert_type(socketio.server.rooms("sid"), list[Any])
    assert_type(socketio.server.get_environ("sid"), dict[str, Any] | None)
    reason: str = SocketIO.reason.PING_TIMEOUT
    socketio.emit("event", reason)
    with socketio.server.session("sid") as session:
        session["key"] = 1
    socketio.run(app, host="0.0.0.0", port=5000, debug=True, certfile="cert.pem", backlog=5)
    socketio.run(app, port="5000")
    socketio.run(app, port=b"5000")  # type: ignore[arg-type]
    socketio.stop()


def in_tests(app: Flask, socketio: SocketIO) -> None:
    client = socketio.test_client(app, "/chat", auth={"token": 1}, flask_test_client=app.test_client())
    assert_type(client, SocketIOTestClient)
    client.emit("say", "text", callback=True, namespace="/chat")
    client.on("question", lambda value: value)

    @client.on("question")
    def answer(value: int) -> int:
        return value

    assert_type(answer(1), int)
    assert_type(client.wait_for("said", timeout=1)["args"], Any)
    assert_type(client.get_received("/chat"), list[dict[str, Any]])
    with client:
        pass


def settings_of_a_plugin(app: Flask) -> None:
    assert_type(configured(Setting("census_rate", float, 5.0, "a rate", above=0), app.config), float)
    store: Setting[str | None] = Setting("census_store", str, None, "a URL")
    assert_type(configured(store, app.config), "str | None")
    Setting("census_rate", float, 5.0, "a rate", most=9)  # type: ignore[call-arg]
    configured(store.name, app.config)  # type: ignore[arg-type]
