"""Sessions: one of the connection's own, or Flask's."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask, session
from flask.sessions import SessionInterface, SessionMixin

from flask_socketio_core import SocketIO
from support.flask_apps import MakeApp


class _Stored(dict[str, Any], SessionMixin):
    modified = False

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, value)
        self.modified = True


class ServerSide(SessionInterface):
    """One session for everybody, kept here."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.saved = 0

    def open_session(self, app: Flask, request: Any) -> _Stored:
        return _Stored(self.values)

    def save_session(self, app: Flask, session: SessionMixin, response: Any) -> None:
        self.values = dict(session)
        self.saved += 1


def add_handlers(app: Flask, socketio: SocketIO) -> None:
    @app.get("/set/<value>")
    def set_value(value: str) -> str:
        session["key"] = value
        return ""

    app.add_url_rule("/get", view_func=lambda: str(session.get("key")), endpoint="get")
    for namespace in ("/", "/other"):
        socketio.on_event("set", lambda value: session.__setitem__("key", value), namespace)
        socketio.on_event("get", lambda: session.get("key"), namespace)


def test_managed_session_begins_as_a_copy_and_goes_its_own_way(make_app: MakeApp) -> None:
    app, socketio = make_app()
    add_handlers(app, socketio)
    browser = app.test_client()
    browser.get("/set/http")
    client = socketio.test_client(app, flask_test_client=browser)
    assert client.emit("get", callback=True) == "http"
    client.emit("set", "socket")
    assert client.emit("get", callback=True) == "socket"
    assert browser.get("/get").text == "http"
    assert socketio.server.environ[client.eio_sid]["saved_session"]["key"] == "socket"


def test_managed_session_is_shared_by_the_namespaces_of_a_connection(make_app: MakeApp) -> None:
    app, socketio = make_app()
    add_handlers(app, socketio)
    client = socketio.test_client(app)
    client.connect("/other")
    client.emit("set", "value")
    assert client.emit("get", namespace="/other", callback=True) == "value"
    assert socketio.test_client(app).emit("get", callback=True) == []


def test_cookie_session_left_to_flask_stays_as_it_was_at_the_connection(make_app: MakeApp) -> None:
    app, socketio = make_app(manage_session=False)
    add_handlers(app, socketio)
    browser = app.test_client()
    browser.get("/set/http")
    client = socketio.test_client(app, flask_test_client=browser)
    client.emit("set", "socket")
    assert client.emit("get", callback=True) == "http"


def test_server_side_session_left_to_flask_is_shared_with_views(make_app: MakeApp) -> None:
    app, socketio = make_app(manage_session=False)
    app.session_interface = interface = ServerSide()
    add_handlers(app, socketio)
    client, browser = socketio.test_client(app), app.test_client()
    client.emit("set", "socket")
    assert browser.get("/get").text == "socket"
    browser.get("/set/http")
    assert client.emit("get", callback=True) == "http"
    saved = interface.saved
    client.emit("get")  # it changed nothing
    assert interface.saved == saved


def test_server_side_session_left_to_flask_is_saved_when_an_error_was_handled(make_app: MakeApp) -> None:
    app, socketio = make_app(manage_session=False)
    app.session_interface = interface = ServerSide()
    socketio.on_error_default(lambda error: None)

    @socketio.on("fail")
    def fail() -> None:
        session["key"] = "before"
        raise ValueError

    socketio.test_client(app).emit("fail")
    assert interface.values == {"key": "before"}


def test_option_can_be_read(make_app: MakeApp) -> None:
    assert SocketIO().manage_session and not SocketIO(manage_session=False).manage_session
    assert not make_app(manage_session=False)[1].manage_session


@pytest.mark.parametrize("managed", [True, False])
def test_session_has_what_flask_gives_sessions(make_app: MakeApp, managed: bool) -> None:
    app, socketio = make_app(manage_session=managed)

    @socketio.on("look")
    def look() -> list[bool]:
        session.permanent = True
        return [session.permanent, session.accessed, session.modified]

    assert socketio.test_client(app).emit("look", callback=True) == [True, True, True]
