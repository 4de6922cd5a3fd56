"""The plugin that the README shows in 20 lines is installed by pip and works."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from support.documents import page
from support.environments import Environment

README = page("README.md")

pytestmark = pytest.mark.timeout(300)  # builds an environment from the package index

SLOW_APP = """
import logging
import sys

from flask import Flask

from flask_socketio_core import SocketIO

logging.basicConfig(format="%(name)s: %(message)s", stream=sys.stdout)
app = Flask(__name__)
socketio = SocketIO(app)


@socketio.on("nap")
def nap():
    socketio.sleep(0.6)


@socketio.on("blink")
def blink():
    pass


with socketio.test_client(app) as client:
    client.emit("blink")
    client.emit("nap")
print([plugin.hooks for plugin in socketio.plugins.plugins if plugin.name == "slowlog"])
"""


def test_the_plugin_of_the_readme_is_installed_and_observes(
    fresh_environment: Callable[[], Environment], tmp_path: Path
) -> None:
    project = tmp_path / "slowlog"
    README.write(project, "pyproject.toml", "socketio_slowlog.py")
    (tmp_path / "slow.py").write_text(SLOW_APP)
    installed = fresh_environment()
    installed.install(project)
    output = installed.run("python", tmp_path / "slow.py")
    warning, hooks = output.splitlines()
    assert re.fullmatch(r"slowlog: nap of client \S+ took 0\.\d s", warning)
    assert hooks == "[('socketio_event_after',)]"
    assert "slowlog" in installed.run("flask", "socketio", "plugins")
