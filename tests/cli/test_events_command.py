"""`flask socketio events` shows handlers as `flask routes` shows routes."""

from __future__ import annotations

from collections.abc import Callable

from click.testing import Result
from flask import Flask

from flask_socketio_core import Namespace, SocketIO

Invoke = Callable[..., Result]


class Chat(Namespace):
    def on_connect(self) -> None: ...
    def on_say(self, text: str) -> None: ...


def make_app() -> Flask:
    app = Flask("shop")
    socketio = SocketIO(app)

    @socketio.on("order")
    def order(item: str) -> None: ...

    @socketio.on("*", namespace="*")
    def anything(event: str, *args: object) -> None: ...

    socketio.on_namespace(Chat("/chat"))
    return app


def test_functions_classes_and_catch_alls_are_listed_by_namespace(invoke: Invoke) -> None:
    result = invoke(make_app, "events")
    assert result.exit_code == 0
    rows = [line.split()[:2] for line in result.output.splitlines()]
    assert rows[0] == ["Namespace", "Event"]
    assert rows[2:] == [["*", "*"], ["/", "order"], ["/chat", "connect"], ["/chat", "say"]]


def test_each_handler_is_shown_with_its_place(invoke: Invoke) -> None:
    said = next(line for line in invoke(make_app, "events").output.splitlines() if " say " in line)
    assert "Chat.on_say" in said
    assert "test_events_command.py:" in said


def test_without_handlers_it_says_so(invoke: Invoke) -> None:
    def bare() -> Flask:
        app = Flask("shop")
        SocketIO(app)
        return app

    assert invoke(bare, "events").output == "No event handlers are registered.\n"


def test_without_socketio_it_says_what_to_do(invoke: Invoke) -> None:
    result = invoke(lambda: Flask("shop"), "events")
    assert result.exit_code == 1
    assert (
        "'shop' has no SocketIO object; create one with SocketIO(app), or call its init_app(app)"
        in result.output
    )
