"""`flask socketio run` serves with the selected mode, patched from the start where the mode wants it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask

from flask_socketio_core import SocketIO
from flask_socketio_core.testing.ports import free_port
from support.clients import python_client
from support.servers import (
    HOST,
    STOP_TIMEOUT_S,
    descendants,
    find_program,
    wait_for_end,
    wait_until,
)
from support.wire.http import HttpError, request

Invoke = Callable[..., Result]
READY_S = 30
pytestmark = pytest.mark.timeout(60)  # processes start, some three times; the reloader looks once a second
APP = """
import socket
from flask import Flask
from flask_socketio_core import SocketIO

#: Who owns socket.socket when this module is imported: too late to patch for whatever took it from there before.
OWNER = socket.socket.__module__.partition(".")[0]

app = Flask(__name__)
socketio = SocketIO(app, {options})

@app.get("/")
def index():
    return f"{{socketio.async_mode}} {{OWNER}} {word}"

@socketio.on("double")
def double(number):
    return number * 2
"""


class Running:
    """A server that a test has started."""

    def __init__(self, folder: Path, command: list[str]) -> None:
        self.port = free_port()
        self.output = folder / "output"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [*command, "--host", HOST, "--port", str(self.port), "--allow-unsafe-werkzeug"],
                cwd=folder,
                env={
                    name: value
                    for name, value in os.environ.items()
                    if not name.startswith(("FLASK_", "SOCKETIO_"))
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def page(self) -> str:
        """Return the first answer, or what the server wrote if it ended."""
        answers: list[str] = []

        def answered() -> bool:
            try:
                answers.append(request(self.port, "GET", "/", timeout_s=5).body.decode())
            except (OSError, HttpError):
                return self.process.poll() is not None
            return True

        wait_until(answered, timeout_s=READY_S)
        assert answers, self.output.read_text()
        return answers[0]

    def call(self, event: str, argument: int) -> object:
        """Ask over a real client's WebSocket."""
        client = python_client()
        client.connect(f"http://{HOST}:{self.port}", transports=["websocket"], wait_timeout=5)
        try:
            answer: object = client.call(event, argument, timeout=5)
        finally:
            client.shutdown()
        return answer

    def started_again(self) -> bool:
        """Say whether the process was replaced by one that is patched from its start."""
        return b"importlib.import_module" in Path(f"/proc/{self.process.pid}/cmdline").read_bytes()

    def stop(self) -> None:
        # The reloader's child outlives its parent when that is killed.
        children = descendants(self.process.pid)
        self.process.terminate()
        try:
            wait_for_end(self.process, STOP_TIMEOUT_S, self.output.read_text)
        finally:
            self.process.kill()
            self.process.wait()
            for pid in children:
                _kill(pid)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, 9)
    except ProcessLookupError:
        return


@pytest.fixture
def write_app(tmp_path: Path) -> Callable[..., None]:
    def write(options: str = "", word: str = "first") -> None:
        (tmp_path / "app.py").write_text(APP.format(options=options, word=word))

    return write


@pytest.fixture
def start(tmp_path: Path, write_app: Callable[..., None]) -> Iterator[Callable[..., Running]]:
    """Return a function that starts ``flask socketio run`` in a folder with ``app.py``."""
    write_app()
    running: list[Running] = []

    def start(*options: str, flask: tuple[str, ...] = (sys.executable, "-m", "flask")) -> Running:
        running.append(Running(tmp_path, [*flask, "socketio", "run", *options]))
        return running[-1]

    yield start
    for server in running:
        server.stop()


def need(mode: str) -> None:
    pytest.importorskip(f"flask_socketio_async_{mode}", reason=f"the plugin for {mode} is not installed")


def test_it_serves_with_threads(start: Callable[..., Running]) -> None:
    server = start("--async-mode", "threading")
    assert server.page() == "threading socket first"
    assert server.call("double", 21) == 42


@pytest.mark.parametrize("mode", ["gevent", "eventlet"])
def test_a_green_mode_is_patched_before_the_application_is_imported(
    start: Callable[..., Running], mode: str
) -> None:
    need(mode)
    server = start("--async-mode", mode)
    assert server.page() == f"{mode} {mode} first"
    assert server.call("double", 21) == 42


def test_the_mode_that_the_application_asks_for_is_patched_too(
    start: Callable[..., Running], write_app: Callable[..., None]
) -> None:
    need("gevent")
    write_app("async_mode='gevent'")
    assert start().page() == "gevent gevent first"


def test_an_application_that_patches_in_its_first_line_is_patched_earlier(
    start: Callable[..., Running], tmp_path: Path
) -> None:
    need("gevent")
    late = APP.format(options="", word="late")
    (tmp_path / "app.py").write_text("import gevent.monkey; gevent.monkey.patch_all()\n" + late)
    server = start()
    assert server.page().startswith("gevent gevent ")
    # The first load, which finds out what is to be patched, warns; the process that serves is a new one.
    assert server.output.read_text().count("MonkeyPatchWarning") <= 1
    assert server.started_again()


def test_the_command_line_wins_over_the_application(
    start: Callable[..., Running], write_app: Callable[..., None]
) -> None:
    need("gevent")
    write_app("async_mode='gevent'")
    assert start("--async-mode", "threading").page() == "threading socket first"


def test_the_script_of_flask_can_be_started_again_as_well(start: Callable[..., Running]) -> None:
    need("gevent")
    script = find_program("flask")
    if script is None:
        pytest.skip("there is no flask script")
    assert start("--async-mode", "gevent", flask=(script,)).page() == "gevent gevent first"


def test_a_patched_process_has_no_late_patching_warning(start: Callable[..., Running]) -> None:
    need("gevent")
    server = start("--async-mode", "gevent")
    server.page()
    assert "MonkeyPatchWarning" not in server.output.read_text()


@pytest.mark.parametrize("mode", ["threading", "gevent"])
def test_the_reloader_serves_what_was_changed(
    start: Callable[..., Running], write_app: Callable[..., None], mode: str
) -> None:
    need(mode)
    server = start("--async-mode", mode, "--reload")
    assert server.page().endswith("first")
    write_app(word="second")
    assert wait_until(lambda: server.page().endswith("second"), timeout_s=READY_S)
    assert mode in server.page()


@pytest.mark.parametrize("mode", ["threading", "gevent"])
def test_the_reloader_survives_an_application_that_cannot_be_imported(
    start: Callable[..., Running], write_app: Callable[..., None], tmp_path: Path, mode: str
) -> None:
    need(mode)
    server = start("--async-mode", mode, "--reload")
    assert server.page().endswith("first")
    (tmp_path / "app.py").write_text("nonsense(")
    assert wait_until(lambda: "Internal Server Error" in server.page(), timeout_s=READY_S)
    assert "SyntaxError" in server.output.read_text()

    def mended() -> bool:
        # More than once: what is written before the reloader looked for the first time is no change to it.
        write_app(word="mended")
        return wait_until(lambda: server.page().endswith("mended"), timeout_s=5)

    assert wait_until(mended, timeout_s=2 * READY_S)


def test_debug_shows_the_debugger(start: Callable[..., Running], tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP.format(options="", word="{1 / 0}"))
    server = start("--async-mode", "threading", "--debug", "--no-reload")
    assert re.search("ZeroDivisionError.*Werkzeug Debugger", server.page(), re.DOTALL)


def test_an_unknown_mode_is_refused_in_one_line(invoke: Invoke) -> None:
    result = invoke(lambda: Flask("never loaded"), "run", "--async-mode", "thraeding")
    assert result.exit_code == 1
    assert "Error: --async-mode thraeding is not provided by any installed plugin" in result.output
    assert "did you mean 'threading'?" in result.output


def test_an_application_without_socketio_is_refused(invoke: Invoke) -> None:
    result = invoke(lambda: Flask("shop"), "run")
    assert result.exit_code == 1
    assert "'shop' has no SocketIO object" in result.output


def test_the_options_reach_run(invoke: Invoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # What a web server does with them is its plugin's test; here only the way to it.
    seen: dict[str, object] = {}
    monkeypatch.setattr(SocketIO, "run", lambda self, app, **options: seen.update(options))
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    certificate.touch()
    key.touch()

    def make_app() -> Flask:
        app = Flask("shop")
        SocketIO(app)
        return app

    tls = ("--cert", str(certificate), "--key", str(key))
    result = invoke(make_app, "run", "-h", "::1", "-p", "80", *tls, "--log-output", "--extra-files", "a.txt")
    assert result.exit_code == 0, result.output
    assert seen == {
        "host": "::1",
        "port": 80,
        "debug": False,
        "use_reloader": False,
        "reloader_options": {"extra_files": ["a.txt"]},
        "log_output": True,
        "allow_unsafe_werkzeug": False,
        "certfile": str(certificate),
        "keyfile": str(key),
    }


def test_a_key_needs_a_certificate(invoke: Invoke, tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.touch()
    result = invoke(lambda: Flask("shop"), "run", "--key", str(key))
    assert result.exit_code == 2
    assert "needs a certificate file in --cert" in result.output
