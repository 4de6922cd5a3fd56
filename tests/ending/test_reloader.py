"""Werkzeug's reloader around the server of every mode."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_socketio_core.testing.ports import free_port
from support.servers import wait_for_end, wait_until
from support.wire.engine import WebSocket
from support.wire.http import HttpError, request

PATCHES = {
    "threading": "",
    "eventlet": "import eventlet; eventlet.monkey_patch()",
    "gevent": "from gevent import monkey; monkey.patch_all()",
}
PROGRAM = """
{patch}
import os
import sys
from flask import Flask
from flask_socketio_core import SocketIO

app = Flask(__name__)
socketio = SocketIO(app, async_mode="{mode}")

@socketio.on("connect")
def connect(): pass

@socketio.on("disconnect")
def disconnect(reason): print("farewell", reason, file=sys.stderr, flush=True)

@app.get("/pid")
def pid(): return str(os.getpid())

@app.get("/stop")
def stop():
    socketio.stop()
    return "stopping"

socketio.run(app, port={port}, debug=True, allow_unsafe_werkzeug=True, reloader_options={{"reloader_type": "stat"}})
"""
pytestmark = pytest.mark.timeout(60)
START_S = 30.0


def modes() -> list[object]:
    """Make parameters of the modes that are installed."""
    return [
        pytest.param(
            mode,
            marks=[]
            if not patch or importlib.util.find_spec(mode) is not None
            else [pytest.mark.skip(reason=f"{mode} is not installed")],
        )
        for mode, patch in PATCHES.items()
    ]


class Reloaded:
    """A program with the reloader on."""

    def __init__(self, mode: str, directory: Path) -> None:
        self.port = free_port()
        self.log = directory / "log.txt"
        self.module = directory / "program.py"
        self.module.write_text(PROGRAM.format(patch=PATCHES[mode], mode=mode, port=self.port))
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(self.module)],
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def pid(self) -> int | None:
        """Ask which process serves; ``None`` if nobody does right now."""
        try:
            return int(request(self.port, "GET", "/pid", timeout_s=2).text)
        except (OSError, HttpError, ValueError):
            return None

    def wait_for_another(self, pid: int | None) -> int:
        """Wait until another process than this one serves."""
        assert wait_until(lambda: self.pid() not in (None, pid), timeout_s=START_S), self.log.read_text()
        found = self.pid()
        assert found is not None
        return found


@pytest.fixture(params=modes())
def program(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Reloaded]:
    """Run the program in each mode."""
    running = Reloaded(request.param, tmp_path)
    yield running
    try:
        os.killpg(running.process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    running.process.wait()


def test_a_changed_file_starts_the_server_again_and_tells_its_clients(program: Reloaded) -> None:
    first = program.wait_for_another(None)
    client = WebSocket(program.port)
    client.receive()
    client.send("40")
    client.receive()
    program.module.write_text(program.module.read_text() + "\n# changed\n")
    client.wait_closed(timeout_s=8)
    second = program.wait_for_another(first)
    assert second != first
    assert wait_until(lambda: "farewell" in program.log.read_text(), timeout_s=3), program.log.read_text()
    assert "Traceback" not in program.log.read_text()


def test_stop_ends_the_reloader_too(program: Reloaded) -> None:
    program.wait_for_another(None)
    assert request(program.port, "GET", "/stop").text == "stopping"
    assert wait_for_end(program.process, 8, program.log.read_text) == 0, program.log.read_text()


def test_ctrl_c_ends_the_reloader(program: Reloaded) -> None:
    program.wait_for_another(None)
    os.killpg(program.process.pid, signal.SIGINT)  # as a terminal does: to both processes
    wait_for_end(program.process, 8, program.log.read_text)
    assert program.pid() is None
