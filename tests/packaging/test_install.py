"""What a user types works from the wheels, in an environment that has nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.environments import Environment

WHAT_IS_INSTALLED = """
import importlib.metadata as metadata, json
print(json.dumps({
    "distributions": sorted(
        name for d in metadata.distributions() if (name := d.metadata["Name"]).startswith("flask-socketio")
    ),
    "plugins": sorted(point.name for point in metadata.entry_points(group="flask_socketio_core")),
}))
"""

pytestmark = pytest.mark.timeout(300)  # every test here builds an environment from the package index


def installed(environment: Environment) -> dict[str, list[str]]:
    found: dict[str, list[str]] = json.loads(environment.run("python", "-c", WHAT_IS_INSTALLED))
    return found


def test_plain_install_brings_the_threading_mode_and_no_other_plugin(
    fresh_environment: Callable[[], Environment],
) -> None:
    environment = fresh_environment()
    environment.install("flask-socketio-core")
    assert installed(environment) == {
        "distributions": ["flask-socketio-async-threading", "flask-socketio-core"],
        "plugins": ["async-threading"],
    }
    environment.run("python", "-c", "import flask_socketio_core")


def test_extras_bring_their_plugins_and_what_those_need(
    fresh_environment: Callable[[], Environment],
) -> None:
    environment = fresh_environment()
    environment.install("flask-socketio-core[eventlet,redis]")
    assert installed(environment)["plugins"] == ["async-eventlet", "async-threading", "queue-redis"]
    environment.run("python", "-W", "ignore", "-c", "import eventlet, redis")


def test_core_imports_without_any_plugin(fresh_environment: Callable[[], Environment]) -> None:
    environment = fresh_environment()
    environment.install("flask-socketio-core")
    environment.uninstall("flask-socketio-async-threading")
    environment.run("python", "-c", "import flask_socketio_core")
    assert installed(environment)["plugins"] == []
