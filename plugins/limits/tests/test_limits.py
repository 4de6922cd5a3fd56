"""Events and connects beyond a limit are refused with the time to wait, in every mode, in memory and in Redis."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from limits.strategies import STRATEGIES

from flask_socketio_core import SocketBlueprint, SocketIO
from flask_socketio_core.errors import ContextError, InvalidOption, PluginFailed
from flask_socketio_limits import limit
from flask_socketio_limits.limiter import EXTENSION
from support.brokers import Broker, RedisBroker, running
from support.servers import (
    MODE_KINDS,
    THREADING,
    AppSpec,
    Server,
    ServerKind,
    kind_params,
    serving,
    wait_until,
)
from support.wire.engine import WebSocket

pytestmark = pytest.mark.timeout(60)

LIMITS = {
    "SOCKETIO_LIMITS_BY_EVENT": {"chat.*": "2/hour", "say": "1/hour; 100/day"},
    "SOCKETIO_LIMITS_CONNECTS": "40/hour",
}
REFUSED = {"error": "rate limited"}


class Person:
    """A client that asks and waits for the acknowledgement."""

    def __init__(self, server: Server, namespace: str = "/", auth: Any = None) -> None:
        self.prefix = "" if namespace == "/" else f"{namespace},"
        self.socket = WebSocket(server.port)
        self.socket.receive()
        self.socket.send(f"40{self.prefix}{json.dumps(auth)}")
        self.answer = self._receive()

    def ask(self, event: str, *args: Any) -> Any:
        self.socket.send(f"42{self.prefix}1{json.dumps([event, *args])}")
        kind = f"43{self.prefix}1"
        answer = self._receive()
        assert answer.startswith(kind), answer
        (given,) = json.loads(answer.removeprefix(kind))
        return given

    def _receive(self) -> str:
        found = self.socket.receive()
        assert isinstance(found, str)
        return found


Serve = Callable[..., Server]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    with ExitStack() as stack:

        def start(kind: ServerKind = THREADING, **settings: Any) -> Server:
            folder = tmp_path / str(len(list(tmp_path.iterdir())))
            folder.mkdir()
            return stack.enter_context(serving(kind, AppSpec(app="limited", settings=settings), folder))

        yield start


def refused(answer: Any, most_s: float = 3600) -> bool:
    """Return whether an event was refused, with a time to wait within an hour."""
    return isinstance(answer, dict) and answer | REFUSED == answer and 0 < answer["retry_after"] <= most_s


@pytest.mark.parametrize("kind", kind_params(*MODE_KINDS))
def test_what_is_beyond_a_limit_is_refused_with_the_time_to_wait(serve: Serve, kind: ServerKind) -> None:
    server = serve(kind, **LIMITS)
    ann, ben = Person(server), Person(server)
    assert ann.ask("say") == "done"
    assert refused(ann.ask("say"))
    assert ben.ask("say") == "done"  # has limits of their own
    assert [ann.ask("chat.say"), ann.ask("chat.say")] == ["done", "done"]
    assert refused(ann.ask("chat.say"))
    assert [ann.ask("look") for _ in range(5)] == ["done"] * 5  # matches no pattern

    cat, dan = Person(server, auth="cat"), Person(server, auth="cat")
    assert [cat.ask("login", "cat"), dan.ask("login", "cat")] == ["hello cat"] * 2
    assert refused(dan.ask("login", "cat"))  # two clients, one user
    assert Person(server, auth="eve").ask("login", "eve") == "hello eve"

    lobby = Person(server, "/lobby")
    assert lobby.ask("open") == "open"
    assert refused(lobby.ask("open"))  # a method of a namespace

    for _ in range(40):
        last = Person(server)
        if last.answer.startswith("44"):
            break
    error = json.loads(last.answer.removeprefix("44"))
    assert error["message"] == "rate limited"
    assert 0 < error["data"]["retry_after"] <= 3600


def test_a_limit_ends_with_its_window(serve: Serve) -> None:
    server = serve(SOCKETIO_LIMITS_EVENTS="1/second", SOCKETIO_LIMITS_STRATEGY="moving-window")
    ann = Person(server)
    assert ann.ask("look") == "done"
    assert refused(ann.ask("look"), most_s=1)
    assert wait_until(lambda: ann.ask("look") == "done", timeout_s=5, interval_s=0.2)


def test_processes_share_a_count_in_redis(serve: Serve, redis_broker: Broker) -> None:
    shared = {
        "SOCKETIO_LIMITS_EVENTS": "3/hour",
        "SOCKETIO_LIMITS_KEY": "address",
        "SOCKETIO_LIMITS_STORAGE": redis_broker.url,
        "SOCKETIO_LIMITS_STORAGE_OPTIONS": {"key_prefix": "test-limits"},
    }
    ann, ben = Person(serve(**shared)), Person(serve(**shared))
    assert [ann.ask("look"), ben.ask("look"), ann.ask("look")] == ["done"] * 3
    assert refused(ben.ask("look"))
    assert refused(ann.ask("look"))


@pytest.mark.parametrize("kind", kind_params(*MODE_KINDS))
def test_a_storage_that_is_away_is_told_once_and_asked_again(serve: Serve, kind: ServerKind) -> None:
    with running(RedisBroker()) as broker:
        limits = {"SOCKETIO_LIMITS_EVENTS": "2/hour", "SOCKETIO_LIMITS_STORAGE": broker.url}
        careless = serve(kind, **limits)
        careful = serve(kind, **limits, SOCKETIO_LIMITS_WHEN_AWAY="refuse")
        ann, ben = Person(careless), Person(careful)
        assert [ann.ask("look"), ben.ask("look")] == ["done"] * 2
        with broker.outage():
            assert [ann.ask("look") for _ in range(5)] == ["done"] * 5
            assert all(refused(ben.ask("look"), most_s=5) for _ in range(5))
        assert wait_until(lambda: ben.ask("look") == "done", timeout_s=20, interval_s=0.5)
        assert wait_until(lambda: refused(ann.ask("look")), timeout_s=20, interval_s=0.5)
    for server, what in ((careless, "let pass"), (careful, "refused")):
        log = server.log_text()
        assert log.count("cannot be reached") == 1
        assert f"events and connects are {what}" in log
        assert log.count("the storage of rate limits is back") == 1


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("SOCKETIO_LIMITS_EVENTS", "often", "cannot read 'often', expected for example '10/second'"),
        ("SOCKETIO_LIMITS_BY_EVENT", {"say": 5}, "expected a dict of limits by event"),
        ("SOCKETIO_LIMITS_KEY", "name", "expected one of client, user, address"),
        ("SOCKETIO_LIMITS_STRATEGY", "leaky", "expected one of fixed-window, moving-window"),
        ("SOCKETIO_LIMITS_WHEN_AWAY", "wait", "expected one of allow, refuse"),
    ],
)
def test_a_setting_that_cannot_be_is_named(key: str, value: Any, text: str) -> None:
    app = Flask(__name__)
    app.config[key] = value
    with pytest.raises(InvalidOption, match=text) as error:
        SocketIO(app, async_mode="threading")
    assert key in str(error.value)


def test_a_storage_that_nobody_knows_is_named_at_the_start_without_its_password() -> None:
    app = Flask(__name__)
    app.config["SOCKETIO_LIMITS_STORAGE"] = "nowhere://:s3cret@host"
    with pytest.raises(PluginFailed) as error:
        SocketIO(app, async_mode="threading").test_client(app)
    assert "SOCKETIO_LIMITS_STORAGE" in str(error.value)
    assert "s3cret" not in str(error.value)


def test_a_decorator_that_cannot_be_is_named() -> None:
    with pytest.raises(ValueError, match="cannot read 'often'"):
        limit("often")
    with pytest.raises(ValueError, match="expected one of client, user, address"):
        limit("1/second", key="name")


def test_without_a_limit_nothing_is_around_handlers() -> None:
    app = Flask(__name__)
    socketio = SocketIO(app, async_mode="threading")
    socketio.test_client(app)
    plugins = app.extensions["socketio"]._plugins_here()
    assert "limits" in {plugin.name for plugin in plugins.describe().plugins}
    assert not plugins.surrounds_events
    assert not plugins.surrounds_connects


def test_a_function_says_who_has_the_limit() -> None:
    app = Flask(__name__)
    app.config |= {"SOCKETIO_LIMITS_EVENTS": "1/hour", "SOCKETIO_LIMITS_KEY": lambda client: "all"}
    socketio = SocketIO(app, async_mode="threading")
    socketio.on("look")(lambda: "done")
    ann, ben = socketio.test_client(app), socketio.test_client(app)
    assert ann.emit("look", callback=True) == "done"
    assert refused(ben.emit("look", callback=True))


def alone(client: Any) -> str:
    """Count everybody together."""
    return "all"


def test_a_decorator_counts_above_the_registration_too() -> None:
    app = Flask(__name__)
    socketio = SocketIO(app, async_mode="threading")
    blueprint = SocketBlueprint("/admin")

    @limit("1/hour")
    @socketio.on("look")
    @blueprint.on("look")
    def look() -> str:
        return "done"

    socketio.register_blueprint(blueprint)
    for namespace in ("/", "/admin"):
        ann = socketio.test_client(app, namespace=namespace)
        assert ann.emit("look", namespace=namespace, callback=True) == "done"
        assert refused(ann.emit("look", namespace=namespace, callback=True))


@pytest.mark.parametrize("above", [False, True])
def test_a_coroutine_function_may_have_a_limit(above: bool) -> None:
    app = Flask(__name__)
    socketio = SocketIO(app, async_mode="threading")
    around: list[Callable[..., Any]] = [limit("1/hour"), socketio.on("look")]

    async def look() -> str:
        await asyncio.sleep(0)
        return "done"

    inner, outer = reversed(around) if above else around
    outer(inner(look))
    ann = socketio.test_client(app)
    assert ann.emit("look", callback=True) == "done"
    assert refused(ann.emit("look", callback=True))


def test_a_connect_handler_with_a_limit_refuses_and_a_disconnect_handler_always_runs() -> None:
    app = Flask(__name__)
    socketio = SocketIO(app, async_mode="threading")
    gone = []

    @socketio.on("connect")
    @limit("2/hour", key=alone)
    def enter() -> None: ...

    @socketio.on("disconnect")
    @limit("1/hour", key=alone)
    def leave(reason: str) -> None:
        gone.append(reason)

    ann, ben, cat = (socketio.test_client(app) for _ in range(3))
    ann.disconnect()
    ben.disconnect()
    assert len(gone) == 2
    with pytest.raises(RuntimeError, match=r"'rate limited'.*'retry_after'"):
        cat.get_received()


def test_each_application_of_one_object_has_its_own_limits() -> None:
    socketio = SocketIO(async_mode="threading")
    socketio.on("look")(lambda: "done")
    free, strict, stricter = Flask("free"), Flask("strict"), Flask("stricter")
    strict.config["SOCKETIO_LIMITS_EVENTS"] = "2/hour"
    stricter.config["SOCKETIO_LIMITS_EVENTS"] = "1/hour"
    clients = []
    for app in (free, strict, stricter):
        socketio.init_app(app)
        clients.append(socketio.test_client(app))
    passed = [[ann.emit("look", callback=True) for _ in range(3)].count("done") for ann in clients]
    assert passed == [3, 2, 1]


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_nothing_is_kept_of_clients_that_left_nor_a_thread(strategy: str) -> None:
    threads = set(threading.enumerate())
    app = Flask(__name__)
    app.config |= {
        "SOCKETIO_LIMITS_EVENTS": "10/minute; 100/day",
        "SOCKETIO_LIMITS_BY_EVENT": {"l*": "50/day"},
        "SOCKETIO_LIMITS_STRATEGY": strategy,
    }
    socketio = SocketIO(app, async_mode="threading")
    socketio.on("look")(limit("20/day")(lambda: "done"))
    clients = [socketio.test_client(app) for _ in range(5)]
    assert [ann.emit("look", callback=True) for ann in clients] == ["done"] * 5
    storage = app.extensions[EXTENSION]._limiter.storage
    assert len(storage) == 5 * 4
    for ann in clients:
        ann.disconnect()
    assert len(storage) == 0
    begun = set(threading.enumerate()) - threads
    assert not any(isinstance(thread, threading.Timer) for thread in begun)


def test_a_storage_that_does_not_answer_is_waited_for_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        app = Flask(__name__)
        app.config |= {
            "SOCKETIO_LIMITS_EVENTS": "1/hour",
            "SOCKETIO_LIMITS_STORAGE": f"redis://127.0.0.1:{silent.getsockname()[1]}/0",
            "SOCKETIO_LIMITS_STORAGE_OPTIONS": {"socket_timeout": 0.2},
        }
        socketio = SocketIO(app, async_mode="threading")
        socketio.on("look")(lambda: "done")
        ann = socketio.test_client(app)
        began_s = time.monotonic()
        assert [ann.emit("look", callback=True) for _ in range(100)] == ["done"] * 100
        assert time.monotonic() - began_s < 15  # 100 time-outs are 20


FORKS = """
import os
from flask import Flask
from flask_socketio_core import SocketIO
app = Flask("forks")
app.config["SOCKETIO_LIMITS_EVENTS"] = "1/hour"
socketio = SocketIO(app, async_mode="threading")
socketio.on("look")(lambda: "done")
def passed():
    ann = socketio.test_client(app)
    return [ann.emit("look", callback=True) for _ in range(3)].count("done")
def storage():
    return app.extensions["flask_socketio_limits"]._limiter.storage
first, before = passed(), storage()
child = os.fork()
if not child:
    again = passed()
    os._exit(10 + again if storage() is not before else 0)
print(first, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_child_counts_once_and_for_itself() -> None:
    program = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKS]
    ended = subprocess.run(program, capture_output=True, text=True, timeout=40, check=False)
    assert ended.stdout.split() == ["1", "11"], ended.stderr


def test_a_handler_with_a_limit_says_that_the_plugin_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOCKETIO_LOAD_PLUGINS", "async-threading")
    app = Flask(__name__)
    socketio = SocketIO(app, async_mode="threading")
    socketio.on("look")(limit("1/hour")(lambda: "done"))
    with pytest.raises(ContextError, match="'limits' is not loaded"):
        socketio.test_client(app).emit("look")


def test_a_storage_for_asyncio_is_refused_at_the_start() -> None:
    app = Flask(__name__)
    app.config["SOCKETIO_LIMITS_STORAGE"] = "async+memory://"
    with pytest.raises(PluginFailed, match="no async one"):
        SocketIO(app, async_mode="threading").test_client(app)
