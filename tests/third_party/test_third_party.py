"""A distribution that the core has never heard of is installed, listed, selected and used.

It brings an async mode, a WebSocket provider and a message queue. It is built and installed as a user would do it, in
an environment that knows nothing of this repository; the clients are in the test's process.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flask_socketio_core.testing.ports import free_port
from support.clients import python_client
from support.environments import Environment
from support.servers import HOST, wait_for_end, wait_until
from support.wire.http import HttpError, request

pytestmark = pytest.mark.timeout(300)  # an environment is built from the package index

DISTRIBUTION = Path(__file__).parent / "socketio_tortoise"
READY_S = 30
APP = """
import os, sys
from flask import Flask
from flask_socketio_core import SocketIO, emit

app = Flask(__name__)
socketio = SocketIO(app, message_queue=os.environ.get("QUEUE"))

@app.get("/")
def index():
    return socketio.async_mode

@socketio.on("say")
def say(text):
    emit("said", text, broadcast=True)
    return "ok"

@socketio.on("echo")
def echo(data):
    return data

if __name__ == "__main__":
    socketio.run(app, port=int(sys.argv[1]))
"""
EMITTER = """
import sys
from flask_socketio_core import SocketIO
SocketIO(message_queue=sys.argv[1], async_mode="tortoise").emit("said", "from outside")
"""


@pytest.fixture
def shop(fresh_environment: Callable[[], Environment], tmp_path: Path) -> Environment:
    """An environment with the core and the stranger's distribution, and an application in its folder."""
    environment = fresh_environment()
    wheel = tmp_path / "stranger"
    environment.pip("wheel", "--quiet", "--no-deps", "--wheel-dir", wheel, DISTRIBUTION)
    environment.install(*wheel.glob("*.whl"))
    (environment.folder / "app.py").write_text(APP)
    (environment.folder / "emitter.py").write_text(EMITTER)
    return environment


Serve = Callable[..., int]


@pytest.fixture
def serve(shop: Environment) -> Iterator[Serve]:
    """Return a function that serves the application and returns the port."""
    started: list[tuple[subprocess.Popen[bytes], Path]] = []
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def start(message_queue: str | None = None) -> int:
        port = free_port()
        log = shop.folder / f"log-{port}"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [shop.folder / "bin" / "python", "app.py", str(port)],
                cwd=shop.folder,
                env=inherited | ({} if message_queue is None else {"QUEUE": message_queue}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        started.append((process, log))
        assert wait_until(lambda: answers(port), timeout_s=READY_S), log.read_text()
        return port

    yield start
    for process, log in started:
        process.send_signal(signal.SIGTERM)
        wait_for_end(process, 8, log.read_text)


def answers(port: int) -> bool:
    try:
        return request(port, "GET", "/", timeout_s=5).body == b"tortoise"
    except (OSError, HttpError):
        return False


Connect = Callable[..., "Client"]


class Client:
    """A real client whose events wait in a queue."""

    def __init__(self, port: int, transport: str) -> None:
        self.inner: Any = python_client()
        self.said: queue.Queue[Any] = queue.Queue()
        self.inner.on("said", self.said.put)
        self.inner.connect(f"http://{HOST}:{port}", transports=[transport], wait_timeout=5)


@pytest.fixture
def connect() -> Iterator[Connect]:
    clients: list[Client] = []

    def open_client(port: int, transport: str = "websocket") -> Client:
        clients.append(Client(port, transport))
        return clients[-1]

    yield open_client
    for client in clients:
        client.inner.shutdown()


def plugins(environment: Environment) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(environment.run("flask", "socketio", "plugins", "--json"))
    return found


def part(description: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
    parts = (part for plugin in description["plugins"] for part in plugin["parts"])
    return next(part for part in parts if (part["kind"], part["name"]) == (kind, name))


def test_a_strangers_distribution_is_listed_selected_and_used(
    shop: Environment, serve: Serve, connect: Connect, tmp_path: Path
) -> None:
    # One environment for the whole story: building one takes longer than all the rest.
    listed = plugins(shop)
    plugin = next(plugin for plugin in listed["plugins"] if plugin["name"] == "tortoise")
    assert (plugin["distribution"], plugin["version"], plugin["status"]) == ("socketio-tortoise", "3.1", "ok")

    # selected by priority, before the threading mode that is always there
    mode = part(listed, "async mode", "tortoise")
    assert (mode["selected"], mode["reason"]) == (True, "highest priority of the usable ones, 120")
    assert part(listed, "async mode", "threading")["reason"] == "after tortoise: priority 0 < 120"
    assert listed["websocket_providers"] == ["shell"]
    assert "*  tortoise" in shop.run("flask", "socketio", "plugins")

    # used: polling and WebSocket, text and binary
    port = serve()
    for transport in ("polling", "websocket"):
        client = connect(port, transport)
        assert client.inner.transport() == transport
        assert client.inner.call("echo", {"text": "ä", "bytes": b"\x30\xff"}, timeout=5) == {
            "text": "ä",
            "bytes": b"\x30\xff",
        }

    # selected by URL: two servers and an emitter without one, joined by the stranger's queue
    spool = tmp_path / "spool"
    spool.mkdir()
    here, there = connect(serve(f"spool://{spool}")), connect(serve(f"spool://{spool}"))
    assert here.inner.call("say", "hello", timeout=5) == "ok"
    assert (here.said.get(timeout=10), there.said.get(timeout=10)) == ("hello", "hello")
    shop.run("python", "emitter.py", f"spool://{spool}")
    assert (here.said.get(timeout=10), there.said.get(timeout=10)) == ("from outside", "from outside")

    # an unknown scheme names it
    with pytest.raises(
        pytest.fail.Exception, match=r"'spol://...' is not provided (.|\n)*did you mean 'spool'"
    ):
        shop.run("python", "emitter.py", "spol://nowhere")

    # gone without a trace
    shop.uninstall("socketio-tortoise")
    assert plugins(shop)["async_mode"] == "threading"


def test_uninstalling_moves_the_selection_down_with_the_reason(
    fresh_environment: Callable[[], Environment],
) -> None:
    environment = fresh_environment()
    environment.install("flask-socketio-core[eventlet,gevent]")
    (environment.folder / "app.py").write_text(APP)
    first = plugins(environment)
    assert first["async_mode"] == "eventlet"
    assert part(first, "async mode", "eventlet")["reason"] == "highest priority of the usable ones, 100"
    assert part(first, "async mode", "gevent")["reason"] == "after eventlet: priority 80 < 100"

    environment.uninstall("eventlet")  # of the mode and of its provider nothing can be loaded now
    assert part(plugins(environment), "async mode", "eventlet")["reason"].startswith("missing: eventlet>=")

    environment.uninstall("flask-socketio-async-eventlet")
    second = plugins(environment)
    assert second["async_mode"] == "gevent"
    assert part(second, "async mode", "gevent")["reason"] == "highest priority of the usable ones, 80"
    assert "eventlet" in second["installable"]

    environment.uninstall("gevent")
    third = plugins(environment)
    assert third["async_mode"] == "threading"
    assert part(third, "async mode", "gevent")["reason"].startswith("missing: gevent>=")
    assert part(third, "async mode", "threading")["reason"] == "the only one usable here"

    environment.uninstall("flask-socketio-async-gevent")
    last = plugins(environment)
    assert last["async_mode"] == "threading"
    assert {"eventlet", "gevent"} <= set(last["installable"])
