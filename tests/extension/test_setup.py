"""Options, applications and ``SocketIO`` objects: who serves whom, and what is said when something is wrong."""

from __future__ import annotations

import inspect
import json
import marshal
import pickle
import re
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import flask
import pytest
from flask import Flask, current_app

from flask_socketio_core import SocketIO, emit
from flask_socketio_core.common.foreign_options import INSTEAD, snake_case
from flask_socketio_core.common.keywords import OptionKeywords
from flask_socketio_core.common.options import GRACE, SETTINGS, Options, build, check_names, option_names
from flask_socketio_core.common.settings import Setting
from flask_socketio_core.contracts.concurrency.servers import TLS_OPTIONS
from flask_socketio_core.errors import ConfigurationError, InvalidOption, NotInitialised, UnknownOption
from support.flask_apps import End, MakeApp, new_app


def test_keyword_types_name_every_option() -> None:
    assert set(OptionKeywords.__annotations__) == set(option_names())


def spelt(setting: Setting[Any]) -> str:
    """Return what a type checker is to take for an option."""
    kind = {bool: "Switch", int: "Number", float: "Number", str: "str", dict: "Mapping[str, Any]"}[
        setting.kind
    ]
    kind = f"Literal{[*setting.choices]}".replace("'", '"') if setting.choices else kind
    return kind if setting.default is not None else f"{kind} | None"


@pytest.mark.parametrize(
    "setting", [item for item in SETTINGS.values() if item.kind not in (object, tuple) and item.name != GRACE]
)
def test_keyword_types_are_those_of_the_table(setting: Setting[Any]) -> None:
    annotation = OptionKeywords.__annotations__[setting.name].__forward_arg__.replace("'", '"')
    pair = " | tuple[Number, Number]" if setting.name == "ping_interval" else ""
    assert annotation == f"{spelt(setting)}{pair}"


@pytest.mark.parametrize("setting", SETTINGS.values())
def test_each_field_has_the_type_of_its_setting(setting: Setting[Any]) -> None:
    """A default of ``None`` says nothing about the kind, so that no type checker compares the two."""
    annotation = Options.__annotations__[setting.name]
    written = {"dict": "Mapping[str, Any]", "tuple": "tuple[str, ...]"}.get(
        kind := setting.kind.__name__, kind
    )
    if setting.kind is not object:
        assert annotation == (written if setting.default is not None else f"{written} | None")
    assert getattr(Options(), setting.name) == setting.default


def test_options_come_from_the_environment_as_flask_reads_it(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in {"PING_TIMEOUT": "7", "HTTP_COMPRESSION": "off", "TRANSPORTS": "websocket"}.items():
        monkeypatch.setenv(f"FLASK_SOCKETIO_{name}", text)
    app, socketio = make_app()
    app.config.from_prefixed_env()
    socketio.init_app(app)
    options = socketio.binding_of(app).options
    assert (options.ping_timeout, options.http_compression, options.transports) == (7, False, ("websocket",))


@pytest.mark.parametrize("give", [SocketIO, lambda **options: SocketIO().init_app(new_app(), **options)])
def test_unknown_option_is_refused_with_the_nearest_name(give: Callable[..., Any]) -> None:
    with pytest.raises(
        TypeError, match=r"unexpected keyword argument 'ping_intervall', did you mean 'ping_interval'"
    ):
        give(ping_intervall=5)


def test_options_come_from_the_configuration(make_app: MakeApp) -> None:
    app, socketio = make_app({"SOCKETIO_PING_INTERVAL": 7, "SOCKETIO_PATH": "/live/"})
    options = socketio.binding_of(app).options
    assert (options.ping_interval, options.path) == (7, "live")


@pytest.mark.parametrize("source", ["keyword", "configuration"])
def test_options_may_be_written_as_environment_variables_and_scientists_do(
    make_app: MakeApp, source: str
) -> None:
    given: dict[str, Any] = {
        "max_http_buffer_size": 1e8,
        "ping_timeout": "60",
        "ping_interval": "2.5,1",
        "compression_threshold": "0",
        "max_connections": " 10 ",
        "allow_upgrades": "False",
        "monitor_clients": "1",
        "async_handlers": "true",
        "transports": "polling, websocket",
        "namespaces": "/chat, news",
    }
    configuration = {f"SOCKETIO_{name.upper()}": value for name, value in given.items()}
    app, socketio = make_app(configuration) if source == "configuration" else make_app(**given)
    options = socketio.binding_of(app).options
    expected: dict[str, object] = {
        "max_http_buffer_size": 100_000_000,
        "ping_timeout": 60.0,
        "ping_interval": 2.5,
        "ping_interval_grace": 1.0,
        "compression_threshold": 0,
        "max_connections": 10,
        "allow_upgrades": False,
        "monitor_clients": True,
        "async_handlers": True,
        "transports": ("polling", "websocket"),
        "namespaces": ("/chat", "/news"),
    }
    found = {name: getattr(options, name) for name in expected}
    assert {name: (type(value), value) for name, value in found.items()} == {
        name: (type(value), value) for name, value in expected.items()
    }


NUMBERS = [setting.name for setting in SETTINGS.values() if setting.kind in (int, float)]
SWITCHES = [setting.name for setting in SETTINGS.values() if setting.kind is bool]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *[
            (name, value)
            for name in NUMBERS
            if name != GRACE
            for value in ("many", "", "nan", float("inf"), True, -1, 10**400)
        ],
        *[(name, value) for name in [*SWITCHES, "async_handlers", "logger"] for value in ("flase", "", 2)],
        ("ping_interval", (25, "nan")),
        ("ping_interval", (1, 2, 3)),
        ("max_workers", 1.5),
        ("transports", "carrier pigeon"),
        ("transports", ""),
        ("transports", 5),
        ("namespaces", 5),
        ("namespaces", ["/chat", 5]),
        ("path", b"socket.io"),
        ("channel", 5),
    ],
)
def test_a_value_that_an_option_cannot_take_is_refused_by_name(option: str, value: object) -> None:
    with pytest.raises(InvalidOption, match=rf"^{option}\w*(=.*)? must "):
        build({option: value})


@pytest.mark.parametrize(
    ("given", "endpoint"),
    [
        ({"path": ""}, "/socket.io/"),
        ({"resource": "", "path": "live"}, "/live/"),
        ({"path": "/"}, "/"),
        ({"resource": "live/"}, "/live/"),
        ({"path": "/a/b"}, "/a/b/"),
    ],
)
def test_the_path_is_what_it_is_in_flask_socketio(given: dict[str, str], endpoint: str) -> None:
    assert build(given).endpoint == endpoint


@pytest.mark.parametrize(("path", "asked"), [("/", "/"), ("/", "/anything"), ("", "/socket.io/")])
def test_a_client_is_served_at_the_path(make_app: MakeApp, path: str, asked: str) -> None:
    app, socketio = make_app(path=path)
    answer = app.test_client().get(f"{asked}?EIO=4&transport=polling")
    assert (answer.status_code, answer.text[:1]) == (200, "0")
    assert socketio.test_client(app).is_connected()


def test_keyword_wins_over_the_configuration(make_app: MakeApp) -> None:
    app, socketio = make_app({"SOCKETIO_PING_INTERVAL": 7}, ping_interval=9)
    assert socketio.binding_of(app).options.ping_interval == 9


def test_a_key_of_the_configuration_that_is_no_option_is_warned_of_once(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    app, socketio = make_app(
        {
            "SOCKETIO_PING_INTERVALL": 7,
            "SOCKETIO_REDIS_URL": "redis://:secret@localhost",
            "SOCKETIO_ENABLED": True,
            "SOCKETIO_MAX_DECODE_PACKETS": 50,
        }
    )
    socketio.init_app(app)
    SocketIO(app, async_mode="threading", path="other")
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert said == [
        f"app.config['SOCKETIO_{key}'] is no option of SocketIO and is ignored here{meant}"
        for key, meant in [
            ("PING_INTERVALL", ": did you mean SOCKETIO_PING_INTERVAL?"),
            ("REDIS_URL", ""),
            ("ENABLED", ""),
            ("MAX_DECODE_PACKETS", ": use max_packets_per_payload="),
        ]
    ]
    assert socketio.binding_of(app).options.ping_interval == 25


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("max_decode_packets", "use max_packets_per_payload="),
        ("allow_eio3", r"socket.io-client 1.x and 2.x\) are not served"),
        ("allowEIO3", r"socket.io-client 1.x and 2.x\) are not served"),
        ("engineio_options", "as keyword arguments"),
        ("async_method", "use async_mode="),
        ("engineio_path", "use path="),
        ("perMessageDeflate", "use websocket_compression=True"),
        ("pingInterval", "did you mean 'ping_interval'"),
        ("maxHttpBufferSize", "did you mean 'max_http_buffer_size'"),
        ("debug", r"argument of SocketIO.run\(\)"),
    ],
)
def test_an_option_of_another_library_is_answered_with_what_takes_its_place(name: str, text: str) -> None:
    with pytest.raises(
        UnknownOption, match=rf"SocketIO\(\) got an unexpected keyword argument '{name}'.*{text}"
    ):
        check_names([name])


def test_what_takes_the_place_of_an_option_exists() -> None:
    """And no name stands for an option of ours."""
    assert sorted(set(INSTEAD) & set(option_names())) == []
    named = {name for text in INSTEAD.values() for name in re.findall(r"(\w+)=", text)}
    assert sorted(named - set(option_names())) == []
    assert [name for name in INSTEAD if snake_case(name) != name] == []
    run = set(inspect.signature(SocketIO.run).parameters) | set(TLS_OPTIONS)
    assert (
        sorted(name for name, text in INSTEAD.items() if "SocketIO.run()" in text and name not in run) == []
    )


def test_init_app_options_win_over_those_of_the_constructor(end: End) -> None:
    socketio, app = SocketIO(async_mode="threading", ping_interval=1, ping_timeout=2), end(new_app())
    socketio.init_app(app, ping_interval=3)
    options = socketio.binding_of(app).options
    assert (options.ping_interval, options.ping_timeout) == (3, 2)


@pytest.mark.parametrize("option", ["pickle", "cbor"])
def test_serializer_that_does_not_exist_is_refused(make_app: MakeApp, option: str) -> None:
    with pytest.raises(InvalidOption, match=option):
        make_app(serializer=option)


@pytest.mark.parametrize(
    ("option", "value"),
    [("message_queue", b"redis://:secret@localhost"), ("message_queue_options", ["secret"])],
)
def test_a_queue_or_its_options_of_another_type_are_refused_without_their_value(
    make_app: MakeApp, option: str, value: object
) -> None:
    with pytest.raises(InvalidOption, match=f"{option} must be a .*, not of type {type(value).__name__}$"):
        make_app(**{option: value})


@pytest.mark.parametrize(
    "use",
    [
        pytest.param(lambda socketio: socketio.emit("event"), id="emit"),
        pytest.param(lambda socketio: socketio.send("text"), id="send"),
        pytest.param(lambda socketio: socketio.call("event", to="sid"), id="call"),
        pytest.param(lambda socketio: socketio.close_room("room"), id="close_room"),
        pytest.param(lambda socketio: socketio.server, id="server"),
        pytest.param(lambda socketio: socketio.async_mode, id="async_mode"),
        pytest.param(lambda socketio: socketio.stop(), id="stop"),
        pytest.param(lambda socketio: socketio.sleep(), id="sleep"),
        pytest.param(lambda socketio: socketio.start_background_task(print), id="task"),
    ],
)
def test_use_before_init_app_says_what_to_do(use: Callable[[SocketIO], object]) -> None:
    with pytest.raises(NotInitialised, match=r"serves no application yet: call init_app\(app\) first"):
        use(SocketIO())


def test_run_for_a_foreign_application_says_what_to_do(socketio: SocketIO) -> None:
    with pytest.raises(NotInitialised, match=r"does not serve the application 'other': call init_app"):
        socketio.run(new_app("other"))


def test_handlers_may_be_registered_before_and_after_init_app(end: End) -> None:
    socketio, app = SocketIO(async_mode="threading"), end(new_app())
    socketio.on_event("early", lambda: "early")
    socketio.init_app(app)
    socketio.on_event("late", lambda: "late")
    client = socketio.test_client(app)
    assert [client.emit(name, callback=True) for name in ("early", "late")] == ["early", "late"]


def test_init_app_again_keeps_earlier_options_and_handlers(make_app: MakeApp) -> None:
    app, socketio = make_app(ping_interval=3)
    socketio.on_event("event", lambda: "answer")
    socketio.init_app(app, ping_timeout=4)
    options = socketio.binding_of(app).options
    assert (options.ping_interval, options.ping_timeout) == (3, 4)
    assert socketio.test_client(app).emit("event", callback=True) == "answer"


def test_one_object_serves_several_applications_each_with_its_own_clients(end: End) -> None:
    socketio = SocketIO(async_mode="threading")
    apps = [end(new_app(name)) for name in ("one", "two")]
    for app in apps:
        socketio.init_app(app)
    socketio.on_event("which", lambda: current_app.name)
    socketio.on_event("tell", lambda: emit("told", current_app.name, broadcast=True))
    clients = [socketio.test_client(app) for app in apps]
    assert [client.emit("which", callback=True) for client in clients] == ["one", "two"]
    clients[0].emit("tell")
    assert [len(client.get_received()) for client in clients] == [1, 0]


def test_emit_in_a_view_reaches_the_clients_of_its_own_application(end: End) -> None:
    socketio = SocketIO(async_mode="threading")

    def news() -> str:
        socketio.emit("news")
        return "sent"

    apps = [end(new_app(name)) for name in ("one", "two")]
    for app in apps:
        socketio.init_app(app)
        app.add_url_rule("/", view_func=news)
    clients = [socketio.test_client(app) for app in apps]
    apps[0].test_client().get("/")
    assert [len(client.get_received()) for client in clients] == [1, 0]


def test_several_objects_serve_one_application_on_paths_of_their_own(make_app: MakeApp) -> None:
    app, first = make_app(path="first")
    second = SocketIO(app, async_mode="threading", path="second")
    for socketio, name in ((first, "first"), (second, "second")):
        socketio.on_event("tell", lambda name=name: emit("told", name, broadcast=True))
    clients = [first.test_client(app), second.test_client(app)]
    for client in clients:
        client.emit("tell")
    # emit() used the object whose handler was running, not the one that was initialised last.
    assert [[event["args"] for event in client.get_received()] for client in clients] == [
        [["first"]],
        [["second"]],
    ]
    assert app.extensions["socketio"] is second
    for path in ("first", "second"):
        response = app.test_client().get(f"/{path}/?EIO=4&transport=polling")
        assert json.loads(response.text[1:])["sid"]


def test_two_objects_on_one_path_are_refused(make_app: MakeApp) -> None:
    app, _ = make_app()
    with pytest.raises(
        ConfigurationError, match="another SocketIO object serves the application 'app' at the path"
    ):
        SocketIO(app, async_mode="threading")


def test_middleware_leaves_other_requests_to_the_application(app: Flask) -> None:
    app.add_url_rule("/socket.iox/", view_func=lambda: "a view", endpoint="view")
    client = app.test_client()
    assert client.get("/socket.iox/").text == "a view"
    assert client.get("/nowhere").status_code == 404
    assert client.get("/socket.io/?EIO=4&transport=polling").text.startswith("0{")


def test_middleware_tells_the_application_to_everybody_inside(app: Flask) -> None:
    app.add_url_rule("/", view_func=lambda: str(flask.request.environ["flask.app"] is app), endpoint="view")
    assert app.test_client().get("/").text == "True"


class BareObject:
    """Has none of it."""


class ReturnsBytes:
    """Takes what the standard library's takes, and returns bytes."""

    loads = staticmethod(json.loads)

    @staticmethod
    def dumps(data: object, **options: Any) -> bytes:
        return json.dumps(data, **options).encode()


class OnlyDumps:
    dumps = staticmethod(json.dumps)


class Raises:
    loads = staticmethod(json.loads)

    @staticmethod
    def dumps(data: object, **options: Any) -> str:
        raise LookupError("no context")


class Forgets:
    dumps = staticmethod(json.dumps)

    @staticmethod
    def loads(text: str) -> object:
        return {}


def test_a_silence_that_no_javascript_client_can_wait_for_is_refused() -> None:
    with pytest.raises(InvalidOption, match="together at most 2147483 seconds"):
        SocketIO(Flask(__name__), ping_timeout=2_147_470)
    SocketIO(Flask(__name__), ping_timeout=2_147_458)


@pytest.mark.parametrize("queue", [None, "memory://json"])
@pytest.mark.parametrize(
    ("module", "text"),
    [
        (pickle, "did not come back from it: UnicodeDecodeError"),
        (marshal, "did not come back from it"),
        (import_module("msgpack"), "did not come back from it: UnicodeDecodeError"),
        (BareObject(), r"has no dumps\(\)"),
        ("orjson", r"has no dumps\(\)"),
        (OnlyDumps, r"has no loads\(\)"),
        (Raises(), r"LookupError\('no context'\)"),
        (Forgets(), r"loads\(\) made {}"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_json_is_tried_at_the_start(module: Any, text: str, queue: str | None) -> None:
    """In a process that serves and in one that only sends."""
    start = SocketIO if queue else partial(SocketIO, new_app(), async_mode="threading")
    with pytest.raises(InvalidOption, match=rf"json=.*{text}(.|\n)*whose dumps\(\) makes JSON text"):
        start(json=module, message_queue=queue)


def test_json_that_returns_bytes_serves(make_app: MakeApp) -> None:
    app, socketio = make_app(json=ReturnsBytes)
    client = socketio.test_client(app)
    socketio.emit("event", [1, {"a": b"bytes"}])
    assert client.get_received()[0]["args"] == [[1, {"a": b"bytes"}]]


def test_flask_json_follows_the_application(make_app: MakeApp) -> None:
    class Provider(flask.json.provider.DefaultJSONProvider):
        @staticmethod
        def default(o: Any) -> Any:
            return f"provided:{sorted(o)}"

    app, socketio = make_app(json=flask.json)
    app.json = Provider(app)
    client = socketio.test_client(app)
    socketio.emit("event", {2, 1})  # outside of any application context
    assert client.get_received()[0]["args"] == ["provided:[1, 2]"]


def test_description_says_what_is_in_use(socketio: SocketIO) -> None:
    assert socketio.async_mode == "threading"
    assert socketio.plugins.async_mode == "threading"


@pytest.mark.parametrize(
    ("register", "message"),
    [
        (lambda socketio: socketio.on_namespace(object()), "expects an instance of Namespace, not object"),
        (lambda socketio: socketio.on_error()("text"), "an error handler must be callable, not str"),
        (lambda socketio: socketio.on_error_default(None), "an error handler must be callable, not NoneType"),
    ],
)
def test_what_cannot_be_registered_is_refused(
    socketio: SocketIO, register: Callable[[SocketIO], object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        register(socketio)


def test_registering_returns_the_function_itself(socketio: SocketIO) -> None:
    def handler() -> None: ...

    assert socketio.on("a")(handler) is handler
    assert socketio.event(handler) is handler
    assert socketio.event(namespace="/b")(handler) is handler
    assert socketio.on_error()(handler) is handler
    assert socketio.on_error_default(handler) is handler
    assert [(line.namespace, line.event) for line in socketio.handlers] == [
        ("/", "a"),
        ("/", "handler"),
        ("/b", "handler"),
    ]
