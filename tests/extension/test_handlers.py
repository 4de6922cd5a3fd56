"""Which handler gets an event, and with which arguments."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any
from unittest.mock import MagicMock

import pytest

from flask_socketio_core import Namespace, SocketIO
from flask_socketio_core.app.handlers import Handlers, takes_argument
from support.flask_apps import Connect, MakeApp, request

PLACES = [("event", "/a"), ("*", "/a"), ("event", "*"), ("*", "*")]


class Everything(Namespace):
    def trigger_event(self, event: str, *args: Any) -> Any:
        return None


@pytest.mark.parametrize("first", range(len(PLACES)))
def test_more_specific_handlers_come_first(first: int) -> None:
    handlers = Handlers()
    for place in PLACES[first:]:
        handlers.add(*place, lambda: None)
    found = handlers.find("event", "/a")
    assert found is not None and (found.event, found.namespace) == PLACES[first]


def test_functions_come_before_classes_and_the_class_for_all_comes_last() -> None:
    handlers = Handlers()
    own, for_all = Everything("/a"), Everything("*")
    handlers.add_class(own)
    handlers.add_class(for_all)
    assert handlers.find("event", "/a") is None
    assert handlers.find_class("/a") is own
    assert handlers.find_class("/b") is for_all


@pytest.mark.parametrize("event", ["connect", "disconnect"])
def test_catch_all_events_do_not_hear_of_coming_and_going(event: str) -> None:
    handlers = Handlers()
    handlers.add("*", "/", lambda: None)
    handlers.add("*", "*", lambda: None)
    assert handlers.find(event, "/") is None


def test_catch_all_event_gets_the_name_first(socketio: SocketIO, connect: Connect) -> None:
    socketio.on_event("*", lambda *args: [args, request.event])
    answer = connect().emit("anything", 1, 2, callback=True)
    assert answer == [["anything", 1, 2], {"message": "*", "args": ["anything", 1, 2]}]


def test_catch_all_namespace_gets_only_the_arguments(make_app: MakeApp) -> None:
    app, socketio = make_app(namespaces="*")
    socketio.on_event("event", lambda *args: [args, request.namespace], namespace="*")
    client = socketio.test_client(app, "/made/up")
    assert client.emit("event", 1, namespace="/made/up", callback=True) == [[1], "/made/up"]


def test_namespace_without_handlers_is_refused(socketio: SocketIO, connect: Connect) -> None:
    socketio.on_event("event", lambda: None, namespace="*")  # handles, but does not open
    client = connect("/made/up")
    assert not client.is_connected("/made/up")
    assert client.refusals["/made/up"] == {"message": "Invalid namespace"}


def test_namespaces_option_opens_namespaces(make_app: MakeApp) -> None:
    app, socketio = make_app(namespaces=["/extra"])
    client = socketio.test_client(app, "/extra")
    client.connect("/")
    assert client.is_connected("/extra") and not client.is_connected("/")


def _with(value: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that passes a first argument of its own, and whose signature tells nothing."""

    def decorator(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return function(value, *args, **kwargs)

        return wrapper

    return decorator


def _plain(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args: function(*args)


def _takes_the_argument_away(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(argument: Any) -> Any:
        return function()

    return wrapper


class _Decorator:
    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)


class _Handlers:
    def __init__(self, seen: list[Any]) -> None:
        self.seen = seen

    def __call__(self, argument: Any) -> None:
        self.seen.append(argument)

    def with_argument(self, argument: Any) -> None:
        self.seen.append(argument)

    def without(self) -> None:
        self.seen.append("nothing")


FORMS: dict[str, Callable[[list[Any]], Callable[..., Any]]] = {
    "with": lambda seen: lambda argument: seen.append(argument),
    "without": lambda seen: lambda: seen.append("nothing"),
    "with a default": lambda seen: lambda argument="default": seen.append(argument),
    "with any": lambda seen: lambda *args: seen.append(args[0]),
    "with a partial": lambda seen: functools.partial(
        lambda prefix, argument: seen.append(argument), "prefix"
    ),
    "without, partial": lambda seen: functools.partial(lambda db: seen.append("nothing"), db="db"),
    "with an object": _Handlers,
    "with a bound method": lambda seen: _Handlers(seen).with_argument,
    "without, bound method": lambda seen: _Handlers(seen).without,
    "with, injected": lambda seen: _with("db")(lambda db, argument: seen.append(argument)),
    "without, injected": lambda seen: _with("db")(lambda db: seen.append("nothing")),
    "without, injected into a default": lambda seen: _with("db")(lambda db=None: seen.append("nothing")),
    "without, injected twice": lambda seen: _with("db")(
        _with("user")(lambda user, db: seen.append("nothing"))
    ),
    "with, decorated without wraps": lambda seen: _plain(lambda argument: seen.append(argument)),
    "without, decorated without wraps": lambda seen: _plain(lambda: seen.append("nothing")),
    "without, decorator is a class": lambda seen: _Decorator(lambda: seen.append("nothing")),
    "without, the decorator takes it": lambda seen: _takes_the_argument_away(lambda: seen.append("nothing")),
    "without, injected partial": lambda seen: functools.partial(
        _with("db")(lambda db: seen.append("nothing"))
    ),
}


@pytest.mark.parametrize("event", ["connect", "disconnect"])
@pytest.mark.parametrize("form", FORMS)
def test_handler_gets_auth_or_reason_if_it_takes_it(
    socketio: SocketIO, connect: Connect, form: str, event: str
) -> None:
    seen: list[Any] = []
    socketio.on_event(event, FORMS[form](seen))
    for _ in range(2):  # the second time it is known how it wants to be called
        client = connect(auth={"token": 1})
        assert client.is_connected()
        client.disconnect()
    argument = {"token": 1} if event == "connect" else "client disconnect"
    assert seen == 2 * ["nothing" if form.startswith("without") else argument]


def test_missing_auth_is_none_even_for_a_default(socketio: SocketIO, connect: Connect) -> None:
    seen: list[Any] = []
    socketio.on_event("connect", lambda auth="default": seen.append(auth))
    connect()
    connect(auth={})
    assert seen == [None, None]


def _takes_nothing() -> None:
    """Cannot be called with anything."""


def _type_error(*args: Any) -> None:
    raise TypeError("inside the handler")


def _wrong_call(*args: Any) -> None:
    _takes_nothing(1)  # type: ignore[call-arg]  # the mistake; its text is that of a refused argument


class _Failing(Namespace):
    body: Callable[..., None]

    def on_connect(self, auth: Any) -> None:
        type(self).body()


class _FailingWithoutAuth(Namespace):
    body: Callable[..., None]

    def on_connect(self) -> None:
        type(self).body()


@pytest.mark.parametrize("mistake", [_type_error, _wrong_call])
@pytest.mark.parametrize(
    "form", ["with", "without", "decorated", "injected", "with any", "class", "class without"]
)
def test_type_error_in_a_connect_handler_runs_it_once(
    socketio: SocketIO, connect: Connect, form: str, mistake: Callable[..., None]
) -> None:
    runs: list[str] = []

    def body(*args: Any) -> None:
        runs.append("ran")
        mistake()

    if form.startswith("class"):
        kind = _Failing if form == "class" else _FailingWithoutAuth
        socketio.on_namespace(type(kind.__name__, (kind,), {"body": body})())
    else:
        forms: dict[str, Callable[..., Any]] = {
            "with": lambda auth: body(),
            "without": lambda: body(),
            "decorated": _plain(lambda auth: body()),
            "injected": _with("db")(lambda db, auth: body()),
            "with any": body,
        }
        socketio.on_event("connect", forms[form])
    with pytest.raises(TypeError):
        connect()
    assert runs == ["ran"]


def _method_with(value: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def decorator(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def wrapper(self: Namespace, *args: Any) -> Any:
            return method(self, value, *args)

        return wrapper

    return decorator


def test_methods_may_be_decorated_as_functions_are(socketio: SocketIO, connect: Connect) -> None:
    seen: list[Any] = []

    class Decorated(Namespace):
        @_method_with("db")
        def on_connect(self, db: str) -> None:
            seen.append(db)

        @_method_with("db")
        def on_disconnect(self, db: str, reason: str) -> None:
            seen.append((db, reason))

    socketio.on_namespace(Decorated())
    for _ in range(2):
        connect(auth="token").disconnect()
    assert seen == 2 * ["db", ("db", "client disconnect")]


@pytest.mark.parametrize("takes_reason", [True, False])
@pytest.mark.parametrize("as_class", [True, False])
def test_disconnect_handler_gets_the_reason_if_it_takes_it(
    socketio: SocketIO, connect: Connect, takes_reason: bool, as_class: bool
) -> None:
    seen: list[str] = []

    class WithReason(Namespace):
        def on_disconnect(self, reason: str) -> None:
            seen.append(reason)

    class WithoutReason(Namespace):
        def on_disconnect(self) -> None:
            seen.append("nothing")

    if as_class:
        socketio.on_namespace(WithReason() if takes_reason else WithoutReason())
    elif takes_reason:
        socketio.on_event("disconnect", lambda reason: seen.append(reason))
    else:
        socketio.on_event("disconnect", lambda: seen.append("nothing"))
    connect().disconnect()
    assert seen == ["client disconnect" if takes_reason else "nothing"]


def test_signatures_that_cannot_be_seen_are_taken_to_fit() -> None:
    assert takes_argument(MagicMock())
    assert takes_argument(dict.__class__)
    assert takes_argument(lambda first, second: None)  # calling it says best what is wrong


def test_handler_that_cannot_be_called_is_refused(socketio: SocketIO) -> None:
    with pytest.raises(TypeError, match="the handler of event 'event' must be callable, not NoneType"):
        socketio.on_event("event", None)  # type: ignore[arg-type]  # the mistake


# classes


class Usual(Namespace):
    def on_echo(self, *args: Any) -> Any:
        return args

    def on_whoami(self) -> list[str]:
        return [request.sid, request.namespace, request.event["message"]]

    def on_enter(self, room: str) -> list[str]:
        self.enter_room(request.sid, room)
        return sorted(name for name in self.rooms(request.sid) if name != request.sid)

    def on_tell(self, room: str) -> None:
        self.emit("told", 1, to=room)
        self.send("a message", room=room)


def test_class_handles_events_by_method(socketio: SocketIO, connect: Connect) -> None:
    socketio.on_namespace(Usual("/class"))
    client = connect("/class")
    assert client.emit("echo", 1, b"2", namespace="/class", callback=True) == [1, b"2"]
    sid, namespace, event = client.emit("whoami", namespace="/class", callback=True)
    assert (namespace, event) == ("/class", "whoami")
    assert socketio.server.get_environ(sid, "/class") is not None


def test_class_acknowledges_an_event_without_a_method_with_nothing(
    socketio: SocketIO, connect: Connect
) -> None:
    socketio.on_namespace(Usual())
    assert connect().emit("unknown", callback=True) == []


def test_event_that_nobody_handles_is_not_acknowledged(connect: Connect) -> None:
    assert connect().emit("unknown", callback=True) is None


def test_class_methods_use_its_namespace(socketio: SocketIO, connect: Connect) -> None:
    socketio.on_namespace(Usual("/class"))
    client = connect("/class")
    assert client.emit("enter", "room", namespace="/class", callback=True) == ["room"]
    client.emit("tell", "room", namespace="/class")
    assert [event["name"] for event in client.get_received("/class")] == ["told", "message"]


def test_class_for_all_namespaces_acts_in_that_of_the_client(make_app: MakeApp) -> None:
    app, socketio = make_app(namespaces="*")
    socketio.on_namespace(Usual("*"))
    client = socketio.test_client(app, "/any")
    assert client.emit("echo", 1, namespace="/any", callback=True) == 1
    client.emit("enter", "room", namespace="/any")
    client.emit("tell", "room", namespace="/any")
    assert [event["name"] for event in client.get_received("/any")] == ["told", "message"]


def test_class_may_dispatch_by_itself_inside_the_context(socketio: SocketIO, connect: Connect) -> None:
    seen: list[Any] = []

    class Own(Namespace):
        def trigger_event(self, event: str, *args: Any) -> Any:
            seen.append((event, args[0] == request.sid, args[1:]))
            return None if event == "connect" else super().trigger_event(event, *args)

        def on_event(self, value: int) -> int:
            return value + 1

    socketio.on_namespace(Own())
    assert connect().emit("event", 1, callback=True) == 2
    (_, _, (environ, auth)), event = seen
    assert environ["PATH_INFO"] == "/socket.io/" and auth is None
    assert event == ("event", True, (1,))


def test_method_called_outside_of_an_event_runs_directly() -> None:
    assert Usual().trigger_event("echo", "sid", 1, 2) == (1, 2)
