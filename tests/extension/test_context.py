"""``emit()``, ``join_room()`` and so on where no event is being handled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

import flask_socketio_core as library
from flask_socketio_core import SocketIO
from flask_socketio_core.errors import ContextError
from support.flask_apps import Connect, new_app, request

CALLS: dict[str, Callable[[], Any]] = {
    "emit": lambda: library.emit("event"),
    "send": lambda: library.send("text"),
    "call": lambda: library.call("event"),
    "join_room": lambda: library.join_room("room"),
    "leave_room": lambda: library.leave_room("room"),
    "close_room": lambda: library.close_room("room"),
    "rooms": library.rooms,
    "disconnect": library.disconnect,
}


@pytest.mark.parametrize("name", CALLS)
def test_without_an_application_the_alternative_is_named(name: str) -> None:
    with pytest.raises(
        ContextError, match=rf"{name}\(\) was called outside of a request.*use .*socketio\.\w+"
    ):
        CALLS[name]()


@pytest.mark.parametrize("name", CALLS)
def test_in_a_view_it_is_said_what_to_pass(app: Flask, name: str) -> None:
    with app.test_request_context("/"):
        with pytest.raises(
            ContextError, match=rf"{name}\(\) was called in a view.*or pass (sid|namespace|to)="
        ):
            CALLS[name]()


@pytest.mark.parametrize("name", CALLS)
def test_a_view_may_fall_back_as_with_flask_socketio(app: Flask, name: str) -> None:
    with app.test_request_context("/"), pytest.raises(AttributeError):
        CALLS[name]()


def test_in_a_view_of_an_application_without_us_the_application_is_missing() -> None:
    with new_app().test_request_context("/"):
        with pytest.raises(ContextError, match=r"to take the application from"):
            library.emit("event", namespace="/", to="room")


def test_namespace_alone_is_not_enough(app: Flask) -> None:
    with app.test_request_context("/"):
        with pytest.raises(ContextError, match=r"take the recipient from.*pass to= or broadcast=True"):
            library.emit("event", namespace="/")


def test_everything_works_in_a_view_with_namespace_and_target(
    app: Flask, socketio: SocketIO, connect: Connect
) -> None:
    client = connect()
    client.on("question", lambda value: value + 1)
    socketio.on_event("sid", lambda: request.sid)
    sid = client.emit("sid", callback=True)

    @app.get("/")
    def view() -> dict[str, Any]:
        library.join_room("room", sid=sid, namespace="/")
        found = [room for room in library.rooms(sid, namespace="/") if room != sid]
        library.emit("in", namespace="/", to="room")
        library.send("in", namespace="/", to="room")
        answer = library.call("question", 1, namespace="/", to=sid)
        library.leave_room("room", sid=sid, namespace="/")
        library.emit("left", namespace="/", to="room")
        library.join_room("room", sid=sid, namespace="/")
        library.close_room("room", namespace="/")
        library.emit("closed", namespace="/", to="room")
        library.emit("all", namespace="/", broadcast=True)
        library.disconnect(sid, namespace="/")
        return {"rooms": found, "answer": answer, "left": library.rooms(sid, namespace="/")}

    assert app.test_client().get("/").json == {"rooms": ["room"], "answer": 2, "left": []}
    assert not client.is_connected()
    assert [event["name"] for event in client._queue] == ["in", "message", "question", "all"]


def test_server_disconnect_runs_the_handler_before_it_returns(socketio: SocketIO, connect: Connect) -> None:
    order: list[str] = []
    socketio.on_event("disconnect", lambda reason: order.append(reason))

    @socketio.on("leave")
    def leave() -> None:
        library.disconnect()
        order.append("returned")

    connect().emit("leave")
    assert order == ["server disconnect", "returned"]
