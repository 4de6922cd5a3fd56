"""One handler: its context, its errors, its observers. Every claim about contexts holds on both paths."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack
from contextvars import ContextVar
from typing import Any

import flask
import pytest
from flask import Flask, g, session, url_for
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.test import create_environ

from flask_socketio_core import Namespace, SocketIO, SocketIOTestClient
from flask_socketio_core.app.light_context import light_context_problem
from flask_socketio_core.app.request_context import Contexts, ManagedSession
from flask_socketio_core.hookspecs import hookimpl
from flask_socketio_core.selection import Plugins
from support.flask_apps import Connect, End, new_app, request
from support.servers import wait_until


@pytest.fixture(params=["light", "full"])
def path(request: pytest.FixtureRequest, app: Flask, socketio: SocketIO) -> str:
    """Take the light path or the slow one through Flask's public API."""
    dispatcher = socketio.binding_of(app).dispatcher
    assert dispatcher is not None and dispatcher.contexts.light
    dispatcher.contexts.light = request.param == "light"
    chosen: str = request.param
    return chosen


@pytest.fixture
def client(path: str, socketio: SocketIO, connect: Connect) -> SocketIOTestClient:
    """Connect a client whose connect handler has had the connection's first context."""
    socketio.on_event("connect", lambda: None)
    return connect(query_string="colour=red", headers={"X-Test": "yes", "Cookie": "taste=sweet"})


def test_the_installed_flask_allows_light_contexts() -> None:
    assert light_context_problem() is None


def test_request_is_that_of_the_connection(client: SocketIOTestClient, socketio: SocketIO) -> None:
    socketio.on_event(
        "look",
        lambda *args: [
            request.args["colour"],
            request.headers["X-Test"],
            request.cookies["taste"],
            request.path,
            request.method,
            type(request.routing_exception) is NotFound,
            request.url_rule,
            request.view_args,
            request.event,
            request.namespace,
            flask.current_app.name,
        ],
    )
    answer = client.emit("look", 1, "two", callback=True)
    event = {"message": "look", "args": [1, "two"]}
    expected = ["red", "yes", "sweet", "/socket.io/", "GET", True, None, None, event, "/", "app"]
    assert answer == expected


def test_routing_of_the_connection_is_kept(
    client: SocketIOTestClient, app: Flask, socketio: SocketIO
) -> None:
    app.add_url_rule("/<path:anything>", "catch_all", view_func=lambda anything: "", methods=["GET"])
    socketio.on_event("look", lambda: [request.endpoint, request.view_args])
    second = socketio.test_client(app)
    assert second.emit("look", callback=True) == ["catch_all", {"anything": "socket.io/"}]


@pytest.mark.parametrize("methods", [["GET"], ["POST"], None])
def test_what_routing_said_can_be_changed_and_raised_without_others_seeing_it(
    client: SocketIOTestClient, app: Flask, socketio: SocketIO, methods: list[str] | None
) -> None:
    if methods is not None:
        app.add_url_rule("/<path:rest>", "catch_all", view_func=lambda rest: "", methods=methods)
    expected = {"GET": type(None), "POST": MethodNotAllowed, None: NotFound}[methods[0] if methods else None]

    @socketio.on("spoil")
    def spoil() -> Any:
        error, found = request.routing_exception, dict(request.view_args or {})
        if request.view_args is not None:
            request.view_args["rest"] = "changed"
        spoilt = type(error) is not expected or getattr(error, "__traceback__", None) is not None
        try:
            if error is not None:
                raise error
        except (MethodNotAllowed, NotFound):
            pass  # its traceback has this frame, and all that is in it
        return [spoilt, found]

    second = socketio.test_client(app)
    answers = [second.emit("spoil", callback=True) for _ in range(3)]
    assert answers == [[False, {"rest": "socket.io/"} if methods == ["GET"] else {}]] * 3


def test_url_for_works_as_in_a_request(client: SocketIOTestClient, app: Flask, socketio: SocketIO) -> None:
    app.add_url_rule("/some/<page>", "some_page", view_func=lambda page: page)
    socketio.on_event(
        "look", lambda: [url_for("some_page", page="x"), url_for("some_page", page="y", _external=True)]
    )
    assert client.emit("look", callback=True) == ["/some/x", "http://localhost/some/y"]


def test_a_handler_sees_what_middleware_put_into_the_environ(app: Flask, socketio: SocketIO) -> None:
    class User:
        name = "ada"

    browser = app.test_client()
    browser.environ_base["auth.user"] = User()  # type: ignore[assignment]  # not only text in truth
    socketio.on_event("who", lambda: request.environ["auth.user"].name)
    assert socketio.test_client(app, flask_test_client=browser).emit("who", callback=True) == "ada"


def test_every_event_has_a_request_and_a_g_of_its_own(client: SocketIOTestClient, socketio: SocketIO) -> None:
    requests: list[Any] = []

    @socketio.on("remember")
    def remember(value: int) -> Any:
        before = [g.get("value"), getattr(request, "mine", None)]
        g.value = value
        request.mine = value
        requests.append(request._get_current_object())
        return before

    assert [client.emit("remember", value, callback=True) for value in (1, 2)] == [[None, None], [None, None]]
    assert requests[0] is not requests[1]


def test_teardown_functions_run_after_every_handler(
    client: SocketIOTestClient, app: Flask, socketio: SocketIO
) -> None:
    seen: list[Any] = []
    app.teardown_request(lambda error: seen.append(("request", error, flask.has_request_context())))
    app.teardown_appcontext(lambda error: seen.append(("app", error, flask.has_app_context())))
    failure = ValueError("on purpose")

    @socketio.on("fail")
    def fail() -> None:
        raise failure

    socketio.on_event("work", lambda: None)
    client.emit("work")
    assert seen == [("request", None, True), ("app", None, True)]
    seen.clear()
    with pytest.raises(ValueError, match="on purpose"):
        client.emit("fail")
    assert seen == [("request", failure, True), ("app", failure, True)]


def test_session_is_shared_by_the_events_of_a_connection(
    client: SocketIOTestClient, socketio: SocketIO
) -> None:
    def look(name: str) -> list[Any]:
        current = session._get_current_object()  # type: ignore[attr-defined]  # a LocalProxy
        return [session.get(name), isinstance(current, ManagedSession)]

    socketio.on_event("set", lambda name, value: session.update({name: value}))
    socketio.on_event("get", look)
    client.emit("set", "name", "value")
    assert client.emit("get", "name", callback=True) == ["value", True]


def test_copied_context_works_in_another_thread(client: SocketIOTestClient, socketio: SocketIO) -> None:
    @socketio.on("copy")
    def copy() -> Any:
        found: list[Any] = []

        @flask.copy_current_request_context
        def look() -> None:
            found.extend([request.args["colour"], session["name"]])

        session["name"] = "value"
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        return found

    assert client.emit("copy", callback=True) == ["red", "value"]


def test_copied_context_can_be_entered_again(client: SocketIOTestClient, socketio: SocketIO) -> None:
    @socketio.on("copy")
    def copy() -> Any:
        found: list[Any] = []

        @flask.copy_current_request_context
        def look() -> Any:
            return request.args["colour"]

        def look_twice() -> None:
            found.extend([look(), look(), flask.has_app_context()])

        thread = threading.Thread(target=look_twice)
        thread.start()
        thread.join()
        return found

    assert client.emit("copy", callback=True) == ["red", "red", False]


def test_session_interface_may_ask_for_a_url(end: End) -> None:
    seen: list[str] = []

    class Interface(SecureCookieSessionInterface):
        def open_session(self, app: Flask, request: flask.Request) -> SecureCookieSession | None:
            seen.append(url_for("page"))
            return super().open_session(app, request)

    app = end(new_app())
    app.add_url_rule("/page", "page")
    app.session_interface = Interface()
    socketio = SocketIO(app, async_mode="threading", manage_session=False)
    socketio.on_event("look", lambda: session.get("name"))
    client = socketio.test_client(app)
    for _ in range(2):
        client.emit("look")
    assert set(seen) == {"/page"}


def test_teardown_functions_run_when_the_session_cannot_be_read(end: End) -> None:
    class Lazy(SecureCookieSession):
        def keys(self) -> Any:
            raise OSError("the session store is away")

    app = end(new_app())
    app.session_interface = SecureCookieSessionInterface()
    app.session_interface.session_class = Lazy
    seen: list[Any] = []
    app.teardown_request(seen.append)
    socketio = SocketIO(app, async_mode="threading")
    socketio.on_event("look", lambda: None)
    client = socketio.test_client(app)
    with pytest.raises(OSError, match="store is away") as failure:
        client.emit("look")
    assert seen == [failure.value]
    assert not flask.has_app_context()


def test_signals_and_teardown_come_in_the_order_of_a_request(
    client: SocketIOTestClient, socketio: SocketIO, app: Flask
) -> None:
    seen: list[str] = []
    names = ("appcontext_pushed", "request_tearing_down", "appcontext_tearing_down", "appcontext_popped")
    receivers = {name: lambda *_, name=name, **__: seen.append(name) for name in names}
    app.teardown_request(lambda error: seen.append(f"teardown_request {error}"))
    app.teardown_appcontext(lambda error: seen.append(f"teardown_appcontext {error}"))
    socketio.on_event("look", lambda: seen.append("handler"))
    socketio.on_event("fail", lambda: 1 / 0)
    with ExitStack() as connected:
        for name, receiver in receivers.items():
            connected.enter_context(getattr(flask, name).connected_to(receiver, app))
        client.emit("look")
        with pytest.raises(ZeroDivisionError):
            client.emit("fail")
    ends = ["teardown_request {}", "request_tearing_down", "teardown_appcontext {}"]
    ends += ["appcontext_tearing_down", "appcontext_popped"]
    good, bad = ([end.format(error) for end in ends] for error in (None, "division by zero"))
    assert seen == ["appcontext_pushed", "handler", *good, "appcontext_pushed", *bad]


def test_files_that_a_handler_has_read_are_closed(client: SocketIOTestClient, socketio: SocketIO) -> None:
    closed: list[bool] = []

    class File:
        def close(self) -> None:
            closed.append(True)

    @socketio.on("look")
    def look() -> None:
        assert list(request.files) == []
        vars(request._get_current_object())["files"] = {"upload": File()}

    client.emit("look")
    assert closed == [True]


def test_events_of_one_connection_run_at_the_same_time(app: Flask, path: str) -> None:
    environ = create_environ("/socket.io/")
    contexts = Contexts(app, managed=True)
    contexts.light = path == "light"
    barrier, found = threading.Barrier(5, timeout=10), []

    def handle(number: int) -> None:
        with contexts.open(environ, {"sid": number}):
            g.number = number
            barrier.wait()
            found.append((getattr(request, "sid", None), g.number, session._get_current_object()))  # type: ignore[attr-defined]
            barrier.wait()

    threads = [threading.Thread(target=handle, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted((sid, number) for sid, number, _ in found) == [(number, number) for number in range(5)]
    assert len({id(shared) for *_, shared in found}) == 1


def test_application_with_contexts_of_its_own_keeps_them(end: End) -> None:
    class OwnApp(Flask):
        def request_context(self, environ: Any) -> Any:
            environ["seen"] = environ.get("seen", 0) + 1
            return super().request_context(environ)

    app = end(OwnApp("app"))
    socketio = SocketIO(app, async_mode="threading")
    socketio.on_event("connect", lambda: None)
    socketio.on_event("look", lambda: request.environ["seen"])
    client = socketio.test_client(app)
    assert [client.emit("look", callback=True) for _ in range(2)] == [2, 3]


def test_request_class_with_a_constructor_of_its_own_is_made_for_every_event(end: End) -> None:
    class NumberedRequest(flask.Request):
        made = 0

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            NumberedRequest.made += 1
            self.number = NumberedRequest.made

    app = end(new_app())
    app.request_class = NumberedRequest
    socketio = SocketIO(app, async_mode="threading")
    numbers: list[int] = []
    socketio.on_event("look", lambda: numbers.append(flask.request.number))  # type: ignore[attr-defined]  # see above
    client = socketio.test_client(app)
    for _ in range(3):
        client.emit("look")
    assert len(set(numbers)) == 3


def test_handler_sees_no_context_variables_of_others(client: SocketIOTestClient, socketio: SocketIO) -> None:
    variable: ContextVar[str] = ContextVar("variable", default="unset")

    @socketio.on("set")
    def set_it() -> str:
        before = variable.get()
        variable.set("left behind")
        return before

    variable.set("the test's")
    assert [client.emit("set", callback=True) for _ in range(2)] == ["unset", "unset"]


def test_waiting_connection_keeps_little(app: Flask) -> None:
    import tracemalloc

    contexts = Contexts(app, managed=True)
    environs = [create_environ("/socket.io/") for _ in range(201)]
    with contexts.open(environs.pop(), {}):
        pass
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for environ in environs:
            for _ in range(2):
                with contexts.open(environ, {"sid": "sid"}):
                    pass
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / len(environs) < 1500  # bytes


# errors


def test_unhandled_error_is_logged_with_event_handler_and_traceback(
    app: Flask, socketio: SocketIO, caplog: pytest.LogCaptureFixture
) -> None:
    @socketio.on("fail")
    def failing_handler() -> None:
        raise ValueError("on purpose")

    connection = _Client()
    replies: list[object] = []
    dispatcher = socketio.binding_of(app).dispatcher
    assert dispatcher is not None
    with caplog.at_level(logging.ERROR):
        dispatcher.on_event(connection, "fail", (), replies.append)
    assert replies == [None]  # nothing to acknowledge
    (record,) = caplog.records
    for part in (
        "event 'fail'",
        "failing_handler",
        "client sid",
        "namespace '/'",
        "ValueError('on purpose')",
    ):
        assert part in record.getMessage()
    assert record.exc_info is not None


class Timeout(BaseException):
    """As those of eventlet and gevent are."""


def test_a_time_out_is_logged_with_its_handler_as_well(
    app: Flask, socketio: SocketIO, caplog: pytest.LogCaptureFixture
) -> None:
    @socketio.on("wait")
    def waiting_handler() -> None:
        raise Timeout("5 seconds")

    dispatcher = socketio.binding_of(app).dispatcher
    assert dispatcher is not None
    replies: list[object] = []
    dispatcher.on_event(_Client(), "wait", (), replies.append)
    assert replies == [None]
    (record,) = caplog.records
    for part in ("event 'wait'", "waiting_handler", "client sid", "Timeout('5 seconds')"):
        assert part in record.getMessage()


def test_error_handlers_get_time_outs_as_well(socketio: SocketIO, connect: Connect) -> None:
    @socketio.on("wait")
    def wait() -> None:
        raise Timeout("5 seconds")

    seen: list[str] = []

    @socketio.observe
    def socketio_event_error(error: BaseException) -> None:
        seen.append(str(error))

    socketio.on_error_default(lambda error: f"{type(error).__name__} {error}")
    assert connect().emit("wait", callback=True) == "Timeout 5 seconds"
    assert seen == ["5 seconds"]


def test_failing_connect_handler_refuses_the_client(
    app: Flask, socketio: SocketIO, caplog: pytest.LogCaptureFixture
) -> None:
    socketio.on_event("connect", lambda auth: auth["missing"])
    dispatcher = socketio.binding_of(app).dispatcher
    assert dispatcher is not None
    replies: list[object] = []
    dispatcher.on_connect(_Client(), {}, replies.append)
    assert replies == [False]
    assert "handler of event 'connect'" in caplog.text


class _Client:
    """As much of the engine's client as the dispatcher needs."""

    sid = "sid"
    namespace = "/"
    engine_sid = "engine"
    connected_at = 0.0
    app_data: Any = None
    user: Any = None
    expires_at: float | None = None
    recovered = False
    missed = 0

    def __init__(self) -> None:
        self.data: dict[str, Any] = {}
        self.environ = create_environ("/socket.io/")


class WithHook(Namespace):
    def on_fail(self, text: str) -> None:
        raise ValueError(text)

    def error(self, error: Exception) -> list[str]:
        return ["class", str(error), request.namespace]


def test_error_handler_of_the_namespace_answers(socketio: SocketIO, connect: Connect) -> None:
    @socketio.on("fail")
    @socketio.on("fail", namespace="/other")
    def fail() -> None:
        raise ValueError("on purpose")

    socketio.on_error()(lambda error: ["own", str(error), request.event["message"]])
    socketio.on_error_default(lambda error: ["default", str(error), request.namespace])
    client = connect()
    client.connect("/other")
    assert client.emit("fail", callback=True) == ["own", "on purpose", "fail"]
    assert client.emit("fail", namespace="/other", callback=True) == ["default", "on purpose", "/other"]


def test_error_method_of_a_class_comes_after_the_error_handlers(socketio: SocketIO, connect: Connect) -> None:
    socketio.on_namespace(WithHook("/class"))
    client = connect("/class")
    assert client.emit("fail", "text", namespace="/class", callback=True) == ["class", "text", "/class"]
    socketio.on_error_default(lambda error: "default")
    assert client.emit("fail", "text", namespace="/class", callback=True) == "default"


def test_refusal_by_a_class_with_an_error_method_is_a_refusal(socketio: SocketIO, connect: Connect) -> None:
    from flask_socketio_core import ConnectionRefusedError

    class Refusing(WithHook):
        def on_connect(self) -> None:
            raise ConnectionRefusedError("not you", {"code": 7})

    socketio.on_namespace(Refusing())
    client = connect()
    assert not client.is_connected()
    assert client.refusals["/"] == {"message": "not you", "data": {"code": 7}}


def test_error_handler_may_fail_itself(socketio: SocketIO, connect: Connect) -> None:
    @socketio.on("fail")
    def fail() -> None:
        raise ValueError("first")

    @socketio.on_error()
    def failing(error: Exception) -> None:
        raise KeyError("second")

    client = connect()
    with pytest.raises(KeyError, match="second"):
        client.emit("fail")


@pytest.mark.parametrize(
    ("returned", "acknowledged"),
    [(None, []), ((), []), ((1, 2), [1, 2]), ([1, 2], [1, 2]), (0, 0), (False, False), (("x",), "x")],
)
def test_what_a_handler_returns_is_acknowledged(
    socketio: SocketIO, connect: Connect, returned: Any, acknowledged: Any
) -> None:
    socketio.on_event("event", lambda: returned)
    assert connect().emit("event", callback=True) == acknowledged


# observers


class Observer:
    """A plugin that writes down what it observes."""

    __name__ = "observer"

    def __init__(self) -> None:
        self.seen: list[tuple[Any, ...]] = []

    @hookimpl
    def socketio_connected(self, namespace: str, environ: dict[str, Any]) -> None:
        self.seen.append(("connected", namespace, environ["PATH_INFO"]))

    @hookimpl
    def socketio_disconnected(self, namespace: str, reason: str) -> None:
        self.seen.append(("disconnected", namespace, reason))

    @hookimpl
    def socketio_event_before(self, event: str, args: tuple[Any, ...]) -> None:
        self.seen.append(("before", event, args, request.event["message"]))

    @hookimpl
    def socketio_event_after(self, event: str, duration_s: float) -> None:
        self.seen.append(("after", event, duration_s >= 0))

    @hookimpl
    def socketio_event_error(self, event: str, error: BaseException) -> None:
        self.seen.append(("error", event, str(error)))

    @hookimpl
    def socketio_emit(self, event: str, namespace: str, to: Any, args: tuple[Any, ...]) -> None:
        self.seen.append(("emit", event, namespace, to, args))


@pytest.fixture
def observed(end: End) -> tuple[Callable[[], SocketIOTestClient], SocketIO, Observer]:
    observer, app = Observer(), end(new_app())
    socketio = SocketIO(async_mode="threading")
    socketio._plugins = Plugins(extra=[observer], socketio=socketio)
    socketio.init_app(app)
    return lambda: socketio.test_client(app), socketio, observer


def test_plugins_observe_a_clients_life(
    observed: tuple[Callable[[], SocketIOTestClient], SocketIO, Observer],
) -> None:
    connect, socketio, observer = observed
    socketio.on_event("work", lambda value: socketio.emit("done", value, to="room"))
    client = connect()
    client.emit("work", 5)
    client.disconnect()
    assert observer.seen == [
        ("connected", "/", "/socket.io/"),
        ("before", "work", (5,), "work"),
        ("emit", "done", "/", ("room",), (5,)),
        ("after", "work", True),
        ("disconnected", "/", "client disconnect"),
    ]


@pytest.mark.parametrize("as_class", [True, False])
def test_plugins_observe_errors_before_error_handlers(
    observed: tuple[Callable[[], SocketIOTestClient], SocketIO, Observer], as_class: bool
) -> None:
    connect, socketio, observer = observed
    if as_class:
        socketio.on_namespace(WithHook())
    else:

        @socketio.on("fail")
        def fail(text: str) -> None:
            raise ValueError(text)

    socketio.on_error_default(lambda error: observer.seen.append(("handled",)))
    connect().emit("fail", "text")
    assert observer.seen[1:] == [
        ("before", "fail", ("text",), "fail"),
        ("error", "fail", "text"),
        ("handled",),
    ]


def test_real_workers_log_and_go_on(app: Flask, socketio: SocketIO, caplog: pytest.LogCaptureFixture) -> None:
    dispatcher = socketio.binding_of(app).dispatcher
    assert dispatcher is not None

    def fail(*args: Any) -> None:
        raise ValueError("on purpose")

    dispatcher.acknowledger(fail)(1)
    assert wait_until(lambda: "callback" in caplog.text and "fail" in caplog.text, timeout_s=15)
