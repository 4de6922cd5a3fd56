"""What a user types works from the wheels, in an environment that has nothing else."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.environments import ROOT, run

if TYPE_CHECKING:
    from support.environments import Environment

#: The core registers its queue within one process as any plugin would.
THE_CORES_QUEUE = "queue-memory"
TEST_TOOLS = (
    "flask-login",
    "hypothesis",
    "msgpack",
    "pytest",
    "pytest-timeout",
    "python-socketio[client]",
)
#: Tests whose subject is the core itself, and none of the servers and queues that plugins bring.
THE_CORES_OWN = ("concurrency", "extension", "plugins", "server", "testing")

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


def test_plain_install_brings_what_serves_with_one_worker_or_several_and_no_other_distribution(
    fresh_environment: Callable[[], Environment],
) -> None:
    environment = fresh_environment()
    environment.install("flask-socketio-core")
    assert installed(environment) == {
        "distributions": [
            "flask-socketio-async-threading",
            "flask-socketio-core",
            "flask-socketio-queue-host",
        ],
        "plugins": ["async-threading", "queue-host", THE_CORES_QUEUE],
    }
    environment.run("python", "-c", "import flask_socketio_core")


def test_extras_bring_their_plugins_and_what_those_need(
    fresh_environment: Callable[[], Environment],
) -> None:
    environment = fresh_environment()
    environment.install("flask-socketio-core[eventlet,redis]")
    assert installed(environment)["plugins"] == [
        "async-eventlet",
        "async-threading",
        "queue-host",
        THE_CORES_QUEUE,
        "queue-redis",
    ]
    environment.run("python", "-W", "ignore", "-c", "import eventlet, redis")


def test_the_readme_s_command_installs_a_checkout_without_an_index_that_knows_us(
    fresh_environment: Callable[[], Environment], tmp_path: Path
) -> None:
    environment = fresh_environment()
    (command,) = re.findall(
        r"^pip install (\. \./plugins/.*)$", (ROOT / "README.md").read_text(), re.MULTILINE
    )
    checkout = tmp_path / "checkout"
    listed = run("git", "ls-files", "-z", cwd=ROOT) if (ROOT / ".git").exists() else None
    if listed is None:
        pytest.skip("this is no checkout")
    for name in filter(None, listed.split("\0")):
        needed = "/" not in name or name.startswith(("flask_socketio_core/", "plugins/"))
        if needed and (ROOT / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, checkout / name)
    environment.run("python", "-m", "ensurepip")
    environment.run("python", "-m", "pip", "install", "--quiet", *command.split(), cwd=checkout)
    assert installed(environment)["plugins"] == [
        "async-gevent",
        "async-threading",
        "queue-host",
        THE_CORES_QUEUE,
        "queue-redis",
    ]


def test_core_imports_without_any_plugin(fresh_environment: Callable[[], Environment]) -> None:
    environment = fresh_environment()
    environment.install("flask-socketio-core")
    for plugin in ("flask-socketio-async-threading", "flask-socketio-queue-host"):
        environment.uninstall(plugin)
    environment.run("python", "-c", "import flask_socketio_core")
    assert installed(environment)["plugins"] == [THE_CORES_QUEUE]


@pytest.mark.timeout(600)
def test_core_passes_its_tests_with_no_other_plugin_no_broker_and_no_network(
    fresh_environment: Callable[[], Environment],
) -> None:
    environment = fresh_environment()
    environment.install("flask-socketio-core", *TEST_TOOLS)
    program = str(environment.folder / "bin" / "pytest")
    folders = [f"tests/{name}" for name in THE_CORES_OWN]
    command = [*without_network(), program, "-q", "-p", "no:cacheprovider", *folders]
    closing_line = run(*command, cwd=ROOT, limit_s=550).splitlines()[-1]
    assert re.search(r"\b[1-9]\d\d+ passed", closing_line), closing_line


def without_network() -> tuple[str, ...]:
    """Return the start of a command that has nothing but its own loopback, where this machine lets us."""
    prefix = ("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
    if os.geteuid() or not (shutil.which("unshare") and shutil.which("ip")):
        return ()
    return prefix if subprocess.run([*prefix, "true"], capture_output=True).returncode == 0 else ()
