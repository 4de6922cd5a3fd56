"""``make demo`` installs what its choice of parts needs, and ``make venv`` only works when something changed."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

import pytest

TOOL = "venv"


@pytest.mark.parametrize(
    ("mode", "queue", "more"),
    [
        ("", "", []),
        ("threading", "memory://", []),
        ("eventlet", "", ["async_eventlet"]),
        ("gevent_uwsgi", "", ["async_gevent"]),
        ("gevent", "redis://localhost:6379/0", ["async_gevent", "queue_redis"]),
        ("", "redis+sentinel://localhost", ["queue_redis"]),
        ("", "valkeys+streams://localhost", ["queue_redis"]),
        ("", "KAFKA://localhost", ["queue_kafka"]),
        ("", "host://", []),
        ("", "amqp://localhost", ["queue_kombu"]),
        ("", "kombu+redis://localhost", ["queue_kombu"]),
        ("", "filesystem:///tmp/chat", ["queue_kombu"]),
    ],
)
def test_demo_installs_the_plugins_of_its_parts(
    tool: ModuleType, mode: str, queue: str, more: list[str]
) -> None:
    assert tool.demo_plugins(mode, queue) == ["async_threading", "queue_host", "presence", *more]


def test_demo_installs_the_plugin_that_claims_the_scheme_of_its_queue(tool: ModuleType) -> None:
    points = [point for point in entry_points(group="flask_socketio_core") if point.name.startswith("queue-")]
    for point in points:
        made = point.load().socketio_message_queues()
        for scheme in [
            scheme for queue in (made if isinstance(made, list) else [made]) for scheme in queue.schemes
        ]:
            name = point.name.replace("-", "_")
            expected = None if name == "queue_memory" else name  # the core's own
            assert tool.queue_plugin_of(f"{scheme.replace('*', 'amqp')}://localhost") == expected, scheme


@pytest.mark.parametrize(
    ("queue", "clients"),
    [
        ("kombu+redis://localhost", ["kombu[redis]"]),
        ("MongoDB://localhost/chat", ["kombu[mongodb]"]),
        ("redis://localhost", []),
        ("amqp://localhost", []),
        ("memory://", []),
    ],
)
def test_demo_installs_the_client_library_of_a_transport_of_kombu(
    tool: ModuleType, queue: str, clients: list[str]
) -> None:
    assert tool.demo_clients(queue) == clients


def test_demo_names_the_modes_when_there_is_no_such_mode(tool: ModuleType) -> None:
    with pytest.raises(tool.SetupError, match=r"MODE=geven .*\n  available: eventlet, gevent, threading"):
        tool.demo_plugins("geven", "")


def test_environment_that_is_up_to_date_is_left_alone(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed: list[list[str]] = []
    monkeypatch.setattr(tool, "install", lambda venv, requirements: installed.append(requirements))
    monkeypatch.setattr(tool, "interpreter_of", lambda venv: sys.version.split()[0])
    for requirements in (["a"], ["a"], ["b"], tool.dev(), tool.dev()):
        tool.refresh(tmp_path, "dev", requirements)
    assert installed == [["a"], ["b"], tool.dev()]
    for queue in ("redis://localhost", "kombu+redis://localhost"):
        args = tool.parse_args(["--for", "demo", "--queue", queue])
        tool.refresh(tmp_path, "demo", tool.requirements_for(args))
    assert installed[3:] == [["kombu[redis]"]], (
        "a developer's environment has all plugins, but not every client"
    )


def test_environment_of_another_python_is_not_taken_for_ours(tool: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()
    (tmp_path / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.9.1\n")
    assert tool.interpreter_of(tmp_path) == "3.9.1"
    assert tool.interpreter_of(tmp_path / "nothing") is None
