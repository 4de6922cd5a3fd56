"""The test client: what Flask-SocketIO's does, and what that one cannot do."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, session

import flask_socketio_core as library
from flask_socketio_core import SocketIO, SocketIOTestClient
from flask_socketio_core.errors import NotInitialised
from support.flask_apps import Connect, End, MakeApp, new_app, request


@pytest.fixture
def echo(socketio: SocketIO) -> None:
    socketio.on_event("echo", lambda *args: library.emit("echoed", *args))
    socketio.on_event("echo", lambda *args: library.emit("echoed", *args), namespace="/other")


@pytest.mark.usefixtures("echo")
def test_emit_returns_when_the_handler_has_run(connect: Connect) -> None:
    client = connect()
    client.emit("echo", {"a": b"bytes"}, "text")
    assert client.get_received() == [{"name": "echoed", "args": [{"a": b"bytes"}, "text"], "namespace": "/"}]
    assert client.get_received() == []


def test_handlers_run_in_the_tests_own_thread(socketio: SocketIO, connect: Connect) -> None:
    socketio.on_event("thread", threading.get_ident)
    assert connect().emit("thread", callback=True) == threading.get_ident()


def test_handlers_do_not_see_the_tests_application_context(
    app: Flask, socketio: SocketIO, connect: Connect
) -> None:
    from flask import g

    socketio.on_event("look", lambda: g.get("left_behind"))
    with app.app_context():
        g.left_behind = "by the test"
        assert connect().emit("look", callback=True) == []


def test_what_a_handler_raises_is_raised_in_the_test(socketio: SocketIO, connect: Connect) -> None:
    @socketio.on("fail")
    def fail() -> None:
        raise LookupError("on purpose")

    client = connect()
    with pytest.raises(LookupError, match="on purpose"):
        client.emit("fail")
    assert client.is_connected()


def test_failing_connect_handler_raises_in_the_constructor(socketio: SocketIO, connect: Connect) -> None:
    socketio.on_event("connect", lambda auth: auth["missing"])
    with pytest.raises(KeyError, match="missing"):
        connect(auth={"token": 1})


@pytest.mark.parametrize(
    ("returned", "answer"), [(None, []), (1, 1), ((1, 2), [1, 2]), ({"a": b"b"}, {"a": b"b"})]
)
def test_acknowledgement_is_returned(
    socketio: SocketIO, connect: Connect, returned: Any, answer: Any
) -> None:
    socketio.on_event("event", lambda: returned)
    client = connect()
    assert client.emit("event", callback=True) == answer
    assert client.emit("event") is None


def test_messages(socketio: SocketIO, connect: Connect) -> None:
    socketio.on_event("message", lambda data: library.send(data))
    socketio.on_event("json", lambda data: library.send(data, json=True))
    client = connect()
    client.send("text")
    client.send({"a": 1}, json=True)
    assert [(event["name"], event["args"]) for event in client.get_received()] == [
        ("message", "text"),
        ("json", {"a": 1}),
    ]


def test_headers_query_string_auth_and_cookies_arrive(socketio: SocketIO, app: Flask) -> None:
    seen: list[Any] = []

    @socketio.on("connect")
    def connected(auth: Any) -> None:
        seen.append([auth, request.headers["X-Test"], dict(request.args), session.get("name")])

    @app.get("/login")
    def login() -> str:
        session["name"] = "me"
        return ""

    browser = app.test_client()
    browser.get("/login")
    socketio.test_client(
        app, auth=[1], headers={"X-Test": "yes"}, query_string="?a=1&b=2", flask_test_client=browser
    )
    assert seen == [[[1], "yes", {"a": "1", "b": "2"}, "me"]]


@pytest.mark.usefixtures("echo")
def test_several_namespaces_share_a_connection(connect: Connect) -> None:
    client = connect()
    engine_sid = client.eio_sid
    client.connect("/other")
    assert client.is_connected() and client.is_connected("/other") and client.eio_sid == engine_sid
    client.emit("echo", 1)
    client.emit("echo", 2, namespace="/other")
    assert [event["args"] for event in client.get_received("/other")] == [[2]]
    assert [event["args"] for event in client.get_received()] == [[1]]


def test_namespace_may_be_the_constructors(connect: Connect, socketio: SocketIO) -> None:
    socketio.on_event("event", lambda: None, namespace="/other")
    client = connect("/other")
    assert client.is_connected("/other") and not client.is_connected()


@pytest.mark.parametrize(
    "use",
    [
        lambda client: client.emit("event"),
        lambda client: client.send("text"),
        lambda client: client.get_received(),
        lambda client: client.disconnect(),
    ],
)
def test_refused_client_says_that_it_is_not_connected_and_why(
    socketio: SocketIO, connect: Connect, use: Any
) -> None:
    def refuse() -> None:
        raise library.ConnectionRefusedError("not you")

    socketio.on_event("connect", refuse)
    client = connect()
    assert not client.is_connected()
    with pytest.raises(
        RuntimeError, match=r"not connected to namespace '/': it was refused with .*'not you'"
    ):
        use(client)


def test_refused_client_may_try_again(socketio: SocketIO, connect: Connect) -> None:
    socketio.on_event("connect", lambda auth: auth == "secret")
    client = connect(auth="wrong")
    client.connect(auth="secret")
    assert client.is_connected() and client.refusals == {}


def test_server_may_disconnect_the_client(socketio: SocketIO, connect: Connect) -> None:
    socketio.on_event("go", lambda: library.disconnect())
    client = connect()
    client.emit("go")
    assert not client.is_connected()


@pytest.mark.usefixtures("echo")
def test_disconnected_client_may_come_back(socketio: SocketIO, connect: Connect) -> None:
    reasons: list[str] = []
    socketio.on_event("disconnect", reasons.append)
    client = connect()
    client.disconnect()
    assert reasons == ["client disconnect"] and not client.is_connected()
    client.connect()
    client.emit("echo", 1)
    assert client.get_received()[0]["args"] == [1]


# what Flask-SocketIO's client cannot do


def test_client_acknowledges(socketio: SocketIO, connect: Connect) -> None:
    answers: list[Any] = []

    @socketio.on("ask")
    def ask() -> None:
        library.emit("question", 1, callback=lambda *args: answers.append(args))

    client = connect()

    @client.on("question")
    def answer(value: int) -> tuple[int, bytes]:
        return value + 1, b"bytes"

    client.emit("ask")
    assert answers == [(2, b"bytes")]
    assert client.get_received()[0]["name"] == "question"


def test_client_answers_calls(socketio: SocketIO, connect: Connect) -> None:
    socketio.on_event("ask", lambda: library.call("question", timeout=5), namespace="/other")
    client = connect("/other")
    client.on("question", lambda: "answer", namespace="/other")
    assert client.emit("ask", namespace="/other", callback=True) == "answer"


def test_client_may_emit_while_it_answers(socketio: SocketIO, connect: Connect) -> None:
    socketio.on_event("ask", lambda: library.call("question", timeout=5))
    socketio.on_event("more", lambda: "more")
    client = connect()
    client.on("question", lambda: client.emit("more", callback=True))
    assert client.emit("ask", callback=True) == "more"


def test_what_a_clients_handler_raises_is_raised_by_the_client(socketio: SocketIO, connect: Connect) -> None:
    client = connect()

    @client.on("event")
    def fail() -> None:
        raise LookupError("the test's own")

    socketio.emit("event")
    with pytest.raises(LookupError, match="the test's own"):
        client.get_received()


def test_client_waits_for_what_comes_later(socketio: SocketIO, connect: Connect) -> None:
    go = threading.Event()
    client = connect()

    def work() -> None:
        go.wait(5)
        socketio.emit("other")
        socketio.emit("tick", 1)

    task = socketio.start_background_task(work)
    go.set()
    assert client.wait_for("tick")["args"] == [1]
    assert [event["name"] for event in client.get_received()] == ["other"]
    task.join()


def test_waiting_in_vain_says_what_came_instead(socketio: SocketIO, connect: Connect) -> None:
    client = connect()
    socketio.emit("other")
    message = r"no event 'tick' on namespace '/' within 0\.01 s; received: \[\('other', '/'\)\]"
    with pytest.raises(TimeoutError, match=message):
        client.wait_for("tick", timeout=0.01)


def test_client_speaks_msgpack(make_app: MakeApp) -> None:
    pytest.importorskip("msgpack")
    app, socketio = make_app(serializer="msgpack")
    socketio.on_event("echo", lambda *args: args)
    socketio.on_event("ask", lambda: library.call("question", timeout=5))
    client = socketio.test_client(app)
    client.on("question", lambda: {"a": b"bytes"})
    assert client.emit("echo", 1, b"bytes", None, callback=True) == [1, b"bytes", None]
    assert client.emit("ask", callback=True) == {"a": b"bytes"}


def test_client_leaves_nothing_behind(end: End) -> None:
    app = end(new_app())
    socketio = SocketIO(app, async_mode="threading")
    before = {name for name in vars(SocketIOTestClient) if isinstance(vars(SocketIOTestClient)[name], dict)}
    with socketio.test_client(app) as client:
        client.connect("/")
    assert before == set()
    server = socketio.binding_of(app).server
    assert server is not None and not server.sessions and server.namespaces() == []
    gone = weakref.ref(client)
    del client
    gc.collect()
    assert gone() is None


def test_forgotten_client_does_not_keep_its_application(socketio: SocketIO) -> None:
    app = new_app("forgotten")
    SocketIO(app, async_mode="threading").test_client(app)
    gone = weakref.ref(app)
    del app
    gc.collect()
    assert gone() is None


def observe_events(socketio: SocketIO) -> None:
    @socketio.observe
    def socketio_event_before(event: str) -> None: ...


def surround_events(socketio: SocketIO) -> None:
    for _ in range(2):

        @socketio.observe
        def socketio_around_event(proceed: Callable[..., Any]) -> Any:
            return proceed()


def attend_events(socketio: SocketIO) -> None:
    socketio.before_event()(lambda event, args: None)
    socketio.after_event()(lambda event, answer: answer)
    socketio.teardown_event()(lambda event, error: None)


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("attend", [None, observe_events, surround_events, attend_events])
def test_closed_connection_is_freed_without_the_garbage_collector(
    socketio: SocketIO, connect: Connect, attend: Callable[[SocketIO], None] | None, fails: bool
) -> None:
    class Probe:
        """Something in a session that can be watched."""

    watched: list[weakref.ref[Probe]] = []
    if attend is not None:
        attend(socketio)
    socketio.on_error_default(lambda error: None)

    @socketio.on("keep")
    def keep() -> None:
        session["probe"] = probe = Probe()
        watched.append(weakref.ref(probe))
        if fails:
            raise ValueError("as asked")

    client = connect()
    gc.collect()
    gc.disable()
    try:
        client.emit("keep")
        client.emit("keep")  # with a context of the other kind
        client.disconnect()
        client._session = None
        assert [reference() for reference in watched] == [None, None]
    finally:
        gc.enable()


def test_context_manager_disconnects_every_namespace(socketio: SocketIO, connect: Connect) -> None:
    gone: list[str] = []
    for namespace in ("/", "/other"):
        socketio.on_event("disconnect", lambda reason, namespace=namespace: gone.append(namespace), namespace)
    with connect() as client:
        client.connect("/other")
    assert sorted(gone) == ["/", "/other"] and not client.is_connected()
    client.close()  # once more does nothing


def test_application_without_us_is_refused(socketio: SocketIO) -> None:
    with pytest.raises(NotInitialised, match="does not serve the application 'other'"):
        socketio.test_client(new_app("other"))


@pytest.mark.parametrize("async_handlers", [True, False, "ordered"])
def test_order_of_handlers_is_the_tests(make_app: MakeApp, async_handlers: Any) -> None:
    app, socketio = make_app(async_handlers=async_handlers)
    socketio.on_event("event", lambda number: library.emit("done", number))
    client = socketio.test_client(app)
    for number in range(5):
        client.emit("event", number)
    assert [event["args"] for event in client.get_received()] == [[number] for number in range(5)]


def test_always_connect(make_app: MakeApp) -> None:
    app, socketio = make_app(always_connect=True)
    socketio.on_event("connect", lambda: False)
    client = socketio.test_client(app)
    assert not client.is_connected()


def test_what_a_connect_handler_emits_comes_after_the_acceptance(
    socketio: SocketIO, connect: Connect
) -> None:
    socketio.on_event("connect", lambda: library.emit("welcome"))
    assert [event["name"] for event in connect().get_received()] == ["welcome"]

    @socketio.on("connect")
    def refuse() -> bool:
        library.emit("welcome")
        return False

    assert connect()._queue == []
