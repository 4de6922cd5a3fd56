"""Clients that belong to users, and logins that end."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from flask import Flask, request, session
from flask_login import LoginManager, UserMixin, login_user

from flask_socketio_core import ConnectionRefusedError, SocketIO, emit, join_room, leave_room, rooms, user
from support.flask_apps import Connect

pytestmark = pytest.mark.timeout(30)

KEYS = {"ann": 1, "ben": 2}


@pytest.fixture(params=["plain", "coroutine"])
def loader(request: pytest.FixtureRequest, socketio: SocketIO) -> str:
    """Register a loader of either kind; a token is a name and, behind a colon, for how many seconds it is good."""
    kind: str = request.param

    def look_up(auth: Any) -> int | None:
        if not auth:
            return None
        name, _, good_s = auth["token"].partition(":")
        if name not in KEYS:
            raise ConnectionRefusedError("no such token", 401)
        if good_s:
            handled.expires_at = None if good_s == "never" else time.time() + float(good_s)
        return KEYS[name]

    if kind == "plain":
        socketio.user_loader(look_up)
    else:

        @socketio.user_loader
        async def look_up_later(auth: Any) -> int | None:
            await asyncio.sleep(0)
            return look_up(auth)

    return kind


handled: Any = request
"""A handler's request, which has more than a view's."""


@pytest.mark.usefixtures("loader")
class TestLoader:
    def test_the_user_is_known_to_all_that_follows(self, socketio: SocketIO, connect: Connect) -> None:
        seen = []
        socketio.before_connect()(lambda auth: seen.append(handled.client.user))
        socketio.on("connect")(lambda auth: seen.append(handled.client.user))
        socketio.on("who")(lambda: handled.client.user)
        ann = connect(auth={"token": "ann"})
        assert seen == ["1", "1"]
        assert ann.emit("who", callback=True) == "1"
        assert connect().emit("who", callback=True) == []

    def test_all_clients_of_a_user_are_reached_and_nobody_else(
        self, socketio: SocketIO, connect: Connect
    ) -> None:
        socketio.on("rooms")(lambda: rooms())
        tabs = [connect(auth={"token": "ann"}) for _ in range(2)]
        others = [connect(auth={"token": "ben"}), connect()]
        socketio.emit("note", "for ann", to=user(1))
        assert [len(client.get_received()) for client in (*tabs, *others)] == [1, 1, 0, 0]
        assert tabs[0].emit("rooms", callback=True)[1:] == [], "nobody looks for it there"

    def test_who_is_unknown_is_refused_with_what_the_loader_says(
        self, socketio: SocketIO, connect: Connect
    ) -> None:
        with pytest.raises(RuntimeError, match="no such token"):
            connect(auth={"token": "eve"}).get_received()

    def test_a_login_that_has_ended_already_is_refused_before_anything_is_done(
        self, socketio: SocketIO, connect: Connect
    ) -> None:
        joined = []
        socketio.on("connect")(lambda: joined.append(handled.client.user))
        with pytest.raises(RuntimeError, match="the login has expired"):
            connect(auth={"token": "ann:-1"}).get_received()
        assert joined == []

    def test_a_login_may_be_presented_anew(self, socketio: SocketIO, connect: Connect) -> None:
        socketio.on("until")(lambda: handled.client.expires_at)
        ann = connect(auth={"token": "ann:100"})
        first = ann.emit("until", callback=True)
        assert 0 < first - time.time() <= 100
        answer = ann.emit("reauth", {"token": "ann:200"}, callback=True)
        assert 100 < answer["expires_at"] - time.time() <= 200
        assert ann.emit("until", callback=True) == answer["expires_at"]
        for token, refusal in (
            ("ben", {"error": "the login is that of another user"}),
            ("eve", {"error": "no such token", "data": 401}),
            ("ann:-1", {"error": "the login has expired"}),
        ):
            assert ann.emit("reauth", {"token": token}, callback=True) == refusal
        assert ann.emit("until", callback=True) == answer["expires_at"], "what fails changes nothing"

    def test_a_login_may_have_no_end_any_more(self, socketio: SocketIO, connect: Connect) -> None:
        socketio.on("*")(lambda event, *args: "caught")
        ann = connect(auth={"token": "ann:100"})
        first = ann.emit("reauth", {"token": "ann"}, callback=True)["expires_at"]
        assert first > time.time(), (
            "a loader that says nothing changes nothing; a handler for everything has no part"
        )
        assert ann.emit("reauth", {"token": "ann:never"}, callback=True) == {"expires_at": None}

    def test_a_handler_of_the_applications_own_takes_the_place_of_ours(
        self, socketio: SocketIO, connect: Connect
    ) -> None:
        socketio.on("reauth")(lambda auth: ["mine", auth])
        assert connect(auth={"token": "ann"}).emit("reauth", 1, callback=True) == ["mine", 1]


def test_without_a_loader_nobody_answers_to_reauth(socketio: SocketIO, connect: Connect) -> None:
    socketio.on("connect")(lambda: None)
    assert connect().emit("reauth", {}, callback=True) is None


def test_a_handler_may_say_whose_client_it_is(socketio: SocketIO, connect: Connect) -> None:
    @socketio.on("log in")
    def log_in(whom: Any) -> Any:
        handled.client.user = whom
        return [socketio.count(to=user(name)) for name in (7, "bob")]

    client = connect()
    assert client.emit("log in", 7, callback=True) == [1, 0]
    assert client.emit("log in", "bob", callback=True) == [0, 1]
    assert client.emit("log in", None, callback=True) == [0, 0]


@pytest.mark.parametrize(
    ("name", "value", "error", "text"),
    [
        ("user", True, TypeError, "text or a whole number"),
        ("user", object(), TypeError, "not by object"),
        ("user", "", ValueError, "not empty"),
        ("user", "x" * 1001, ValueError, "max_name_length"),
        ("expires_at", "soon", TypeError, "seconds since the epoch, not of type str"),
        ("expires_at", 1.8e12, ValueError, "JavaScript counts milliseconds"),
        ("expires_at", float("nan"), ValueError, "no time"),
    ],
)
def test_what_cannot_be_is_refused(
    socketio: SocketIO, connect: Connect, name: str, value: Any, error: type[Exception], text: str
) -> None:
    @socketio.on("connect")
    def enter() -> None:
        with pytest.raises(error, match=text):
            setattr(handled.client, name, value)
        assert getattr(handled.client, name) is None

    assert connect().is_connected()


def test_nobody_gets_into_a_users_room_by_its_name(socketio: SocketIO, connect: Connect) -> None:
    @socketio.on("try")
    def attempt() -> None:
        with pytest.raises(ValueError, match="only the clients of that user are in it"):
            join_room(user(1))
        with pytest.raises(ValueError, match="cannot close room"):
            socketio.close_room(user(1))
        handled.client.user = 1
        leave_room(user(1))
        emit("still", to=user(1))

    client = connect()
    client.emit("try")
    assert [event["name"] for event in client.get_received()] == ["still"]


class Person(UserMixin):
    def __init__(self, key: Any) -> None:
        self.id = key


def test_flask_login_is_asked_where_an_application_has_it(app: Flask, socketio: SocketIO) -> None:
    manager = LoginManager(app)  # type: ignore[no-untyped-call]  # the library is not typed
    manager.user_loader(Person)  # type: ignore[no-untyped-call]

    @app.post("/login")
    def log_in() -> str:
        login_user(Person("42"))  # type: ignore[no-untyped-call]
        session["seen"] = True
        return ""

    socketio.on("who")(lambda: handled.client.user)
    browser = app.test_client()
    assert socketio.test_client(app, flask_test_client=browser).emit("who", callback=True) == []
    browser.post("/login")
    assert socketio.test_client(app, flask_test_client=browser).emit("who", callback=True) == "42"
    socketio.user_loader(lambda auth: None)
    assert socketio.test_client(app, flask_test_client=browser).emit("who", callback=True) == []


class Key:
    """As much as is needed of a primary key that is no text, such as a UUID."""

    def __str__(self) -> str:
        return "7f"


@pytest.mark.parametrize(
    ("found", "expected"),
    [(lambda key: Person(Key()), "7f"), (lambda key: 1 / 0, []), (lambda key: None, [])],
)
def test_what_flask_login_does_not_know_refuses_nobody(
    app: Flask, socketio: SocketIO, caplog: pytest.LogCaptureFixture, found: Any, expected: Any
) -> None:
    manager = LoginManager(app)  # type: ignore[no-untyped-call]  # the library is not typed
    manager.user_loader(found)  # type: ignore[no-untyped-call]
    app.post("/login")(lambda: str(login_user(Person(Key()))))  # type: ignore[no-untyped-call]
    socketio.on("who")(lambda: handled.client.user)
    browser = app.test_client()
    browser.post("/login")
    for _ in range(2):
        assert socketio.test_client(app, flask_test_client=browser).emit("who", callback=True) == expected


def test_what_is_named_as_flask_login_names_its_manager_is_left_alone(app: Flask, socketio: SocketIO) -> None:
    app.login_manager = object()  # type: ignore[attr-defined]  # of the application's own
    socketio.on("who")(lambda: handled.client.user)
    assert socketio.test_client(app).emit("who", callback=True) == []


def test_a_login_that_is_good_for_long_is_looked_at_now_and_then(
    socketio: SocketIO, connect: Connect
) -> None:
    seen = []

    @socketio.on("connect")
    def enter() -> None:
        client = handled.client
        client.expires_at = time.time() + 86_400
        seen.append(client._expiry.next_due() - client.connection.now_s())

    assert connect().is_connected()
    assert seen == [pytest.approx(300, abs=5)], "or the timer's wheel had a slot for each of them"
