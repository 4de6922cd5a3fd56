"""Every intended difference from Flask-SocketIO 5.7: what it does, what we do. The rows are in COMPAT.md.

Both sides are asserted, so that a release of Flask-SocketIO that changes its mind makes the row obsolete visibly.
"""

from __future__ import annotations

import contextlib
import gc
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import flask
import flask_socketio
import pytest
import socketio
from flask import Flask, g, session
from flask.sessions import SecureCookieSessionInterface

import flask_socketio_core
from compat.stage import Stage
from flask_socketio_core import errors
from flask_socketio_core.common.sids import is_sid
from support.flask_apps import needs_trusted_hosts
from support.programs import run_program
from support.servers import (
    CORE,
    EVENTLET,
    GTHREAD_WORKERS,
    REFERENCE,
    THREADING,
    AppSpec,
    ServerKind,
    kind_params,
    serving,
    wait_until,
)
from support.wire.engine import Closed, Polling, WebSocket, target
from support.wire.http import HttpError, request
from support.wire.recorder import Recorder

OpenStage = Callable[..., Stage]


def lines(stage: Stage, client: str = "A") -> list[str]:
    """Return what a client received."""
    return stage.transcript().clients[client]


# -- connecting


def test_events_of_a_connect_handler_follow_the_connect_packet(reference: OpenStage, ours: OpenStage) -> None:
    def play(stage: Stage) -> list[str]:
        client = stage.client(connect="/emits-on-connect")
        client.fence("/emits-on-connect")
        return [line.split()[0] for line in lines(stage)]

    assert play(reference()) == ["EVENT", "CONNECT"]
    assert play(ours()) == ["CONNECT", "EVENT"]


def test_events_of_a_connect_handler_that_refuses_are_dropped(reference: OpenStage, ours: OpenStage) -> None:
    def play(stage: Stage) -> list[str]:
        client = stage.client()
        client.connect("/emits-on-connect", {"answer": False})
        client.fence()
        return [line.split()[0] for line in lines(stage)]

    assert play(reference()) == ["CONNECT", "EVENT", "CONNECT_ERROR"]
    assert play(ours()) == ["CONNECT", "CONNECT_ERROR"]


def test_unknown_namespace_is_refused_as_the_protocol_says(reference: OpenStage, ours: OpenStage) -> None:
    def play(stage: Stage) -> list[str]:
        stage.client(connect="/nowhere")
        return lines(stage)

    assert play(reference()) == ['CONNECT_ERROR /nowhere "Unable to connect"']
    assert play(ours()) == ['CONNECT_ERROR /nowhere {"message": "Invalid namespace"}']


def test_connect_handler_that_raises_type_error_runs_once(reference: OpenStage, ours: OpenStage) -> None:
    def play(stage: Stage) -> int:
        client = stage.client()
        client.send(0, namespace="/type-error-on-connect")
        client.fence()
        stage.wait("connect ran")
        return len([entry for entry in stage.transcript().journal if "connect ran" in entry])

    assert play(reference("no default error handler")) == 2
    assert play(ours("no default error handler")) == 1


def test_connect_handler_that_raises_refuses_the_client(reference: OpenStage, ours: OpenStage) -> None:
    def play(stage: Stage) -> list[str]:
        client = stage.client()
        client.send(0, namespace="/error-on-connect")
        stage.wait("connect ran")
        client.fence()
        return lines(stage)[1:]

    assert play(reference("no default error handler")) == []
    (answer,) = play(ours("no default error handler"))
    assert answer.startswith("CONNECT_ERROR /error-on-connect")
    assert "inside the handler" not in answer


def test_disconnect_handler_without_reason_runs_despite_an_error_handler(
    reference: OpenStage, ours: OpenStage
) -> None:
    def play(stage: Stage, noted: str) -> list[str]:
        client = stage.client(connect="/old-style")
        client.disconnect("/old-style")
        stage.wait(noted)
        return [entry.split('"')[1] for entry in stage.transcript().journal]

    assert play(reference(), "default error handler") == ["default error handler"]
    assert play(ours(), "disconnect without reason") == ["disconnect without reason"]


def test_client_cannot_run_the_connect_handler_by_an_event(reference: OpenStage, ours: OpenStage) -> None:
    def play(stage: Stage) -> int:
        client = stage.client()
        client.emit("connect", {"fake": True})
        with contextlib.suppress(Closed, TimeoutError):
            client.fence()
        return len(
            [entry for entry in stage.transcript().journal if '"connect"' in entry or "handler" in entry]
        )

    assert play(reference()) == 2
    assert play(ours()) == 1


def test_disconnect_inside_the_connect_handler_refuses_the_client() -> None:
    def play(library: Any) -> tuple[bool, list[str]]:
        reasons: list[str] = []
        app = Flask(__name__)
        extension = library.SocketIO(app, async_mode="threading", monitor_clients=False)
        extension.on_event("connect", lambda: library.disconnect())
        extension.on_event("disconnect", reasons.append)
        return extension.test_client(app).is_connected(), reasons

    assert play(flask_socketio) == (True, [])
    assert play(flask_socketio_core) == (False, ["server disconnect"])


def test_reason_has_a_detail_and_is_the_same_text() -> None:
    def play(library: Any) -> list[Any]:
        reasons: list[Any] = []
        app = Flask(__name__)
        extension = library.SocketIO(app, async_mode="threading", monitor_clients=False)
        extension.on_event("kick me", lambda: library.disconnect())
        extension.on_event("disconnect", reasons.append)
        extension.test_client(app).emit("kick me")
        assert reasons == [extension.reason.SERVER_DISCONNECT] == ["server disconnect"]
        return [getattr(reason, "detail", None) for reason in reasons]

    assert play(flask_socketio) == [None]
    assert play(flask_socketio_core) == ["kicked"]


def test_refusal_after_always_connect_has_no_payload(reference: OpenStage, ours: OpenStage) -> None:
    def play(stage: Stage) -> list[str]:
        client = stage.client(connect=None)
        client.connect("/refuse-data")
        client.read_until(lambda packet: packet.name == "DISCONNECT")
        return [line for line in lines(stage) if line.startswith("DISCONNECT")]

    assert play(reference(variant="always connect")) != play(ours(variant="always connect"))
    assert [line.split() for line in play(ours(variant="always connect"))] == [["DISCONNECT", "/refuse-data"]]


def test_namespace_without_its_slash_is_the_one_with_it() -> None:
    def answers(library: Any) -> list[Any]:
        app = Flask(__name__)
        extension = library.SocketIO(app, async_mode="threading", monitor_clients=False)
        extension.on_event("event", lambda: "answer", namespace="chat")
        client = extension.test_client(app, namespace="/chat")
        return (
            [client.emit("event", namespace="/chat", callback=True)] if client.is_connected("/chat") else []
        )

    assert answers(flask_socketio) == []
    assert answers(flask_socketio_core) == ["answer"]


# -- handlers


def test_catch_all_event_of_the_catch_all_namespace_works(reference: OpenStage, ours: OpenStage) -> None:
    def play(stage: Stage) -> Any:
        return stage.client(connect="/made-up").call("unknown", 1, namespace="/made-up")

    assert play(reference("any namespace")) == ["", 400]
    assert play(ours("any namespace")) == [["anything anywhere", "unknown", 1]]


def test_class_hooks_run_in_the_request_context(reference: OpenStage, ours: OpenStage) -> None:
    def play(stage: Stage) -> list[list[bool]]:
        client = stage.client(connect="/class-context")
        return [client.call(event, namespace="/class-context") for event in ("dispatch", "fail")]

    assert play(reference("no default error handler")) == [[False], [False]]
    assert play(ours("no default error handler")) == [[True], [True]]


def test_room_for_an_unknown_client_is_a_value_error(reference: OpenStage, ours: OpenStage) -> None:
    assert reference().client().call("join for nobody") == ["KeyError"]
    assert ours().client().call("join for nobody") == ["ValueError"]


def test_second_connect_is_ignored(reference: OpenStage, ours: OpenStage) -> None:
    def play(stage: Stage) -> list[str]:
        client = stage.client()
        client.send(0)
        client.fence()
        return [line.split()[0] for line in lines(stage)]

    assert play(reference()) == ["CONNECT", "CONNECT_ERROR"]
    assert play(ours()) == ["CONNECT"]


# -- the wire


def test_ping_interval_below_a_second_is_announced(reference: OpenStage, ours: OpenStage) -> None:
    def announced(stage: Stage) -> int:
        interval: int = Polling(stage.server.port).handshake.fields["pingInterval"]
        return interval

    assert announced(reference("short pings")) == 0
    assert announced(ours("short pings")) == 200


@pytest.mark.parametrize(
    ("method", "query", "before", "now"),
    [
        pytest.param("GET", {}, 200, 400, id="no transport"),
        pytest.param("PUT", {"transport": "polling"}, 405, 400, id="unknown method"),
    ],
)
def test_http_status_is_the_one_of_the_protocol(
    reference: OpenStage, ours: OpenStage, method: str, query: dict[str, str], before: int, now: int
) -> None:
    assert request(reference().server.port, method, target(**query)).status == before
    assert request(ours().server.port, method, target(**query)).status == now


def test_client_of_another_protocol_is_told_what_it_needs(reference: OpenStage, ours: OpenStage) -> None:
    old = target(transport="polling", EIO="3")
    assert "speaks" not in reference().server.get(old).text
    assert "this client speaks Engine.IO protocol 3" in ours().server.get(old).text


def test_post_is_answered_in_lower_case(reference: OpenStage, ours: OpenStage) -> None:
    assert Polling(reference().server.port).post("40").text == "OK"
    assert Polling(ours().server.port).post("40").text == "ok"


def test_invalid_packet_closes_the_session(reference: OpenStage, ours: OpenStage) -> None:
    def play(stage: Stage) -> list[int]:
        session = Polling(stage.server.port)
        session.post("40")
        session.receive()
        return [session.post("4zzz").status, session.post('42["fence"]').status]

    assert play(reference()) == [200, 200]
    assert play(ours()) == [400, 400]


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
def test_number_that_json_does_not_have_ends_the_session(
    reference: OpenStage, ours: OpenStage, number: str
) -> None:
    def play(stage: Stage) -> list[int]:
        culprit, other = Polling(stage.server.port), Polling(stage.server.port)
        for polling in (culprit, other):
            polling.post("40")
            polling.receive()
        statuses = [culprit.post(f'42["echo",{number}]').status, culprit.post('42["fence"]').status]
        return [*statuses, other.post('42["fence"]').status]

    assert play(reference()) == [200, 200, 200]
    assert play(ours()) == [400, 400, 200]


def test_attachment_is_used_once(reference: OpenStage, ours: OpenStage) -> None:
    def play(stage: Stage) -> int:
        session = Polling(stage.server.port)
        session.post("40")
        session.receive()
        twice = ",".join(['{"_placeholder":true,"num":0}'] * 2)
        status: int = session.post(f'451-["fence",{twice}]\x1ebeA==').status
        return status

    assert play(reference()) == 200
    assert play(ours()) == 400


def test_what_javascript_cannot_read_is_the_senders_error() -> None:
    unreadable: tuple[tuple[str, Any], ...] = (
        ("sensor", {"temperature": float("nan")}),
        ("connect", 1),
        ("pages", [b"x"] * 11),
    )

    def play(library: Any) -> list[str]:
        app = Flask(__name__)
        socketio = library.SocketIO(app, async_mode="threading")
        client = socketio.test_client(app)
        told = []
        for event, data in unreadable:
            try:
                socketio.emit(event, data)
                told.append("sent")
            except errors.InvalidData as error:
                told.append(str(error))
        assert len(client.get_received()) == told.count("sent")
        return told

    assert play(flask_socketio) == ["sent"] * 3
    assert issubclass(errors.InvalidData, TypeError)
    assert issubclass(errors.InvalidData, ValueError)
    nan, reserved, many = play(flask_socketio_core)
    assert nan.startswith("event 'sensor' cannot be sent: data[0][\"temperature\"] is nan")
    assert "'connect' cannot be sent: the name is reserved" in reserved
    assert "11 attachments exceed max_attachments=10" in many


def test_error_handler_of_every_namespace_is_called() -> None:
    def play(library: Any) -> list[object]:
        app, extension = make_pair(library)
        for namespace in ("*", "/own"):

            @extension.on("fail", namespace=namespace)
            def fail() -> None:
                raise ValueError

            @extension.on_error(namespace)
            def handle(error: BaseException, namespace: str = namespace) -> str:
                return f"that of {namespace}"

        extension.on_error_default(lambda error: "default")
        extension.on_event("connect", lambda: None, namespace="/chat")
        client = extension.test_client(app, namespace="/chat")
        client.connect("/own")
        return [client.emit("fail", namespace=name, callback=True) for name in ("/chat", "/own")]

    assert play(flask_socketio) == ["default", "that of /own"]
    assert play(flask_socketio_core) == ["that of *", "that of /own"]


@pytest.mark.parametrize("which", ["on_error", "on_error_default"])
def test_acknowledgement_that_cannot_be_sent_goes_to_the_error_handler(which: str) -> None:
    def play(library: Any) -> tuple[Any, list[str]]:
        app = Flask(__name__)
        socketio = library.SocketIO(app, async_mode="threading")
        told: list[str] = []

        @socketio.on("tags")
        def tags() -> dict[str, Any]:
            return {"tags": {1, 2}}

        def handle(error: BaseException) -> str:
            told.append(str(error))
            return "sorry"

        (socketio.on_error() if which == "on_error" else socketio.on_error_default)(handle)
        client = socketio.test_client(app)
        try:
            return client.emit("tags", callback=True), told
        except TypeError:
            return "nothing", told

    assert play(flask_socketio) == ("nothing", [])
    answer, told = play(flask_socketio_core)
    assert answer == "sorry"
    assert told == [
        'acknowledgement cannot be sent: data[0]["tags"] is of type set: Object of type set is not JSON serializable'
    ]


def test_second_websocket_of_a_session_is_closed_not_refused(reference: OpenStage, ours: OpenStage) -> None:
    def play(stage: Stage) -> str:
        session = Polling(stage.server.port)
        first = WebSocket(stage.server.port, sid=session.sid)
        first.send("2probe")
        first.receive()
        first.send("5")
        first.send("40")
        while not str(first.receive()).startswith("40{"):
            pass
        try:
            WebSocket(stage.server.port, sid=session.sid).wait_closed()
        except Exception as error:  # noqa: BLE001  # the type is what the test wants to see
            return type(error).__name__
        finally:
            first.abort()
        return "closed"

    assert play(reference()) == "WebSocketBadStatusException"
    assert play(ours()) == "closed"


# -- calling and emitting


def test_call_ends_when_the_client_leaves(reference: OpenStage, ours: OpenStage) -> None:
    def play(stage: Stage) -> Any:
        caller, other = stage.client("A"), stage.client("B")
        caller.send(2, ["call and wait", other.sids["/"]], id=1000)
        other.wait_event("question")
        other.abort()
        return caller.read_until(lambda packet: packet.id == 1000).data[0]

    assert play(reference()) == ["TimeoutError", False]
    assert play(ours()) == ["ClientGone", True]


@pytest.mark.parametrize("kind", kind_params(EVENTLET))
def test_join_waits_for_a_background_task(kind: ServerKind, reference: OpenStage, ours: OpenStage) -> None:
    assert kind  # read by open_stage
    assert reference().client().call("join background") == [[]]
    assert ours().client().call("join background") == [["ran"]]


def test_misspelt_keyword_of_emit_is_an_error(reference: OpenStage, ours: OpenStage) -> None:
    assert reference().client().call("emit with typo") == ["sent"]
    (text,) = ours().client().call("emit with typo")
    assert "'brodcast'" in text
    assert "'broadcast'" in text


def test_emit_in_a_plain_view_says_what_is_missing(reference: OpenStage, ours: OpenStage) -> None:
    assert "AttributeError" in reference().server.get("/emit-without-client").text
    answer = ours().server.get("/emit-without-client").text
    assert "ContextError" in answer
    assert "namespace=" in answer


@pytest.mark.parametrize("kind", kind_params(EVENTLET))
@pytest.mark.parametrize("event", ["exit", "exit in the background"])
def test_what_a_handler_raises_ends_no_server(kind: ServerKind, event: str, tmp_path: Path) -> None:
    for library in (REFERENCE, CORE):
        with serving(kind, AppSpec(app="failing", library=library), tmp_path) as server:
            client = WebSocket(server.port)
            client.receive()
            client.send("40")
            client.receive()
            client.send(f'42["{event}"]')
            if library == REFERENCE:
                assert wait_until(lambda: server.process.poll() is not None, timeout_s=5)
            else:
                client.send('421["echo",1]')
                assert client.receive() == "431[1]"


def test_stop_works_in_threading_mode(tmp_path_factory: pytest.TempPathFactory) -> None:
    def play(library: str) -> int:
        directory = tmp_path_factory.mktemp("stop")
        with serving(THREADING, AppSpec(app="scenario", library=library), directory) as server:
            return server.get("/stop").status

    def status(library: str) -> int:
        with contextlib.suppress(OSError, HttpError):
            return play(library)
        return 200  # it stopped before it could answer

    assert status(REFERENCE) == 500
    begin = time.monotonic()
    assert status(CORE) == 200
    assert time.monotonic() - begin < 10


# -- setting up


def test_unknown_option_is_an_error() -> None:
    assert flask_socketio.SocketIO(Flask(__name__), async_mode="threading", ping_intervall=5)
    with pytest.raises(TypeError, match=r"ping_intervall.*did you mean 'ping_interval'"):
        flask_socketio_core.SocketIO(Flask(__name__), async_mode="threading", ping_intervall=5)  # type: ignore[call-arg]


def test_text_is_the_value_that_it_looks_like() -> None:
    def upgrades(library: Any) -> list[str]:
        app = Flask(__name__)
        library.SocketIO(app, async_mode="threading", monitor_clients=False, allow_upgrades="false")
        opened = app.test_client().get("/socket.io/?EIO=4&transport=polling").text
        offered: list[str] = json.loads(opened[1:])["upgrades"]
        return offered

    assert upgrades(flask_socketio) == ["websocket"]
    assert upgrades(flask_socketio_core) == []


EMPTY_HOST = """
import werkzeug.serving
from flask import Flask

import {library} as library

werkzeug.serving.BaseWSGIServer.serve_forever = lambda self, *args, **options: print("at", self.server_address[0])
app = Flask("app")
library.SocketIO(app, async_mode="threading").run(app, host="", port=0, allow_unsafe_werkzeug=True)
"""


def test_empty_host_is_every_address() -> None:
    assert "at 127.0.0.1" in run_program(EMPTY_HOST.format(library="flask_socketio")).stdout
    assert "at 0.0.0.0" in run_program(EMPTY_HOST.format(library="flask_socketio_core")).stdout


OF_WRAP_SOCKET = """
from gevent import monkey
monkey.patch_all()
import gevent.pywsgi
from flask import Flask

import flask_socketio
import flask_socketio_core

gevent.pywsgi.WSGIServer.serve_forever = lambda self: print("serves with", sorted(self.ssl_args))
for library in (flask_socketio, flask_socketio_core):
    app = Flask("app")
    try:
        library.SocketIO(app, async_mode="gevent").run(
            app, port=0, certfile="cert.pem", server_side=True, do_handshake_on_connect=True, suppress_ragged_eofs=True
        )
    except TypeError as error:
        print(error)
"""


def test_arguments_of_wrap_socket_are_errors() -> None:
    pytest.importorskip("gevent")
    theirs, ours = run_program(OF_WRAP_SOCKET).stdout.splitlines()
    assert (
        theirs == "serves with ['certfile', 'do_handshake_on_connect', 'server_side', 'suppress_ragged_eofs']"
    )
    assert ours.startswith("run() got an unexpected keyword argument 'server_side'; ")
    assert "for TLS, ca_certs, cert_reqs, certfile, ciphers, keyfile, password, ssl_context" in ours


def test_use_before_init_app_says_so() -> None:
    with pytest.raises(AttributeError, match=r"NoneType"):
        flask_socketio.SocketIO().emit("event")
    with pytest.raises(errors.NotInitialised, match=r"init_app"):
        flask_socketio_core.SocketIO().emit("event")


@pytest.mark.parametrize("serializer", ["pickle", "cbor"])
def test_serializer_that_does_not_exist_is_an_error(serializer: Any) -> None:
    with pytest.raises(AttributeError, match=r"'str' object has no attribute 'json'"):
        flask_socketio.SocketIO(Flask(__name__), async_mode="threading", serializer=serializer)
    with pytest.raises(ValueError, match=rf"(?s){serializer}.*msgpack"):
        flask_socketio_core.SocketIO(Flask(__name__), async_mode="threading", serializer=serializer)


def test_unknown_async_mode_names_what_is_installed() -> None:
    with pytest.raises(ValueError, match=r"^Invalid async_mode specified$"):
        flask_socketio.SocketIO(Flask(__name__), async_mode="geven")
    with pytest.raises(errors.UnknownPart, match=r"(?s)geven.*threading.*'gevent'"):
        flask_socketio_core.SocketIO(Flask(__name__), async_mode="geven")


@pytest.mark.parametrize("url", ["reddis://127.0.0.1", "nonsense://127.0.0.1"])
def test_unknown_queue_url_names_what_is_installed(url: str) -> None:
    with pytest.raises(Exception, match=r"No such transport|Kombu|transport"):
        flask_socketio.SocketIO(Flask(__name__), async_mode="threading", message_queue=url)
    with pytest.raises(errors.UnknownPart, match=r"(?s)memory"):
        flask_socketio_core.SocketIO(Flask(__name__), async_mode="threading", message_queue=url)


def test_valkey_url_is_served_like_a_redis_url() -> None:
    with pytest.raises(Exception, match=r"valkey|transport"):
        flask_socketio.SocketIO(Flask(__name__), async_mode="threading", message_queue="valkey://127.0.0.1")
    assert flask_socketio_core.SocketIO(
        Flask(__name__), async_mode="threading", message_queue="valkey://127.0.0.1"
    )


def test_client_manager_gives_only_its_url() -> None:
    def make(library: Any, **manager_options: Any) -> tuple[Any, Any]:
        manager = socketio.RedisManager("redis://127.0.0.1:1", **manager_options)
        return manager, library.SocketIO(Flask(__name__), async_mode="threading", client_manager=manager)

    manager, extension = make(flask_socketio)
    assert extension.server.manager is manager
    manager, extension = make(flask_socketio_core)
    assert extension.server.manager is not manager
    with pytest.raises(errors.InvalidOption, match=r"redis_options.*message_queue_options"):
        make(flask_socketio_core, redis_options={"health_check_interval": 5})


def test_test_client_works_with_a_message_queue() -> None:
    def play(library: Any, url: str) -> list[str]:
        app = Flask(__name__)
        extension = library.SocketIO(app, async_mode="threading", message_queue=url)
        client = extension.test_client(app)
        extension.emit("event", "over the queue")
        return [event["name"] for event in client.get_received()]

    with pytest.raises(RuntimeError, match="cannot be used with a message queue"):
        play(flask_socketio, "redis://127.0.0.1:1")
    assert play(flask_socketio_core, "memory://compat") == ["event"]


# -- origins and proxies

OPEN = target(transport="polling")


def open_status(library: Any, headers: dict[str, str], *, config: Any = None, **options: Any) -> int:
    """Return the status of a handshake with an application in this process."""
    app = Flask("origins")
    app.config.update(config or {})
    library.SocketIO(app, async_mode="threading", **options)
    return app.test_client().get(OPEN, headers=headers).status_code


def test_forwarded_host_counts_only_behind_proxyfix() -> None:
    forwarded = {"Host": "inside", "Origin": "https://a.example"}
    forwarded |= {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "a.example"}
    assert open_status(flask_socketio, forwarded) == 200
    assert open_status(flask_socketio_core, forwarded) == 400
    passed_on = {"Host": "a.example", "Origin": "https://a.example", "X-Forwarded-Proto": "https"}
    assert open_status(flask_socketio, passed_on) == open_status(flask_socketio_core, passed_on) == 200


def test_page_without_tls_is_another_origin() -> None:
    headers = {"Host": "a.example", "Origin": "http://a.example", "X-Forwarded-Proto": "https"}
    assert open_status(flask_socketio, headers) == 200
    assert open_status(flask_socketio_core, headers) == 400


@pytest.mark.parametrize(
    ("host", "proto"), [("a.example", "wss"), ("A.example", "https"), ("a.example:443", "https")]
)
def test_origins_are_compared_as_browsers_do(host: str, proto: str) -> None:
    headers = {"Host": host, "Origin": "https://a.example", "X-Forwarded-Proto": proto}
    assert open_status(flask_socketio, headers) == 400
    assert open_status(flask_socketio_core, headers) == 200


@pytest.mark.parametrize("listed", ["a.example", "https://a.example/app"])
def test_listed_origin_that_never_matches_is_an_error(listed: str) -> None:
    headers = {"Host": "b.example", "Origin": "https://a.example"}
    assert open_status(flask_socketio, headers, cors_allowed_origins=[listed]) == 400
    with pytest.raises(errors.InvalidOption, match=r"write 'https://a\.example'"):
        open_status(flask_socketio_core, headers, cors_allowed_origins=[listed])


@needs_trusted_hosts
def test_trusted_hosts_hold_for_our_path() -> None:
    config = {"TRUSTED_HOSTS": ["a.example"]}
    assert open_status(flask_socketio, {"Host": "evil.example"}, config=config) == 200
    assert open_status(flask_socketio_core, {"Host": "evil.example"}, config=config) == 400
    assert open_status(flask_socketio_core, {"Host": "a.example"}, config=config) == 200


def test_proxyfix_put_on_first_reaches_handlers(tmp_path: Path) -> None:
    def seen(library: str) -> Any:
        spec = AppSpec(
            app="origins",
            library=library,
            settings={"mounts": {"/early": {"fix": {"x_for": 1}, "early": True}}},
        )
        with serving(THREADING, spec, tmp_path) as server:
            headers = {"X-Forwarded-For": "203.0.113.9"}
            client = Recorder(server.port, path="/early/socket.io/", headers=headers)
            client.connect()
            (answer,) = client.call("who")
            client.abort()
        return answer[0]

    assert seen(REFERENCE) == "127.0.0.1"
    assert seen(CORE) == "203.0.113.9"


def test_cookie_is_hidden_from_scripts() -> None:
    def cookie(library: Any) -> str:
        app = Flask("cookie")
        library.SocketIO(app, async_mode="threading", cookie="io")
        return app.test_client().get(OPEN).headers["Set-Cookie"]

    assert "HttpOnly" not in cookie(flask_socketio)
    assert "HttpOnly" in cookie(flask_socketio_core)


# -- on the Flask side, seen through the test clients


def make_pair(library: Any, **options: Any) -> tuple[Flask, Any]:
    """Make an application and its extension object."""
    app = Flask(__name__)
    app.secret_key = "only for tests"
    return app, library.SocketIO(app, async_mode="threading", **options)


def test_emit_to_an_empty_list_reaches_nobody() -> None:
    def play(library: Any, to: Any) -> int:
        app, extension = make_pair(library)
        client = extension.test_client(app)
        extension.emit("event", to=to)
        return len(client.get_received())

    nobody: tuple[Any, ...] = ([], "")
    assert [play(flask_socketio, to) for to in nobody] == [1, 1]
    assert [play(flask_socketio_core, to) for to in nobody] == [0, 0]


def test_no_room_is_named_like_a_sid() -> None:
    def play(library: Any) -> list[str]:
        app, extension = make_pair(library)
        extension.on_event("join", library.join_room)
        gone, attacker = extension.test_client(app), extension.test_client(app)
        sid = next(sid for sid, _ in extension.server.manager.get_participants("/", None))
        gone.disconnect()
        with contextlib.suppress(ValueError):
            attacker.emit("join", sid)
        extension.emit("secret", to=sid)
        return [event["name"] for event in attacker.get_received()]

    assert play(flask_socketio) == ["secret"]
    assert play(flask_socketio_core) == []


def test_a_sid_has_its_form() -> None:
    def play(library: Any) -> str:
        app, extension = make_pair(library)
        extension.on_event("who", lambda: library.emit("you", flask.request.sid))
        client = extension.test_client(app)
        client.emit("who")
        return str(client.get_received()[0]["args"][0])

    theirs, ours = play(flask_socketio), play(flask_socketio_core)
    assert (len(theirs), is_sid(theirs)) == (20, False)
    assert (len(ours), is_sid(ours)) == (24, True)


def test_nobody_leaves_the_own_room() -> None:
    def play(library: Any) -> list[str]:
        app, extension = make_pair(library)

        @extension.on("move")
        def move() -> None:
            library.join_room(flask.request.sid)
            for room in library.rooms():
                library.leave_room(room)
            library.emit("moved")
            extension.emit("moved", to=flask.request.sid)

        client = extension.test_client(app)
        client.emit("move")
        return [event["name"] for event in client.get_received()]

    assert play(flask_socketio) == []
    assert play(flask_socketio_core) == ["moved", "moved"]


def test_rooms_of_a_client_are_bounded() -> None:
    def play(library: Any) -> list[str]:
        app, extension = make_pair(library)
        extension.on_event("join", library.join_room)
        client = extension.test_client(app)
        raised = []
        for room in ("x" * 1000, "x" * 1001, *map(str, range(9_998)), "last", "one more"):
            try:
                client.emit("join", room)
            except ValueError:
                raised.append(room[:8])
        return raised

    assert play(flask_socketio) == []
    assert play(flask_socketio_core) == ["x" * 8, "one more"]


def test_rooms_of_users_are_not_joined_by_name() -> None:
    def play(library: Any) -> Any:
        app, extension = make_pair(library)
        extension.on_event("join", lambda room: library.join_room(room))
        client = extension.test_client(app)
        client.emit("join", "@user:7")
        extension.emit("secret", to="@user:7")
        return [event["name"] for event in client.get_received()]

    assert play(flask_socketio) == ["secret"]
    with pytest.raises(ValueError, match="only the clients of that user are in it"):
        play(flask_socketio_core)


def test_call_works_when_handlers_run_in_order() -> None:
    def play(library: Any) -> Any:
        app, extension = make_pair(library, async_handlers=False)
        extension.on_event("ask", lambda: library.call("question", timeout=5))
        client = extension.test_client(app)
        if library is flask_socketio_core:
            client.on("question", lambda: "answer")
        return client.emit("ask", callback=True)

    with pytest.raises(RuntimeError, match="async_handlers is False"):
        play(flask_socketio)
    assert play(flask_socketio_core) == "answer"


def test_class_with_an_error_method_can_refuse_clients() -> None:
    def play(library: Any) -> bool:
        class Refusing(library.Namespace):  # type: ignore[misc]  # its base is chosen at run time
            def on_connect(self) -> None:
                raise library.ConnectionRefusedError("not you")

            def error(self, error: Exception) -> None: ...

        app, extension = make_pair(library)
        extension.on_namespace(Refusing())
        return bool(extension.test_client(app).is_connected())

    assert [play(library) for library in (flask_socketio, flask_socketio_core)] == [True, False]


def test_session_left_to_flask_is_saved_after_a_handled_error() -> None:
    class Counting(SecureCookieSessionInterface):
        saved = 0

        def save_session(self, *args: Any) -> None:
            self.saved += 1

    def play(library: Any) -> int:
        app, extension = make_pair(library, manage_session=False)
        app.session_interface = counting = Counting()
        extension.on_error_default(lambda error: None)

        @extension.on("fail")
        def fail() -> None:
            session["changed"] = True
            raise ValueError

        extension.test_client(app).emit("fail")
        return counting.saved

    assert [play(library) for library in (flask_socketio, flask_socketio_core)] == [0, 1]


def test_log_shows_no_secrets_and_each_line_once(tmp_path: Path) -> None:
    """One client connects with a token and says something long, under ``logging.basicConfig``."""

    def play(library: str) -> list[str]:
        options = {"logger": True, "engineio_logger": True}
        spec = AppSpec(app="logged", library=library, options=options, settings={"configured": True})
        with serving(THREADING, spec, tmp_path) as server:
            client = WebSocket(server.port)
            client.receive()
            client.send('40{"token":"s3cret"}')
            client.receive()
            client.send(json.dumps(["say", "x" * 5000, ""]).join(("42", "")))
            assert wait_until(lambda: "xxxxx" in server.log_text(), timeout_s=5)
            client.abort()
        return server.log_text().splitlines()

    theirs, ours = play(REFERENCE), play(CORE)
    assert any("s3cret" in line for line in theirs)
    assert not any("s3cret" in line for line in ours)
    assert max(map(len, theirs)) > 5000
    assert max(len(line) for line in ours if "xxxxx" in line) < 500
    assert [sum("received event" in line for line in lines) for lines in (theirs, ours)] == [2, 1]


def test_each_application_of_one_object_has_its_own_clients() -> None:
    def play(library: Any) -> list[int]:
        extension = library.SocketIO(async_mode="threading")
        apps = [Flask(name) for name in ("one", "two")]
        clients = []
        for app in apps:
            extension.init_app(app)
            clients.append(extension.test_client(app))
        with apps[0].app_context():
            extension.emit("event")
        return [len(client.get_received()) for client in clients]

    assert [play(library) for library in (flask_socketio, flask_socketio_core)] == [[0, 1], [1, 0]]


def test_option_of_the_engine_changes_for_all_or_not_at_all() -> None:
    def play(library: Any) -> list[float]:
        app, extension = make_pair(library)
        body = app.test_client().get("/socket.io/?EIO=4&transport=polling").text
        extension.server.eio.ping_timeout = 5
        return [json.loads(body[1:])["pingTimeout"] / 1000, extension.server.eio.ping_timeout]

    assert play(flask_socketio) == [20, 5]  # the client waits for 20 s, the server for 5 s
    with pytest.raises(errors.ConfigurationError, match="ping_timeout cannot change any more"):
        play(flask_socketio_core)


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_coroutine_functions_are_awaited() -> None:
    def play(library: Any) -> list[str]:
        app, extension = make_pair(library)
        said: list[str] = []

        @extension.on("say")
        async def say(text: str) -> None:
            said.append(text)

        extension.test_client(app).emit("say", "hello")
        gc.collect()
        return said

    assert play(flask_socketio) == []
    assert play(flask_socketio_core) == ["hello"]


def test_emptied_environ_loses_no_event() -> None:
    def play(library: Any) -> list[int]:
        app, extension = make_pair(library)
        seen: list[int] = []
        extension.on_event("event", lambda number: seen.append(number))
        client = extension.test_client(app)
        for number in (1, 2):
            client.emit("event", number)
            extension.server.environ[client.eio_sid].clear()
        return seen

    assert [play(library) for library in (flask_socketio, flask_socketio_core)] == [[1], [1, 2]]


def test_test_client_refuses_unknown_keywords() -> None:
    def play(library: Any) -> None:
        app, extension = make_pair(library)
        extension.test_client(app).emit("event", brodcast=True)

    play(flask_socketio)
    with pytest.raises(TypeError, match="brodcast"):
        play(flask_socketio_core)


def test_handlers_do_not_share_the_tests_application_context() -> None:
    def play(library: Any) -> Any:
        app, extension = make_pair(library)
        extension.on_event("look", lambda: [g.get("value")])
        with app.app_context():
            g.value = "the test's"
            return extension.test_client(app).emit("look", callback=True)

    assert [play(library) for library in (flask_socketio, flask_socketio_core)] == [["the test's"], [None]]


@pytest.mark.timeout(60)  # two servers of four workers
def test_several_workers_serve_each_client(tmp_path: Path) -> None:
    def come(library: str, patience_s: float) -> set[int]:
        """Return the statuses of the first packets of clients that come all at once, until one is refused."""

        def come_once(_: int) -> int:
            sid = json.loads(server.get(target(transport="polling")).body[1:])["sid"]
            return server.post(target(transport="polling", sid=sid), "40").status

        found: set[int] = set()
        with (
            serving(GTHREAD_WORKERS, AppSpec(app="workers", library=library), tmp_path) as server,
            ThreadPoolExecutor(8) as clients,
        ):
            until_s = time.monotonic() + patience_s  # the first worker is up, and the others soon
            while 400 not in found and time.monotonic() < until_s:
                found.update(clients.map(come_once, range(24)))
        return found

    assert 400 in come(REFERENCE, patience_s=20)
    assert come(CORE, patience_s=4) == {200}
