"""What stands around handlers: plugins, and the application's own functions."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from flask import request

from flask_socketio_core import ConnectionRefusedError, EventRejected, Namespace, SocketBlueprint, SocketIO
from flask_socketio_core.hookspecs import hookimpl
from support.flask_apps import Connect

Proceed = Callable[..., Any]


def observe(socketio: SocketIO, name: str, function: Callable[..., Any]) -> None:
    function.__name__ = name
    socketio.observe(function)


# plugins


def test_socketio_around_event_sees_and_changes_arguments_and_answer(
    socketio: SocketIO, connect: Connect
) -> None:
    seen = []

    @socketio.observe
    def socketio_around_event(client: Any, event: str, args: tuple[Any, ...], proceed: Proceed) -> Any:
        seen.append((client.sid, event, args, request.sid))  # type: ignore[attr-defined]
        return {"answer": proceed((*args, "more"))}

    socketio.on_event("say", lambda *texts: list(texts))
    client = connect()
    assert client.emit("say", "hello", callback=True) == {"answer": ["hello", "more"]}
    (sid, event, args, context_sid) = seen[0]
    assert (event, args) == ("say", ("hello",))
    assert sid == context_sid


def test_of_several_the_last_registered_is_outermost_unless_it_asks_otherwise(
    socketio: SocketIO, connect: Connect
) -> None:
    order: list[str] = []

    def around(word: str) -> Callable[..., Any]:
        def socketio_around_event(proceed: Proceed) -> Any:
            order.append(word)
            return proceed()

        return socketio_around_event

    for word in ("first", "second"):
        socketio.observe(around(word))
    socketio._plugins_here().observe(
        type(
            "Innermost",
            (),
            {"socketio_around_event": staticmethod(hookimpl(trylast=True)(around("innermost")))},
        )()
    )
    socketio.on_event("say", lambda: order.append("handler"))
    connect().emit("say")
    assert order == ["second", "first", "innermost", "handler"]


def test_a_rejected_event_is_acknowledged_as_asked_and_no_error(
    socketio: SocketIO, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    errors: list[object] = []
    ran: list[object] = []

    @socketio.observe
    def socketio_around_event(event: str, proceed: Proceed) -> Any:
        if event == "quietly":
            raise EventRejected
        raise EventRejected(ack=("too fast", 5))

    @socketio.observe
    def socketio_event_error(error: BaseException) -> None:
        errors.append(type(error))

    socketio.on_error_default(ran.append)
    socketio.on_event("say", ran.append)
    socketio.on_event("quietly", ran.append)
    client = connect()
    assert client.emit("say", "x", callback=True) == ["too fast", 5]
    with caplog.at_level(logging.DEBUG, "flask_socketio_core"):
        client.emit("quietly", "x")
    assert ran == []
    assert errors == [EventRejected, EventRejected]
    assert caplog.text == ""


def test_what_a_plugin_raises_is_handled_as_if_the_handler_had(socketio: SocketIO, connect: Connect) -> None:
    @socketio.observe
    def socketio_around_event(proceed: Proceed) -> Any:
        proceed()
        raise ValueError("the plugin's")

    socketio.on_error_default(lambda error: f"handled {error}")
    socketio.on_event("say", lambda: "fine")
    assert connect().emit("say", callback=True) == "handled the plugin's"


def test_a_catch_all_and_a_class_are_surrounded_with_the_name_that_was_sent(
    socketio: SocketIO, connect: Connect
) -> None:
    seen = []

    @socketio.observe
    def socketio_around_event(event: str, args: tuple[Any, ...], proceed: Proceed) -> Any:
        seen.append((event, args))
        return proceed(("changed",))

    class Chat(Namespace):
        def on_say(self, text: str) -> str:
            return text

    socketio.on_event("*", lambda event, text: [event, text])
    socketio.on_namespace(Chat("/chat"))
    assert connect().emit("anything", 1, callback=True) == ["anything", "changed"]
    assert connect(namespace="/chat").emit("say", 2, callback=True, namespace="/chat") == "changed"
    assert seen == [("anything", (1,)), ("say", (2,))]


@pytest.mark.parametrize("kind", ["function", "class", "class without a method", "no handler"])
def test_socketio_around_connect_decides_whoever_handles_the_connect(
    socketio: SocketIO, connect: Connect, kind: str
) -> None:
    auths: list[Any] = []

    @socketio.observe
    def socketio_around_connect(auth: Any, proceed: Proceed) -> Any:
        if auth == {"user": "nobody"}:
            raise ConnectionRefusedError("no")
        return proceed({"user": "changed"})

    class WithMethod(Namespace):
        def on_connect(self, auth: Any) -> None:
            auths.append(auth)

    if kind == "function":
        socketio.on_event("connect", auths.append)
    elif kind == "class":
        socketio.on_namespace(WithMethod("/"))
    elif kind == "class without a method":
        socketio.on_namespace(Namespace("/"))
    refused, welcome = connect(auth={"user": "nobody"}), connect(auth={"user": "me"})
    assert (refused.is_connected(), welcome.is_connected()) == (False, True)
    assert auths == ([{"user": "changed"}] if kind in ("function", "class") else [])


def test_an_event_rejected_in_a_connect_handler_lets_nobody_in(socketio: SocketIO, connect: Connect) -> None:
    @socketio.on("connect")
    def on_connect() -> None:
        raise EventRejected(ack="welcome")

    assert not connect().is_connected()


def test_socketio_around_emit_changes_and_drops(socketio: SocketIO, connect: Connect) -> None:
    observed = []

    @socketio.observe
    def socketio_around_emit(emission: Any, proceed: Callable[..., None]) -> None:
        if emission.event != "secret":
            proceed(emission._replace(args=(*emission.args, emission.to)))

    @socketio.observe
    def socketio_emit(event: str, args: tuple[Any, ...]) -> None:
        observed.append((event, args))

    client = connect()
    socketio.emit("news", 1)
    socketio.emit("secret", 2)
    assert [(item["name"], item["args"]) for item in client.get_received()] == [("news", [1, None])]
    assert observed == [("news", (1, None))]


# the application's own


def test_before_event_answers_in_place_of_the_handler(socketio: SocketIO, connect: Connect) -> None:
    seen = []

    @socketio.before_event("chat.*")
    def muted(event: str, args: tuple[Any, ...]) -> Any:
        seen.append((event, args))
        return "muted" if args == ("bad",) else None

    socketio.on_event("chat.say", lambda text: text)
    socketio.on_event("other", lambda text: text)
    client = connect()
    assert [client.emit(*event, callback=True) for event in (("chat.say", "bad"), ("chat.say", "good"))] == [
        "muted",
        "good",
    ]
    assert client.emit("other", "bad", callback=True) == "bad"
    assert seen == [("chat.say", ("bad",)), ("chat.say", ("good",))]


def test_after_event_changes_the_answer_and_teardown_event_learns_of_errors(
    socketio: SocketIO, connect: Connect
) -> None:
    ends: list[tuple[str, str]] = []
    socketio.after_event()(lambda event, answer: [event, answer])
    socketio.teardown_event()(lambda event, error: ends.append((event, repr(error))))
    socketio.on_error_default(lambda error: "handled")

    @socketio.on("fail")
    def fail() -> None:
        raise ValueError("no")

    socketio.on_event("say", lambda: "fine")
    client = connect()
    assert client.emit("say", callback=True) == ["say", "fine"]
    assert client.emit("fail", callback=True) == "handled"
    assert ends == [("say", "None"), ("fail", "ValueError('no')")]


def test_what_teardown_event_raises_is_logged_and_changes_nothing(
    socketio: SocketIO, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    @socketio.teardown_event()
    def end(event: str, error: BaseException | None) -> None:
        raise RuntimeError("cannot end")

    socketio.on_event("say", lambda: "fine")
    assert connect().emit("say", callback=True) == "fine"
    assert "cannot end" in caplog.text


def test_before_connect_refuses_with_false_or_with_an_error(socketio: SocketIO, connect: Connect) -> None:
    @socketio.before_connect()
    def members_only(auth: Any) -> Any:
        if auth == {"user": "guest"}:
            raise ConnectionRefusedError("members only")
        return auth is not None

    found = [connect(auth=auth).is_connected() for auth in (None, {"user": "guest"}, {"user": "member"})]
    assert found == [False, False, True]


def test_a_decorator_without_its_parentheses_is_told_so(socketio: SocketIO) -> None:
    with pytest.raises(TypeError, match=r"write @before_event\(\), with parentheses"):
        socketio.before_event(lambda event, args: None)  # type: ignore[arg-type]


# blueprints


def test_a_blueprint_brings_handlers_and_what_stands_around_its_own_alone(
    socketio: SocketIO, connect: Connect
) -> None:
    chat = SocketBlueprint("/chat")
    seen = []
    chat.before_event()(lambda event, args: seen.append(event))
    chat.on("say")(lambda text: f"chat {text}")
    socketio.on("other", namespace="/chat")(lambda: "not the blueprint's")
    socketio.register_blueprint(chat)

    @chat.event
    def later() -> str:
        return "registered later"

    client = connect(namespace="/chat")
    answers = [
        client.emit(*event, callback=True, namespace="/chat")
        for event in (("say", "x"), ("other",), ("later",))
    ]
    assert answers == ["chat x", "not the blueprint's", "registered later"]
    assert seen == ["say", "later"]


def test_a_blueprints_class_and_error_handler_and_before_connect_are_of_its_namespace(
    socketio: SocketIO, connect: Connect
) -> None:
    admin = SocketBlueprint("/admin")
    admin.before_connect()(lambda auth: auth is not None)
    admin.on_error()(lambda error: f"handled {error}")

    class Admin(Namespace):
        def on_fail(self) -> None:
            raise ValueError("no")

    admin.on_namespace(Admin("/admin"))
    socketio.register_blueprint(admin)
    socketio.on_event("connect", lambda: None)
    assert connect().is_connected()
    assert not connect(namespace="/admin").is_connected("/admin")
    client = connect(namespace="/admin", auth={"token": 1})
    assert client.emit("fail", callback=True, namespace="/admin") == "handled no"


def test_a_blueprint_for_every_namespace_brings_what_stands_around_its_class(
    socketio: SocketIO, connect: Connect
) -> None:
    everywhere = SocketBlueprint("*")
    seen: list[Any] = []
    everywhere.before_connect()(lambda auth: auth != "stranger")
    everywhere.before_event()(lambda event, args: seen.append((event, args)))

    class Everywhere(Namespace):
        def on_say(self, text: str) -> str:
            return f"said {text}"

    everywhere.on_namespace(Everywhere("*"))
    socketio.register_blueprint(everywhere)
    socketio.on("other", namespace="/chat")(lambda: "not the blueprint's")
    assert not connect(namespace="/chat", auth="stranger").is_connected("/chat")
    client = connect(namespace="/chat")
    answers = [client.emit(*event, callback=True, namespace="/chat") for event in (("say", "x"), ("other",))]
    assert answers == ["said x", "not the blueprint's"]
    assert seen == [("say", ("x",))]


def test_handlers_are_wrapped_one_by_one(socketio: SocketIO, connect: Connect) -> None:
    blueprint = SocketBlueprint("/")
    blueprint.on("said")(lambda: "done")
    blueprint.after_event("said")(lambda event, answer: [answer, "by the blueprint"])
    socketio.register_blueprint(blueprint)
    left_alone = socketio.on("other")(lambda: "done")

    @socketio.on("connect")
    def enter() -> None: ...

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        return function if function in (left_alone, enter) else lambda *args: f"wrapped {function(*args)}"

    socketio.wrap_handlers(wrap)
    client = connect()
    assert client.emit("said", callback=True) == ["wrapped done", "by the blueprint"]
    assert client.emit("other", callback=True) == "done"
    with pytest.raises(TypeError, match="the handler of event 'said' must be callable, not str"):
        socketio.wrap_handlers(lambda function: "no function")  # type: ignore[arg-type, return-value]  # what is tried


def test_what_is_around_all_namespaces_stays_out_of_a_reserved_one(
    socketio: SocketIO, connect: Connect
) -> None:
    asked: list[str] = []
    socketio.reserve_namespace("plugin")
    socketio.user_loader(lambda auth: asked.append("loader"))
    socketio.before_connect()(lambda auth: asked.append("before_connect"))
    socketio.before_event()(lambda event, args: asked.append("before_event"))
    socketio.before_connect("/plugin")(lambda auth: asked.append("its own"))
    socketio.on("reauth", namespace="/plugin")(lambda: "the plugin's")
    client = connect(namespace="/plugin")
    assert client.emit("reauth", callback=True, namespace="/plugin") == "the plugin's"
    assert asked == ["its own"]


def test_a_blueprint_is_registered_once_with_each_object(socketio: SocketIO) -> None:
    blueprint = SocketBlueprint()
    socketio.register_blueprint(blueprint)
    SocketIO().register_blueprint(blueprint)
    with pytest.raises(ValueError, match="registered already"):
        socketio.register_blueprint(blueprint)
    with pytest.raises(ValueError, match="expected a SocketBlueprint, not str"):
        socketio.register_blueprint("chat")  # type: ignore[arg-type]
