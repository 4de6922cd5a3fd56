"""An application that PyInstaller freezes by default runs, with every mode that was installed."""

from __future__ import annotations

import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import socketio

from flask_socketio_core.testing.ports import free_port
from support.clients import python_client
from support.servers import HOST, STOP_TIMEOUT_S, wait_for_end, wait_until

if TYPE_CHECKING:
    from support.environments import Environment

#: Seconds for PyInstaller, which looks at every module; 25 on a quiet machine.
BUILD_LIMIT_S = 280

APPLICATION = """
import sys

mode, port, queue = sys.argv[1:]
if mode == "gevent":
    from gevent import monkey

    monkey.patch_all()
elif mode == "eventlet":
    import eventlet

    eventlet.monkey_patch()

from flask import Flask
from flask_socketio_core import SocketIO, emit

app = Flask(__name__)
socketio = SocketIO(app, async_mode=mode, message_queue=queue)


@socketio.on("say")
def say(text):
    emit("said", [text, socketio.async_mode], broadcast=True)
    return text


socketio.run(app, port=int(port), allow_unsafe_werkzeug=True)
"""

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not sysconfig.get_config_var("Py_ENABLE_SHARED"),
        reason="PyInstaller needs a Python with libpython.so",
    ),
]


@pytest.fixture(scope="module")
def program(fresh_environment: Callable[[], Environment], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The application as one folder, built with no option that is about us."""
    environment = fresh_environment()
    environment.install("flask-socketio-core[eventlet,gevent,kombu]", "pyinstaller>=6")
    folder = tmp_path_factory.mktemp("frozen")
    (folder / "talk.py").write_text(APPLICATION)
    environment.run("pyinstaller", "--log-level", "ERROR", "talk.py", cwd=folder, limit_s=BUILD_LIMIT_S)
    return folder / "dist" / "talk" / "talk"


@pytest.fixture
def client() -> Iterator[socketio.Client]:
    client = python_client()
    yield client
    client.disconnect()


@pytest.mark.parametrize(
    ("mode", "queue"),
    [("threading", "memory://"), ("gevent", "kombu+memory://"), ("eventlet", "memory://")],
)
def test_frozen_application_serves(
    program: Path, client: socketio.Client, mode: str, queue: str, tmp_path: Path
) -> None:
    port, log = free_port(), tmp_path / "log"
    said: list[list[str]] = []
    client.on("said", said.append)

    def connected() -> bool:
        try:
            client.connect(f"http://{HOST}:{port}", wait_timeout=5)
        except socketio.exceptions.ConnectionError:
            return process.poll() is not None
        return True

    with log.open("wb") as output:
        process = subprocess.Popen(
            [program, mode, str(port), queue], stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        assert wait_until(connected, timeout_s=20, interval_s=0.2) and client.connected, log.read_text()
        assert client.call("say", "hello", timeout=5) == "hello"
        assert client.transport() == "websocket"
        assert wait_until(lambda: said == [["hello", mode]], timeout_s=5), said
        client.disconnect()
    finally:
        process.terminate()
        wait_for_end(process, STOP_TIMEOUT_S, log.read_text, program.name)
