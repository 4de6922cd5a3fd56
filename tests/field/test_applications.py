"""Applications written for Flask-SocketIO, shortened to their calls, with a real client."""

from __future__ import annotations

import contextlib
import http.client
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import socketio as protocol_library

from flask_socketio_core.testing.ports import free_port
from support.servers import STOP_TIMEOUT_S, wait_until

APPS = Path(__file__).parent / "apps"
#: Seconds until an application serves, and until an event comes.
READY_S, EVENT_S = 15.0, 5.0


class Application:
    """A program that serves on a port of its own."""

    def __init__(self, name: str, mode: str = "") -> None:
        self.port = free_port()
        self.process = subprocess.Popen(
            [sys.executable, str(APPS / f"{name}.py"), str(self.port)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "MODE": mode},
        )

    def get(self, path: str, cookie: str = "") -> http.client.HTTPResponse:
        """Ask for a page."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=EVENT_S)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"Cookie": cookie, "Connection": "close"})
            response = connection.getresponse()
            response.read()
            return response

    def serves(self) -> bool:
        """Say whether it answers."""
        assert self.process.poll() is None, self.output()
        try:
            return self.get("/nothing").status == 404
        except OSError:
            return False

    def output(self) -> str:
        """End it, unless it has ended, and return what it wrote."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.communicate(timeout=STOP_TIMEOUT_S)[0]


@contextmanager
def serving(name: str, mode: str = "") -> Iterator[Application]:
    """Serve an application, and look for errors in its log afterwards."""
    application = Application(name, mode)
    try:
        assert wait_until(application.serves, timeout_s=READY_S), application.output()
        yield application
    finally:
        output = application.output()
    assert "Traceback" not in output and "[ERROR]" not in output, output


@contextmanager
def connected(
    application: Application, namespace: str = "/", **options: Any
) -> Iterator[protocol_library.SimpleClient]:
    """Connect a client."""
    with protocol_library.SimpleClient() as client:
        query = options.pop("query", "")
        client.connect(
            f"http://127.0.0.1:{application.port}{query}",
            namespace=namespace,
            wait_timeout=READY_S,
            **options,
        )
        yield client


def test_gdbgui() -> None:
    with serving("gdbgui") as application:
        cookie = application.get("/").headers["Set-Cookie"].partition(";")[0]
        with (
            connected(application, "/terminal", query="?command=gdb", headers={"Cookie": cookie}) as one,
            connected(application, "/terminal") as other,
        ):
            assert one.receive(EVENT_S) == ["attached", {"user": "me", "command": "gdb"}]
            assert other.receive(EVENT_S) == ["attached", {"user": None, "command": "sh"}]
            one.emit("write", {"key": "a"})
            assert one.receive(EVENT_S) == ["output", "A"]
            assert one.transport == "polling"  # server_options["allow_upgrades"] = False


def test_rotorhazard() -> None:
    pytest.importorskip("gevent")
    with serving("rotorhazard") as application, connected(application) as client:
        assert client.receive(EVENT_S) == ["load_all", {"limit": 50_000_000}]
        for data in ({"mode": "mirror"}, None):
            client.emit("join_cluster_ex", *([data] if data else []))
            assert client.receive(EVENT_S) == ["join_cluster_response", {"mode": data and data["mode"]}]
        client.emit("plugin", {"name": "leds"})
        assert client.receive(EVENT_S) == ["plugin_list", {"name": "leds"}]
        assert client.call("errors", timeout=EVENT_S) == []
        client.emit("shutdown")
        assert client.receive(EVENT_S)[0] == "priority_message"
        assert application.process.wait(STOP_TIMEOUT_S) == 0


def test_koboldai() -> None:
    pytest.importorskip("eventlet")
    with serving("koboldai") as application, connected(application) as client:
        assert client.receive(EVENT_S) == ["from_server", {"cmd": "setstoryname", "data": "writer"}]
        client.emit("message", {"data": "once"})
        assert client.receive(EVENT_S) == ["from_server", {"cmd": "updatescreen", "data": "writer: once"}]
        assert application.get("/load").status == 200
        assert client.receive(EVENT_S) == ["from_server", {"cmd": "model_load_status", "data": "50 %"}]


@pytest.mark.parametrize("mode", ["threading", "gevent", "eventlet"])
def test_attributes_of_a_running_server(mode: str) -> None:
    if mode != "threading":
        pytest.importorskip(mode)
    with serving("monitor", mode) as application, connected(application, transports=["polling"]) as polling:
        with connected(application, "/peers", transports=["websocket"]) as peer:
            assert peer.call("room:join", "lobby", timeout=EVENT_S) == [peer.sid]
            state = polling.call("state", timeout=EVENT_S)
            assert state["clients"] == 2 and state["serving"] and state["back"]
            assert state["rooms"] == {"/": ["", polling.sid], "/peers": ["", peer.sid, "lobby"]}
            assert state["socket"] == [True, False, False, 0]
            assert state["options"] == [15, 20, mode, None, None]
            assert state["handlers"] == ["clear", "kick", "state", "stop"] and state["classes"] == ["/peers"]
        with connected(application, transports=["websocket"]) as victim:
            assert victim.call("state", timeout=EVENT_S)["socket"] == [True, False, True, 0]
            assert victim.call("clear", timeout=EVENT_S) == 2
            victim.client.reconnection = False  # type: ignore[union-attr]  # it is connected
            polling.emit("kick", victim.sid)
            assert wait_until(lambda: not victim.connected, timeout_s=EVENT_S)
        assert polling.call("state", timeout=EVENT_S)["clients"] == 1
        polling.emit("stop")
        assert application.process.wait(STOP_TIMEOUT_S) == 0
