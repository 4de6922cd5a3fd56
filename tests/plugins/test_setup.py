"""What plugins set up: once per application and process, before the first request; and commands."""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_socketio_core import SocketIO
from flask_socketio_core.cli import socketio as commands
from flask_socketio_core.errors import PluginFailed
from support.plugins import MakeDistribution

SOURCE = """
import os, threading, time
from flask_socketio_core.hookspecs import hookimpl
calls = []
failing = []
slow = []
entered = threading.Event()

@hookimpl
def socketio_setup(socketio, app):
    entered.set()
    if failing:
        raise RuntimeError(failing[0])
    if slow:
        time.sleep(slow[0])
    calls.append(("setup", socketio, app.name, os.getpid()))
    socketio.on_event("added", lambda: "by the plugin")
    app.add_url_rule("/added", "added", lambda: "by the plugin")

@hookimpl
def socketio_teardown(socketio, app):
    calls.append(("teardown", socketio, app.name, os.getpid()))
"""


@pytest.fixture
def plugin(make_distribution: MakeDistribution, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Install a plugin that sets something up; returns its module."""
    pytest.importorskip("flask_socketio_async_threading", reason="no async mode to serve with")
    monkeypatch.setenv("SOCKETIO_LOAD_PLUGINS", "async-threading,queue-memory,feature")
    make_distribution("socketio-feature", plugins={"feature": ("socketio_feature", SOURCE)})
    import socketio_feature  # type: ignore[import-not-found]  # installed a moment ago

    return socketio_feature


def words(plugin: Any) -> list[str]:
    return [call[0] for call in plugin.calls]


def test_socketio_setup_comes_before_the_first_request_of_whatever_kind(plugin: Any) -> None:
    app = Flask("shop")
    socketio = SocketIO(app)
    assert plugin.calls == []
    assert app.test_client().get("/added").text == "by the plugin"
    assert app.test_client().get("/added").status_code == 200
    with socketio.test_client(app) as client:
        assert client.emit("added", callback=True) == "by the plugin"
    assert plugin.calls == [("setup", socketio, "shop", os.getpid())]
    socketio.close()


def test_a_test_client_is_a_first_request_too(plugin: Any) -> None:
    app = Flask("shop")
    socketio = SocketIO(app)
    with socketio.test_client(app) as client:
        assert client.emit("added", callback=True) == "by the plugin"
    socketio.close()


def test_socketio_teardown_ends_what_was_set_up_and_nothing_else(plugin: Any) -> None:
    socketio = SocketIO(app := Flask("shop"))
    socketio.close()
    assert words(plugin) == []
    socketio.binding_of(app).resume()
    app.test_client().get("/added")
    socketio.close()
    assert words(plugin) == ["setup", "teardown"]
    app.test_client().get("/added")
    assert words(plugin) == ["setup", "teardown"], "it serves no more"


def test_socketio_teardown_is_called_in_a_process_that_no_client_came_to(plugin: Any) -> None:
    program = """
import os
from flask import Flask
from flask_socketio_core import SocketIO
import socketio_feature

class Calls(list):
    def append(self, call):
        print(call[0], flush=True)

socketio_feature.calls = Calls()
app = Flask("shop")
SocketIO(app)
app.test_client().get("/added")
print("end", flush=True)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=30
    )
    assert done.stdout.split() == ["setup", "end", "teardown"], done.stderr


def test_what_is_to_be_torn_down_does_not_live_longer_than_its_application(plugin: Any) -> None:
    app = Flask("shop")
    binding = weakref.ref(SocketIO(app).binding_of(app))
    app.test_client().get("/added")
    plugin.calls.clear()
    del app
    gc.collect()
    assert binding() is None


def test_each_application_is_set_up(plugin: Any) -> None:
    socketio = SocketIO()
    for name in ("one", "two"):
        socketio.init_app(app := Flask(name))
        app.test_client().get("/added")
    assert [call[2] for call in plugin.calls] == ["one", "two"]
    socketio.close()


def test_requests_that_come_at_once_wait_for_the_one_that_sets_up(plugin: Any) -> None:
    plugin.slow.append(0.2)
    socketio = SocketIO(app := Flask("shop"))
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(app.test_client().get("/added").text)) for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert found == 5 * ["by the plugin"]
    assert words(plugin) == ["setup"]
    socketio.close()


@pytest.mark.parametrize("moment", ["before", "in the middle of", "after a failed"])
def test_a_forked_worker_is_set_up_again(plugin: Any, moment: str) -> None:
    """Whatever has become of the parent's own set-up, or will."""
    socketio = SocketIO(app := Flask("shop"))
    path = "/socket.io/?EIO=4&transport=polling"
    setting_up = threading.Thread(target=lambda: app.test_client().get("/added"))
    if moment == "in the middle of":
        plugin.slow.append(1)
        setting_up.start()
        assert plugin.entered.wait(10)
    elif moment == "after a failed":
        plugin.failing.append("on purpose")
        with pytest.raises(PluginFailed):
            app.test_client().get(path)
    plugin.calls.clear()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(20)
        plugin.slow.clear()
        plugin.failing.clear()
        try:
            assert app.test_client().get(path).status_code == 200
            answer = app.test_client().get("/added").text
            os.write(
                writing, json.dumps([answer, [call[3] == os.getpid() for call in plugin.calls]]).encode()
            )
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert json.loads(pipe.read()) == ["by the plugin", [True]]
    os.waitpid(child, 0)
    assert plugin.calls == []
    if moment == "in the middle of":
        setting_up.join(10)
    socketio.close()


def test_a_failed_set_up_fails_every_request_to_socketio_and_no_other(
    plugin: Any, caplog: pytest.LogCaptureFixture
) -> None:
    plugin.failing.append("no licence")
    app = Flask("shop")
    app.add_url_rule("/", "home", lambda: "home")
    socketio = SocketIO(app)
    with caplog.at_level(logging.ERROR):
        assert app.test_client().get("/").text == "home"
    assert "'feature' (socketio-feature" in caplog.text
    assert "no licence" in caplog.text
    for _ in range(2):
        with pytest.raises(PluginFailed, match="could not be set up for 'shop': RuntimeError: no licence"):
            app.test_client().get("/socket.io/?EIO=4&transport=polling")
    with pytest.raises(PluginFailed):
        socketio.test_client(app)
    socketio.close()
    assert words(plugin) == []


def test_a_process_that_only_sends_sets_nothing_up(plugin: Any) -> None:
    socketio = SocketIO(message_queue="memory://")
    socketio.emit("news")
    socketio.close()
    assert plugin.calls == []


COMMANDS = """
import click
from flask_socketio_core.hookspecs import hookimpl

@hookimpl
def socketio_cli(group):
    @group.command("greet")
    def greet():
        click.echo("hello")
    @group.command("plugins")
    def plugins():
        click.echo("not ours")
"""


def test_socketio_cli_adds_commands_and_takes_none_of_ours(
    make_distribution: MakeDistribution, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOCKETIO_LOAD_PLUGINS", "greeting,broken")
    make_distribution("socketio-greeting", plugins={"greeting": ("socketio_greeting", COMMANDS)})
    broken = COMMANDS.replace("@group", "raise OSError\n    @group", 1)
    make_distribution("socketio-broken", plugins={"broken": ("socketio_broken", broken)})
    commands.__dict__.pop("_of_plugins", None)
    from click.testing import CliRunner

    try:
        listed = CliRunner().invoke(commands, ["--help"])
        greeting = CliRunner().invoke(commands, ["greet"])
        ours = CliRunner().invoke(commands, ["plugins", "--help"])
    finally:
        commands.__dict__.pop("_of_plugins", None)
    assert "greet" in listed.output
    assert "could not add its commands: OSError" in listed.output
    assert "a plugin has a command 'plugins', which is taken" in listed.output
    assert greeting.output.endswith("hello\n")
    assert "Show which async modes" in ours.output


GROUP = """
import socket
import click
from flask_socketio_core.hookspecs import hookimpl

@hookimpl
def socketio_cli(group):
    tool = click.Group("tool")  # has no function of its own
    group.add_command(tool)
    @tool.group()
    def inner():
        click.echo(f"group {socket.socket.__module__}")
    @inner.command()
    def where():
        click.echo(f"command {socket.socket.__module__}")
"""


def test_a_group_of_commands_is_patched_too(make_distribution: MakeDistribution, tmp_path: Path) -> None:
    pytest.importorskip("flask_socketio_async_gevent", reason="the plugin for gevent is not installed")
    make_distribution("socketio-tool", plugins={"tool": ("socketio_tool", GROUP)})
    (tmp_path / "patched_tool.py").write_text(
        "import flask, flask_socketio_core as core\n\napp = flask.Flask(__name__)\n"
        "core.SocketIO(app, async_mode='gevent', message_queue='memory://')\n"
    )
    found = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "patched_tool", "socketio", "tool", "inner", "where"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert found.returncode == 0, found.stderr
    assert [line.partition(".")[0] for line in found.stdout.splitlines()] == [
        "group gevent",
        "command gevent",
    ]
