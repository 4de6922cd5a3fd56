"""Attributes of Flask-SocketIO's objects that applications touch; ``docs/attributes.md`` lists them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import socketio as protocol_library
from engineio.socket import Socket
from flask import Flask, session
from flask.ctx import RequestContext

import flask_socketio_core
from flask_socketio_core import ConnectionRefusedError, Namespace, SocketIO, emit
from flask_socketio_core.app.compatibility.left_out import LeftOut
from flask_socketio_core.errors import ConfigurationError, InvalidOption, SelectionError, UnknownOption
from support.documents import ROOT
from support.flask_apps import Connect, End, MakeApp, new_app, request

PAGE = (ROOT / "docs" / "attributes.md").read_text()
ROWS = re.findall(r"^\| `([\w.\[\]]+)(?:\(\))?` \| (.+?) \|(?: (.+?) \|)?$", PAGE, re.M)
PRESENT = [name for name, _, instead in ROWS if instead]
ABSENT = [(name, text) for name, text, instead in ROWS if not instead]


@pytest.fixture
def sid(socketio: SocketIO, connect: Connect) -> str:
    socketio.on_event("sid", lambda: request.sid)
    found: str = connect(query_string="colour=red").emit("sid", callback=True)
    return found


@pytest.fixture
def look(app: Flask, socketio: SocketIO, sid: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Evaluate what the page says, while the application is served and has a client in a room."""
    socketio.server.enter_room(sid, "room")
    monkeypatch.setattr(socketio, "_serving", socketio.binding_of(app))  # what run() does meanwhile
    known = {
        "socketio": socketio,
        "eio_sid": next(iter(socketio.server.environ)),
        "namespace": "/",
        "room": "room",
    }
    return lambda text: eval(text, dict(known))


def test_page_is_read() -> None:
    assert len(PRESENT) > 60 and len(ABSENT) > 40


def test_what_the_page_has_is_there(look: Callable[[str], Any]) -> None:
    for name in PRESENT:
        look(name)


def test_what_the_page_leaves_out_says_what_to_use(look: Callable[[str], Any]) -> None:
    for name, text in ABSENT:
        with pytest.raises(AttributeError, match=re.escape(text)):
            look(name)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (lambda app: pytest.importorskip("flask_socketio").SocketIO(app, async_mode="threading"), "socketio"),
        (lambda _: protocol_library.Server(async_mode="threading"), "socketio.server"),
        (lambda _: protocol_library.Manager(), "socketio.server.manager"),
        (lambda _: protocol_library.Server(async_mode="threading").eio, "socketio.server.eio"),
        (
            lambda _: Socket(protocol_library.Server(async_mode="threading").eio, "x"),
            "socketio.server.eio.sockets[eio_sid]",
        ),
    ],
)
def test_every_public_name_of_theirs_is_there_or_says_what_to_use(
    look: Callable[[str], Any], theirs: Callable[[Flask], object], ours: str
) -> None:
    present = look(ours)
    names = {name for name in dir(theirs(new_app())) if not name.startswith("_")}
    assert [
        name for name in sorted(names) if not hasattr(present, name) and name not in present.LEFT_OUT
    ] == []


def test_misspelt_attribute_names_the_nearest(socketio: SocketIO) -> None:
    with pytest.raises(
        AttributeError,
        match=r"'SocketIO' object has no attribute 'server_option', did you mean 'server_options'",
    ):
        _ = socketio.server_option  # type: ignore[attr-defined]  # that is the point
    with pytest.raises(AttributeError, match=r"no attribute 'nothing' \(docs/attributes.md lists"):
        _ = socketio.server.nothing  # type: ignore[attr-defined]  # that is the point


def test_an_error_inside_a_property_is_not_taken_for_a_missing_one(socketio: SocketIO) -> None:
    class Broken(LeftOut):
        @property
        def name(self) -> str:
            raise AttributeError("the cause")

    with pytest.raises(AttributeError, match=r"^the cause$"):
        _ = Broken().name


# options


def test_server_options_are_those_given(make_app: MakeApp) -> None:
    app, socketio = make_app(ping_timeout=7)
    assert socketio.server_options["ping_timeout"] == 7 and "transports" not in socketio.server_options
    socketio.init_app(app, transports=["websocket"])
    assert socketio.server_options == {
        "async_mode": "threading",
        "ping_timeout": 7,
        "transports": ["websocket"],
    }


def test_server_options_set_before_init_app_take_effect(end: End) -> None:
    socketio = SocketIO(manage_session=False, ping_timeout=9)
    socketio.server_options["allow_upgrades"] = False
    socketio.server_options["async_mode"] = "threading"
    assert socketio.server_options.pop("ping_timeout") == 9
    app = end(new_app())
    socketio.init_app(app)
    options = socketio.binding_of(app).options
    assert (options.allow_upgrades, options.ping_timeout, socketio.async_mode) == (False, 20, "threading")


def test_server_options_set_later_hold_for_the_next_init_app(app: Flask, socketio: SocketIO) -> None:
    socketio.server_options["transports"] = ["polling"]
    assert socketio.binding_of(app).options.transports == ("polling", "websocket")
    socketio.init_app(app)
    assert socketio.binding_of(app).options.transports == ("polling",)
    socketio.server_options = {"async_mode": "threading", "ping_timeout": 3}
    socketio.init_app(app)
    assert (
        socketio.server.eio.transports == ("polling", "websocket") and socketio.server.eio.ping_timeout == 3
    )


def test_server_options_refuse_a_misspelt_name_at_once(socketio: SocketIO) -> None:
    with pytest.raises(UnknownOption, match="ping_timeout"):
        socketio.server_options["ping_timeuot"] = 5


def test_client_manager_tells_whether_the_process_only_sends(make_app: MakeApp) -> None:
    app, serving = make_app(message_queue="memory://attributes")
    assert serving.server_options["client_manager"].write_only is False
    assert serving.server_options.pop("client_manager").channel == "flask-socketio"
    serving.init_app(app, message_queue=None)
    assert "client_manager" not in serving.server_options
    assert SocketIO(message_queue="memory://attributes").server_options["client_manager"].write_only is True


@pytest.mark.parametrize("name", ["ping_interval", "ping_timeout", "max_http_buffer_size"])
def test_option_changed_through_the_engine_takes_effect_while_nobody_is_connected(
    app: Flask, socketio: SocketIO, connect: Connect, name: str
) -> None:
    eio = socketio.server.eio
    setattr(eio, name, 60)
    eio.allow_upgrades = False
    assert (
        getattr(eio, name) == getattr(socketio.binding_of(app).options, name) == 60 and not eio.allow_upgrades
    )
    client = connect()
    with pytest.raises(ConfigurationError, match=rf"^{name} cannot change any more: 1 clients are connected"):
        setattr(eio, name, 61)
    client.close()
    setattr(eio, name, 62)
    assert getattr(socketio.server.eio, name) == 62


def test_async_handlers_and_path_can_be_changed(app: Flask, socketio: SocketIO) -> None:
    socketio.server.async_handlers = False
    socketio.sockio_mw.engineio_path = "/"
    assert socketio.sockio_mw.engineio_path == "/"
    socketio.sockio_mw.engineio_path = "/elsewhere/"
    assert socketio.server.async_handlers is False and socketio.sockio_mw.engineio_path == "/elsewhere/"
    assert app.test_client().get("/elsewhere/?EIO=4&transport=polling").text.startswith("0{")
    assert app.test_client().get("/socket.io/?EIO=4&transport=polling").status_code == 404


def test_async_mode_set_later_takes_effect_or_is_an_error(end: End) -> None:
    socketio = SocketIO()
    socketio.async_mode = "threading"
    app = end(new_app())
    socketio.init_app(app)
    server = socketio.server
    assert socketio.async_mode == "threading"
    socketio.async_mode = "threading"
    assert socketio.server is server
    for wrong in ("greenlets", True):
        with pytest.raises((SelectionError, InvalidOption)):
            socketio.async_mode = wrong  # type: ignore[assignment]  # as an application does
    client = socketio.test_client(app)
    with pytest.raises(ConfigurationError, match="async_mode cannot change any more"):
        socketio.server.eio.async_mode = "other"
    assert client.is_connected() and socketio.async_mode == "threading"


def test_manage_session_can_be_switched_at_any_time(app: Flask, socketio: SocketIO, connect: Connect) -> None:
    @app.get("/<value>")
    def visit(value: str) -> str:
        session["from"] = value
        return ""

    @socketio.on("note")
    def note(value: str) -> Any:
        session["note"] = value
        return dict(session)

    browser = app.test_client()
    browser.get("/view")
    client = connect(flask_test_client=browser)
    assert client.emit("note", 1, callback=True) == {"from": "view", "note": 1}
    socketio.manage_session = False
    assert socketio.manage_session is False and socketio.server_options["manage_session"] is False
    assert client.emit("note", 2, callback=True) == {"from": "view", "note": 2}
    socketio.manage_session = True
    assert socketio.server.environ[client.eio_sid]["saved_session"] == {"from": "view", "note": 1}
    assert client.emit("note", 3, callback=True) == {"from": "view", "note": 3}


def test_manage_session_set_before_init_app_holds(end: End) -> None:
    socketio = SocketIO(async_mode="threading")
    socketio.manage_session = False
    app = end(new_app())
    socketio.init_app(app)
    assert socketio.binding_of(app).options.manage_session is False


# clients


def test_rooms_are_nested_and_live(socketio: SocketIO, connect: Connect, sid: str) -> None:
    rooms = socketio.server.manager.rooms
    (engine_sid,) = socketio.server.eio.sockets
    assert rooms == {"/": {None: {sid: engine_sid}, sid: {sid: engine_sid}}}
    socketio.server.enter_room(sid, "room")
    assert (
        set(rooms["/"]) == {None, sid, "room"} and len(rooms["/"]) == 3 and list(rooms["/"]["room"]) == [sid]
    )
    assert rooms["/"].get("nobody") is None and "room" in rooms["/"] and rooms.get("/other", {}) == {}
    with pytest.raises(KeyError):
        rooms["/"]["room"]["nobody"]
    assert repr(rooms["/"]["room"]) == repr({sid: engine_sid})
    members = rooms["/"]["room"]
    socketio.server.close_room("room")
    assert "room" not in rooms["/"] and len(members) == 0
    with pytest.raises(AttributeError, match=r"use socketio.server.enter_room\(\)"):
        rooms.clear()  # type: ignore[attr-defined]  # that is the point
    socketio.server.disconnect(sid)
    assert "/" not in rooms and dict(rooms) == {}


def test_sids_lead_to_each_other(socketio: SocketIO, sid: str) -> None:
    manager = socketio.server.manager
    engine_sid = manager.eio_sid_from_sid(sid, "/")
    assert engine_sid is not None and manager.sid_from_eio_sid(engine_sid, "/") == sid
    assert manager.eio_sid_from_sid("nobody", "/") is manager.sid_from_eio_sid("nobody", "/") is None
    assert manager.sid_from_eio_sid(engine_sid, "/other") is None


def test_manager_takes_its_own_order_of_arguments(socketio: SocketIO, connect: Connect) -> None:
    client = connect()
    manager = socketio.server.manager
    (sid,) = manager.rooms["/"][None]
    manager.enter_room(sid, "/", "room")
    manager.emit("said", {"a": 1}, namespace="/", room="room", skip_sid="other")
    manager.leave_room(sid, "/", "room")
    manager.emit("unheard", {}, "/", room="room")
    assert [event["name"] for event in client.get_received()] == ["said"]
    manager.close_room("room", "/")
    manager.disconnect(sid, "/")
    assert not client.is_connected()


def test_sockets_are_the_connections(socketio: SocketIO, connect: Connect) -> None:
    left: list[str] = []
    socketio.on_event("disconnect", lambda reason: left.append(reason))
    sockets = socketio.server.eio.sockets
    assert len(sockets) == 0 and not sockets
    clients = [connect() for _ in range(4)]
    socket = sockets[clients[0].eio_sid]
    assert (socket.sid, socket.closed, socket.connected, socket.upgraded, socket.upgrading) == (
        clients[0].eio_sid,
        False,
        True,
        True,
        False,
    )
    assert socket == sockets.get(socket.sid) == socketio.server.eio._get_socket(socket.sid)
    assert socket.queue.qsize() == 0 and socket.queue.empty()
    socket.close(wait=False, abort=True)
    assert socket.closed and not socket.connected and socket.sid not in sockets
    del sockets[clients[1].eio_sid]
    socketio.server.eio.disconnect(clients[2].eio_sid)
    socketio.server.eio.disconnect("nobody")
    assert list(sockets) == [clients[3].eio_sid]
    sockets.clear()
    assert len(sockets) == 0 and left == ["server disconnect"] * 4
    with pytest.raises(KeyError):
        sockets["nobody"]


@pytest.mark.parametrize("light", [True, False], ids=["light", "full"])
@pytest.mark.parametrize("managed", [True, False], ids=["managed", "unmanaged"])
@pytest.mark.parametrize("through", ["request", "server"])
def test_emptied_environ_breaks_no_later_event(
    make_app: MakeApp, light: bool, managed: bool, through: str
) -> None:
    app, socketio = make_app(manage_session=managed)
    if not light:
        app.request_context = lambda environ: RequestContext(app, environ)  # type: ignore[method-assign]  # an application's own way
        socketio.init_app(app)
    seen: list[Any] = []

    def empty() -> None:
        (request.environ if through == "request" else socketio.server.environ).clear()

    @socketio.on("connect", namespace="/second")
    @socketio.on("connect")
    def on_connect() -> None:
        session["connected"] = True
        empty()

    @socketio.on("note")
    def note() -> Any:
        empty()
        return [request.args.get("colour"), session.get("connected", False)]

    socketio.on_event("disconnect", lambda reason: seen.append(reason))
    client = socketio.test_client(app, query_string="colour=red")
    client.connect("/second")
    assert client.is_connected("/second")
    for _ in range(2):
        assert client.emit("note", callback=True) == ["red", managed]
    client.disconnect()
    assert seen == ["client disconnect"]


def test_what_leaves_while_it_is_looked_at_is_left_out(socketio: SocketIO, connect: Connect) -> None:
    server = socketio.server
    rooms = server.manager.rooms
    for look in (server.eio.sockets, server.environ, rooms):
        for namespace in ("/", "/", "/second"):
            socketio.on_event("connect", lambda: None, namespace=namespace)
            connect(namespace)
        steps = iter(look.items())
        next(steps)
        server.eio.sockets.clear()
        assert list(steps) == [] and list(look.values()) == []
    connect()
    steps = iter(rooms["/"].items())
    next(steps)
    server.eio.sockets.clear()
    assert list(steps) == []


def test_environs_that_are_taken_out_are_emptied(socketio: SocketIO, sid: str) -> None:
    environs = socketio.server.environ
    (engine_sid,) = environs
    assert environs.pop(engine_sid)["QUERY_STRING"] == "colour=red"
    assert environs[engine_sid] == {} and environs.pop("nobody", None) is None
    with pytest.raises(KeyError):
        environs.pop("nobody")


# handlers


def test_handlers_are_live_and_take_the_sid_first(socketio: SocketIO, connect: Connect, sid: str) -> None:
    handlers = socketio.server.handlers
    socketio.on_event("say", lambda text: [request.sid, text])
    assert "say" in handlers["/"] and "connect" not in handlers.get("/", {}) and list(handlers) == ["/"]
    assert handlers["/"]["say"](sid, "hi") == [sid, "hi"]
    assert handlers["/"]["say"]("nobody", "hi") == ("", 400)
    client = connect()
    handlers["/"]["said"] = lambda sid, *args: [sid, *args]
    assert client.emit("said", 1, callback=True)[1] == 1
    del handlers["/"]["say"]
    assert client.emit("say", "hi", callback=True) is None
    del handlers["/"]
    assert "/" not in handlers and list(socketio.handlers) == []


def test_handlers_of_the_server_get_what_python_socketio_gives_them(make_app: MakeApp) -> None:
    app, socketio = make_app()
    server = socketio.server
    seen: list[Any] = []

    @server.on("connect")
    def on_connect(sid: str, environ: dict[str, Any]) -> None:
        seen.append(("connect", sid, environ["QUERY_STRING"]))

    @server.on("connect", namespace="/auth")
    def on_auth(sid: str, environ: dict[str, Any], auth: Any) -> None:
        seen.append(("auth", sid, auth))

    @server.event
    def say(sid: str, text: str) -> str:
        seen.append((sid, text))
        return text.upper()

    server.on("*", lambda event, sid, *args: seen.append((event, sid, args)))
    server.on("disconnect", lambda sid: seen.append(("disconnect", sid)))
    client = socketio.test_client(app, query_string="a=b")
    (sid,) = server.manager.rooms["/"][None]
    assert client.emit("say", "hi", callback=True) == "HI"
    client.emit("other", 1, 2)
    client.connect("/auth", auth={"k": 1})
    (other,) = server.manager.rooms["/auth"][None]
    client.disconnect()
    assert seen == [
        ("connect", sid, "a=b"),
        (sid, "hi"),
        ("other", sid, (1, 2)),
        ("auth", other, {"k": 1}),
        ("disconnect", sid),
    ]


class Chat(Namespace):
    def on_say(self, text: str) -> str:
        return text.upper()


class Foreign(protocol_library.Namespace):
    def on_connect(self, sid: str, environ: dict[str, Any]) -> None:
        self.emit("welcome", environ["QUERY_STRING"], to=sid)  # type: ignore[no-untyped-call]  # as above

    def on_say(self, sid: str, text: str) -> list[str]:
        return [sid, text]


def test_classes_are_found_removed_and_registered(app: Flask, socketio: SocketIO, connect: Connect) -> None:
    chat, foreign = Chat("/chat"), Foreign("/foreign")  # type: ignore[no-untyped-call]  # as above
    socketio.server.register_namespace(chat)
    socketio.server.register_namespace(foreign)
    by_name = socketio.server.namespace_handlers
    assert dict(by_name) == {"/chat": chat, "/foreign": foreign} and chat in socketio.namespace_handlers
    client = connect("/chat")
    assert client.emit("say", "hi", namespace="/chat", callback=True) == "HI"
    other = connect("/foreign", query_string="a=b")
    assert other.get_received("/foreign")[0]["args"] == ["a=b"]
    assert other.emit("say", "hi", namespace="/foreign", callback=True)[1] == "hi"
    assert by_name.pop("/foreign") is foreign
    socketio.namespace_handlers.remove(chat)
    assert not by_name and len(socketio.namespace_handlers) == 0
    assert not connect("/chat").is_connected("/chat")
    with pytest.raises(ValueError, match="expects an instance of Namespace, not str"):
        socketio.server.register_namespace("/chat")


def test_everything_registered_can_be_forgotten(socketio: SocketIO) -> None:
    socketio.on_event("say", lambda: None)
    socketio.on_namespace(Chat("/chat"))
    socketio.handlers = []
    socketio.namespace_handlers = []
    assert list(socketio.handlers) == [] and list(socketio.namespace_handlers) == []
    with pytest.raises(TypeError, match="can only be emptied"):
        socketio.handlers = [("say", print, "/")]


def test_error_handlers_can_be_read_and_set(socketio: SocketIO, connect: Connect) -> None:
    socketio.on_event("fail", lambda: 1 / 0)
    handler = socketio.on_error("/chat")(lambda error: None)
    assert socketio.exception_handlers == {"/chat": handler} and socketio.default_exception_handler is None
    socketio.default_exception_handler = lambda error: type(error).__name__
    assert connect().emit("fail", callback=True) == "ZeroDivisionError"
    socketio.exception_handlers = {"/": lambda error: "mine"}
    assert connect().emit("fail", callback=True) == "mine"


class Dispatching(Namespace):
    """Dispatches in a way of its own, as applications do."""

    def trigger_event(self, event: str, *args: Any) -> Any:
        method = getattr(self, "on_" + event.replace(":", "_"), None)
        if method is None:
            return None
        return self.socketio._handle_event(method, event, self.namespace, *args)

    def on_connect(self, auth: Any) -> None:
        session["auth"] = auth
        if auth == "wrong":
            raise ConnectionRefusedError("go away")

    def on_game_move(self, x: int) -> Any:
        emit("moved", x)
        return [request.event["message"], list(request.event["args"]), x, session["auth"]]

    def on_game_fail(self) -> None:
        raise KeyError("lost")

    def on_disconnect(self) -> None:
        session["auth"] = "left"


@pytest.mark.parametrize("name", ["/game", "*"])
def test_namespace_may_dispatch_through_handle_event(
    app: Flask, socketio: SocketIO, connect: Connect, name: str
) -> None:
    socketio.on_namespace(Dispatching(name))
    socketio.on_error("/game")(lambda error: f"handled {error!r}")
    namespaces = [] if name != "*" else ["/game"]
    socketio.binding_of(app).dispatcher._accepted |= set(namespaces)  # type: ignore[union-attr]
    client = connect("/game", auth="me")
    assert client.emit("game:move", 3, namespace="/game", callback=True) == ["game:move", [3], 3, "me"]
    assert client.emit("game:fail", namespace="/game", callback=True) == "handled KeyError('lost')"
    assert [event["name"] for event in client.get_received("/game")] == ["moved"]
    client.disconnect("/game")
    refused = connect("/game", auth="wrong")
    assert not refused.is_connected("/game") and refused.refusals["/game"] == {"message": "go away"}


def test_handle_event_from_elsewhere_runs_in_the_clients_context(socketio: SocketIO, sid: str) -> None:
    assert socketio._handle_event(lambda x: [request.sid, x], "say", "/", sid, 1) == [sid, 1]
    assert socketio._handle_event(print, "say", "/", "nobody", 1) == ("", 400)


# the rest


def test_middleware_is_the_application_to_serve(app: Flask, socketio: SocketIO) -> None:
    middleware = socketio.sockio_mw
    assert app.wsgi_app is middleware and middleware.flask_app is app
    assert middleware.engineio_app is socketio.server and middleware.engineio_path == "/socket.io/"
    with pytest.raises(AttributeError, match=r"no middleware \(sockio_mw\) before init_app"):
        _ = SocketIO().sockio_mw
    assert not hasattr(SocketIO(), "sockio_mw")


def test_a_server_of_the_applications_own_is_stopped(socketio: SocketIO) -> None:
    class Own:
        stopped = False

        def stop(self) -> None:
            self.stopped = True

    assert socketio.wsgi_server is None
    own = socketio.wsgi_server = Own()
    socketio.stop()
    assert own.stopped and socketio.wsgi_server is own


def test_facade_follows_another_init_app(app: Flask, socketio: SocketIO, connect: Connect) -> None:
    server = socketio.server
    rooms, sockets, environs = server.manager.rooms, server.eio.sockets, server.environ
    socketio.init_app(app, ping_timeout=3)
    connect()
    assert socketio.server is server and server.eio.ping_timeout == 3
    assert len(rooms["/"][None]) == len(sockets) == len(environs) == 1


def test_modules_are_where_they_are_in_flask_socketio() -> None:
    from flask_socketio_core.app.namespace import Namespace as FromModule
    from flask_socketio_core.test_client import SocketIOTestClient

    assert FromModule is Namespace and SocketIOTestClient is flask_socketio_core.SocketIOTestClient
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = flask_socketio_core.nothing  # type: ignore[attr-defined]  # that is the point


def test_serving_imports_no_test_client() -> None:
    program = (
        "import sys, flask, flask_socketio_core as f; f.SocketIO(flask.Flask('a'), async_mode='threading').server;"
        "print([name for name in sys.modules if name.startswith(('flask_socketio_core.testing', 'flask.testing'))]);"
        "print(f.test_client.SocketIOTestClient is f.SocketIOTestClient)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.split("\n")[:2] == ["[]", "True"]
