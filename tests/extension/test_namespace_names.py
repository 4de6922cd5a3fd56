"""A namespace without its leading slash is the one with it, wherever a namespace is named."""

from __future__ import annotations

from typing import Any

import pytest

import flask_socketio_core as library
from flask_socketio_core import Namespace, SocketIO
from flask_socketio_core.common.values import full_namespace
from support.flask_apps import MakeApp, request
from support.servers import wait_until


@pytest.mark.parametrize(
    ("given", "full"),
    [(None, "/"), ("", "/"), ("/", "/"), ("chat", "/chat"), ("/chat", "/chat"), ("a/b", "/a/b"), ("*", "*")],
)
def test_a_slash_is_put_before_a_name(given: str | None, full: str) -> None:
    assert full_namespace(given) == full


def test_what_is_no_text_is_refused_where_it_is_given() -> None:
    with pytest.raises(TypeError, match=r"a namespace must be text, such as '/chat', not int"):
        SocketIO().on("event", namespace=5)  # type: ignore[arg-type]


class Chat(Namespace):
    """Answers everything, from a class."""

    def on_event(self) -> str:
        self.emit("told")
        return request.namespace  # type: ignore[no-any-return]


def of_on(socketio: SocketIO) -> None:
    @socketio.on("event", namespace="chat")
    def event() -> str:
        library.emit("told")
        return request.namespace  # type: ignore[no-any-return]


def of_on_event(socketio: SocketIO) -> None:
    def handle() -> str:
        library.emit("told")
        return request.namespace  # type: ignore[no-any-return]

    socketio.on_event("event", handle, namespace="chat")


def of_event(socketio: SocketIO) -> None:
    @socketio.event(namespace="chat")
    def event() -> str:
        library.emit("told")
        return request.namespace  # type: ignore[no-any-return]


def of_on_error(socketio: SocketIO) -> None:
    @socketio.on_error("chat")
    def failed(error: Exception) -> str:
        library.emit("told")
        return request.namespace  # type: ignore[no-any-return]

    @socketio.on("event", namespace="/chat")
    def event() -> None:
        raise ValueError("for the error handler")


def of_class(socketio: SocketIO) -> None:
    socketio.on_namespace(Chat("chat"))


@pytest.mark.parametrize("register", [of_on, of_on_event, of_event, of_on_error, of_class])
@pytest.mark.parametrize("named", ["chat", "/chat"])
def test_handlers_are_those_of_the_full_name(make_app: MakeApp, register: Any, named: str) -> None:
    app, socketio = make_app()
    register(socketio)
    client = socketio.test_client(app, namespace=named)
    assert client.emit("event", callback=True, namespace=named) == "/chat"
    assert client.get_received(named) == [{"name": "told", "args": [], "namespace": "/chat"}]


@pytest.mark.parametrize("option", [["chat"], "chat", ("/chat",)])
def test_the_option_names_the_same(make_app: MakeApp, option: Any) -> None:
    app, socketio = make_app(namespaces=option)
    assert socketio.test_client(app, namespace="/chat").is_connected("chat")


def test_everything_that_takes_a_namespace_takes_it_without_the_slash(make_app: MakeApp) -> None:
    app, socketio = make_app(namespaces=["/chat"])
    client = socketio.test_client(app, namespace="/chat")
    client.on("question", lambda: "answer", namespace="chat")
    server = socketio.server
    space: dict[str, Any] = {"namespace": "chat"}
    ((sid, _),) = server.manager.get_participants("chat", None)
    with app.test_request_context("/"):
        library.join_room("room", sid, **space)
        assert library.rooms(sid, **space) == [sid, "room"]
        library.emit("event", 1, to="room", **space)
        library.send("text", to="room", **space)
        assert library.call("question", to=sid, **space) == "answer"
        library.leave_room("room", sid, **space)
        assert server.manager.get_rooms(sid, "chat") == [sid]
        server.enter_room(sid, "room", **space)
        library.close_room("room", **space)
    socketio.emit("event", 2, **space)
    socketio.send("text", **space)
    socketio.close_room("room", **space)
    server.emit("event", 3, **space)
    assert socketio.call("question", to=sid, **space) == server.call("question", to=sid, **space) == "answer"
    assert server.transport(sid, **space)
    with server.session(sid, **space) as kept:
        kept["name"] = "Ada"
    assert server.get_session(sid, **space) == {"name": "Ada"}
    assert (server.get_environ(sid, **space) or {})["flask.app"] is app
    assert server.manager.is_connected(sid, "chat")
    assert [event["args"] for event in client.get_received("chat") if event["name"] == "event"] == [
        [1],
        [2],
        [3],
    ]
    with app.test_request_context("/"):
        library.disconnect(sid, **space)
    assert not client.is_connected("chat")


def test_a_process_that_only_sends_and_one_of_python_socketio_name_the_same(make_app: MakeApp) -> None:
    url = "memory://namespace-names"
    app, socketio = make_app(message_queue=url, namespaces=["/chat"])
    client = socketio.test_client(app, namespace="/chat")
    cluster = socketio.binding_of(app).cluster
    assert cluster is not None and cluster._link.listener.wait(5)
    SocketIO(message_queue=url).emit("event", "ours", namespace="chat")
    assert client.wait_for("event", namespace="chat")["args"] == ["ours"]
    ((sid, _),) = socketio.server.manager.get_participants("/chat", None)
    theirs: dict[str, Any] = {"namespace": "chat", "host_id": "python-socketio"}
    for message in (
        {"method": "enter_room", "sid": sid, "room": "room", **theirs},
        {"method": "emit", "event": "event", "data": "theirs", "room": "room", **theirs},
        {"method": "disconnect", "sid": sid, **theirs},
    ):
        cluster._on_message(message)
    assert client.wait_for("event", namespace="chat")["args"] == ["theirs"]
    assert wait_until(lambda: not client.is_connected("chat"), timeout_s=5)
