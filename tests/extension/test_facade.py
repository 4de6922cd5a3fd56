"""``socketio.server``: what applications use of python-socketio's ``Server``."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import socketio as protocol_library
from flask import Flask

from flask_socketio_core import SocketIO
from flask_socketio_core.app.facade import ServerFacade
from support.flask_apps import Connect, new_app, request


def public(thing: object) -> set[str]:
    return {name for name in dir(thing) if not name.startswith("_")}


def test_facade_has_the_servers_public_methods() -> None:
    missing = public(protocol_library.Server) - public(ServerFacade) - set(ServerFacade.LEFT_OUT)
    assert missing == set()


@pytest.mark.parametrize(
    "name",
    sorted(
        name
        for name in public(protocol_library.Server) & public(ServerFacade)
        if inspect.isfunction(getattr(protocol_library.Server, name))
    ),
)
def test_facade_methods_take_the_same_arguments(name: str) -> None:
    theirs = list(inspect.signature(getattr(protocol_library.Server, name)).parameters)
    ours = inspect.signature(getattr(ServerFacade, name)).parameters.values()
    assert [parameter.name for parameter in ours if parameter.kind is not parameter.KEYWORD_ONLY] == theirs


def test_reasons_are_those_of_python_socketio() -> None:
    theirs = protocol_library.Server.reason
    for name in public(theirs):
        assert getattr(SocketIO.reason, name) == getattr(ServerFacade.reason, name) == getattr(theirs, name)


@pytest.fixture
def sid(socketio: SocketIO, connect: Connect) -> str:
    socketio.on_event("sid", lambda: request.sid)
    found: str = connect(query_string="colour=red").emit("sid", callback=True)
    return found


def test_rooms(socketio: SocketIO, sid: str) -> None:
    server = socketio.server
    server.enter_room(sid, "room")
    server.enter_room(sid, 5)
    assert set(server.rooms(sid)) == {sid, "room", 5}
    server.leave_room(sid, 5)
    server.close_room("room")
    assert server.rooms(sid) == [sid]


def test_who_is_not_connected_is_nowhere(socketio: SocketIO) -> None:
    server = socketio.server
    assert server.rooms("nobody") == []
    assert server.get_environ("nobody") is None
    assert server.manager.get_rooms("nobody", "/") == []
    assert not server.manager.is_connected("nobody", "/")
    for look in (server.transport, server.get_session):
        with pytest.raises(KeyError, match="'nobody' is not connected to namespace '/'"):
            look("nobody")
    with pytest.raises(ValueError, match="'nobody' is not connected"):
        server.enter_room("nobody", "room")
    server.leave_room("nobody", "room")
    server.disconnect("nobody")


def test_environs(app: Flask, socketio: SocketIO, sid: str) -> None:
    server = socketio.server
    environ = server.get_environ(sid)
    assert environ is not None and environ["QUERY_STRING"] == "colour=red" and environ["flask.app"] is app
    (engine_sid,) = server.environ
    assert server.environ[engine_sid] is environ and len(server.environ) == 1
    with pytest.raises(KeyError):
        server.environ["nobody"]


def test_participants(socketio: SocketIO, sid: str) -> None:
    manager = socketio.server.manager
    socketio.server.enter_room(sid, "room")
    expected = [(sid, next(iter(socketio.server.environ)))]
    for room in ("room", None, sid, ["room"]):
        assert list(manager.get_participants("/", room)) == expected
    assert list(manager.get_participants("/", "empty")) == list(manager.get_participants("/x", None)) == []
    assert manager.get_namespaces() == ["/"] and manager.is_connected(sid, "/")


def test_session_of_python_socketio(socketio: SocketIO, sid: str) -> None:
    server = socketio.server
    assert server.get_session(sid) == {}
    server.save_session(sid, {"a": 1})
    with server.session(sid) as session:
        session["b"] = 2
    assert server.get_session(sid) == {"a": 1, "b": 2}


def test_transport_and_mode(socketio: SocketIO, sid: str) -> None:
    assert socketio.server.transport(sid) == "websocket"
    assert socketio.server.async_mode == socketio.async_mode


def test_load(socketio: SocketIO, sid: str) -> None:
    socketio.server.enter_room(sid, "room")
    load = socketio.load()
    assert (sum(load.connections.values()), load.clients, load.rooms) == (1, {"/": 1}, {"/": 1})


def test_sending(socketio: SocketIO, connect: Connect) -> None:
    client = connect()
    socketio.server.emit("event", (1, 2))
    socketio.server.send("text")
    assert [event["args"] for event in client.get_received()] == [[1, 2], "text"]


def test_background_task_can_be_joined(socketio: SocketIO) -> None:
    done: list[Any] = []
    for owner in (socketio, socketio.server):
        owner.start_background_task(lambda value, *, key: done.append((value, key)), 1, key=2).join()
        owner.sleep(0)
    assert done == [(1, 2), (1, 2)]


def test_requests_can_be_handed_over(app: Flask, socketio: SocketIO) -> None:
    outer = new_app("outer")
    outer.wsgi_app = socketio.server.handle_request  # type: ignore[method-assign]  # how Flask wants it
    assert outer.test_client().get("/any/path?EIO=4&transport=polling").text.startswith("0{")


def test_shutdown_disconnects_everybody(socketio: SocketIO, connect: Connect) -> None:
    seen: list[str] = []
    socketio.on_event("disconnect", lambda reason: seen.append(reason))
    client = connect()
    socketio.server.shutdown()
    assert seen == ["server disconnect"] and not client.is_connected()


def test_process_that_only_sends_has_no_clients_to_look_at() -> None:
    socketio = SocketIO(message_queue="memory://facade")
    for look in (lambda: socketio.server.rooms("sid"), lambda: socketio.server.environ, socketio.load):
        with pytest.raises(RuntimeError, match=r"this process only sends .* it has no clients to look at"):
            look()
