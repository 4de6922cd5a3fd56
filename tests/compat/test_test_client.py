"""``socketio.test_client`` gives the same results with both libraries.

Each scene takes the library and returns what it saw, as plain values with session ids left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flask_socketio
import pytest
from flask import Flask, request, session

import flask_socketio_core

Scene = Callable[[Any], Any]
SCENES: list[Scene] = []


def scene(function: Scene) -> Scene:
    """Register a scene."""
    SCENES.append(function)
    return function


class Setup:
    """An application with its extension object and a journal."""

    def __init__(self, library: Any, **options: Any) -> None:
        self.library = library
        self.app = Flask(__name__)
        self.app.secret_key = "only for tests"
        self.socketio = library.SocketIO(self.app, async_mode="threading", **options)
        self.seen: list[Any] = []

    def client(self, **kwargs: Any) -> Any:
        """Make a test client."""
        return self.socketio.test_client(self.app, **kwargs)


@scene
def connect_and_disconnect(library: Any) -> Any:
    setup = Setup(library)
    setup.socketio.on("connect")(lambda auth: setup.seen.append(["connect", auth, request.namespace]))
    setup.socketio.on("disconnect")(lambda reason: setup.seen.append(["disconnect", reason]))
    client = setup.client(auth={"token": 1})
    states = [client.is_connected(), client.is_connected("/"), client.is_connected("/other")]
    client.disconnect()
    states.append(client.is_connected())
    with pytest.raises(RuntimeError):
        client.emit("event")
    with pytest.raises(RuntimeError):
        client.disconnect()
    client.connect()
    return [states, client.is_connected(), setup.seen]


@scene
def refusals(library: Any) -> Any:
    setup = Setup(library)

    @setup.socketio.on("connect")
    def connect(auth: Any) -> Any:
        if auth == "raise":
            raise library.ConnectionRefusedError("no")
        return auth

    return [setup.client(auth=auth).is_connected() for auth in (None, True, False, "raise")]


@scene
def events_and_return_values(library: Any) -> Any:
    setup = Setup(library)
    answers: dict[str, Any] = {
        "none": None,
        "text": "text",
        "list": [1, 2],
        "tuple": (1, "two"),
        "bytes": b"0x",
        "dict": {"a": [b"1"]},
    }
    setup.socketio.on("get")(answers.get)
    client = setup.client()
    found = [client.emit("get", name, callback=True) for name in answers]
    return [*found, client.emit("get", "text"), client.emit("nobody handles this"), client.get_received()]


@scene
def received_events(library: Any) -> Any:
    setup = Setup(library)

    @setup.socketio.on("go")
    def go(*args: Any) -> None:
        library.emit("nothing")
        library.emit("one", args[0])
        library.emit("several", (1, "two", b"three"))
        library.send("text")
        library.send({"a": list(args)}, json=True)
        library.emit("broadcast", broadcast=True)

    first, second = setup.client(), setup.client()
    first.emit("go", {"x": [1]}, b"bytes")
    return [first.get_received(), first.get_received(), second.get_received()]


@scene
def messages(library: Any) -> Any:
    setup = Setup(library)
    setup.socketio.on("message")(lambda text: library.send(["message", text]))
    setup.socketio.on("json")(lambda data: library.send(data, json=True, broadcast=True))
    client = setup.client()
    results = [client.send("text"), client.send({"a": 1}, json=True), client.send("text", callback=True)]
    return [results, client.get_received()]


@scene
def namespaces(library: Any) -> Any:
    setup = Setup(library)
    for namespace in ("/", "/test"):
        setup.socketio.on("echo", namespace=namespace)(
            lambda value: library.emit("echoed", [request.namespace, value])
        )
    setup.socketio.on("connect", namespace="/test")(lambda: setup.seen.append(request.namespace))
    client = setup.client()
    client.connect("/test")
    client.emit("echo", 1)
    client.emit("echo", 2, namespace="/test")
    received = [client.get_received("/test"), client.get_received()]
    client.disconnect("/test")
    other = setup.client(namespace="/test")
    states = [
        client.is_connected("/test"),
        client.is_connected(),
        other.is_connected("/test"),
        other.is_connected(),
    ]
    with pytest.raises(RuntimeError):
        client.get_received("/test")
    return [received, states, setup.seen]


@scene
def rooms(library: Any) -> Any:
    setup = Setup(library)

    @setup.socketio.on("join")
    def join(room: str) -> list[str]:
        library.join_room(room)
        return sorted(name for name in library.rooms() if name != request.sid)

    setup.socketio.on("leave")(lambda room: library.leave_room(room))
    setup.socketio.on("close")(lambda room: library.close_room(room))
    setup.socketio.on("say")(lambda room: library.emit("said", room, to=room, include_self=False))
    first, second, third = setup.client(), setup.client(), setup.client()
    joined = [client.emit("join", "room", callback=True) for client in (first, second)]
    joined.append(first.emit("join", "other", callback=True))
    first.emit("say", "room")
    second.emit("leave", "room")
    first.emit("say", "room")
    second.emit("join", "room")
    first.emit("close", "room")
    second.emit("say", "room")
    setup.socketio.emit("from outside", to="other")
    return [joined, [client.get_received() for client in (first, second, third)]]


@scene
def request_of_a_handler(library: Any) -> Any:
    setup = Setup(library)

    @setup.socketio.on("look")
    def look(*args: Any) -> dict[str, Any]:
        return {
            "args": dict(request.args),
            "header": request.headers["X-Test"],
            "event": [request.event["message"], list(request.event["args"])],
        }

    results = [
        setup.client(query_string=query, headers={"X-Test": "yes"}).emit("look", 1, callback=True)
        for query in ("a=1&b=2", "?a=3")
    ]
    with setup.app.test_client() as http:
        client = setup.client(query_string="a=4", headers={"X-Test": "no"}, flask_test_client=http)
        results.append(client.emit("look", callback=True))
    return results


def _session_scene(library: Any, **options: Any) -> Any:
    setup = Setup(library, **options)

    @setup.app.get("/set")
    def set_session() -> str:
        session["http"] = "set by http"
        return ""

    @setup.app.get("/get")
    def get_session() -> dict[str, Any]:
        return dict(session)

    @setup.socketio.on("set")
    def set_value(value: Any) -> None:
        session["socketio"] = value

    setup.socketio.on("get")(lambda: {key: session.get(key) for key in ("http", "socketio")})
    http = setup.app.test_client()
    http.get("/set")
    client = setup.client(flask_test_client=http)
    before = client.emit("get", callback=True)
    client.emit("set", "set by socketio")
    other = setup.client(flask_test_client=http)
    return [
        before,
        client.emit("get", callback=True),
        other.emit("get", callback=True),
        http.get("/get").json,
    ]


@scene
def managed_session(library: Any) -> Any:
    return _session_scene(library)


@scene
def session_of_flask(library: Any) -> Any:
    return _session_scene(library, manage_session=False)


@scene
def error_handlers(library: Any) -> Any:
    setup = Setup(library)
    setup.socketio.on_error_default(lambda error: ["default", str(error)])
    setup.socketio.on_error("/own")(lambda error: ["own", str(error)])

    def fail(text: str) -> None:
        raise ValueError(text)

    for namespace in ("/", "/own"):
        setup.socketio.on_event("fail", fail, namespace=namespace)
    client = setup.client()
    client.connect("/own")
    return [
        client.emit("fail", "one", callback=True),
        client.emit("fail", "two", callback=True, namespace="/own"),
    ]


@scene
def error_nobody_handles_is_raised(library: Any) -> Any:
    setup = Setup(library)

    @setup.socketio.on("fail")
    def fail() -> None:
        raise ValueError("on purpose")

    client = setup.client()
    with pytest.raises(ValueError, match="on purpose"):
        client.emit("fail")
    return client.is_connected()


@scene
def class_based_namespace(library: Any) -> Any:
    setup = Setup(library)

    class Room(library.Namespace):  # type: ignore[misc]  # its base is chosen at run time
        def on_connect(self, auth: Any) -> None:
            setup.seen.append(["connect", auth])

        def on_disconnect(self, reason: str) -> None:
            setup.seen.append(["disconnect", reason])

        def on_my_event(self, *args: Any) -> Any:
            self.emit("answer", list(args))
            self.send("message")
            return args

    setup.socketio.on_namespace(Room("/room"))
    client = setup.client(namespace="/room", auth={"a": 1})
    result = client.emit("my_event", 1, b"2", callback=True, namespace="/room")
    received = client.get_received("/room")
    client.disconnect("/room")
    return [result, received, setup.seen]


@scene
def server_disconnects(library: Any) -> Any:
    setup = Setup(library)
    setup.socketio.on("disconnect")(lambda reason: setup.seen.append(reason))
    setup.socketio.on("leave")(lambda: library.disconnect())
    client, other = setup.client(), setup.client()
    client.emit("leave")
    return [client.is_connected(), other.is_connected(), setup.seen]


@scene
def catch_all_handlers(library: Any) -> Any:
    setup = Setup(library, namespaces="*")
    setup.socketio.on("*")(lambda event, *args: ["any", event, *args])
    setup.socketio.on("other", namespace="*")(lambda value: ["anywhere", request.namespace, value])
    setup.socketio.on("known")(lambda value: ["known", value])
    client = setup.client()
    client.connect("/made-up")
    return [
        client.emit("known", 1, callback=True),
        client.emit("unknown", 2, callback=True),
        client.emit("other", 3, callback=True, namespace="/made-up"),
    ]


@scene
def emit_from_outside(library: Any) -> Any:
    setup = Setup(library)
    client = setup.client()
    setup.socketio.emit("event", {"a": 1})
    setup.socketio.emit("event", (1, 2), namespace="/")
    setup.socketio.send("text")
    setup.socketio.send({"a": 1}, json=True)

    @setup.app.get("/emit")
    def emit() -> str:
        setup.socketio.emit("from a view", 1)
        return ""

    setup.app.test_client().get("/emit")
    return client.get_received()


@pytest.mark.parametrize("play", [pytest.param(play, id=play.__name__) for play in SCENES])
def test_test_client_gives_the_same_results(play: Scene) -> None:
    assert play(flask_socketio_core) == play(flask_socketio)
