"""``make demo`` installs what its choice of parts needs, and ``make venv`` only works when something changed."""

from __future__ import annotations

import sys
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
        ("", "KAFKA://localhost", ["queue_kafka"]),
        ("", "amqp://localhost", ["queue_kombu"]),
        ("", "kombu+redis://localhost", ["queue_kombu"]),
    ],
)
def test_demo_installs_the_plugins_of_its_parts(
    tool: ModuleType, mode: str, queue: str, more: list[str]
) -> None:
    assert tool.demo_plugins(mode, queue) == ["async_threading", *more]


def test_demo_names_the_modes_when_there_is_no_such_mode(tool: ModuleType) -> None:
    with pytest.raises(tool.SetupError, match=r"MODE=geven .*\n  available: eventlet, gevent, threading"):
        tool.demo_plugins("geven", "")


def test_environment_that_is_up_to_date_is_left_alone(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed: list[list[str]] = []
    monkeypatch.setattr(tool, "install", lambda venv, requirements: installed.append(requirements))
    monkeypatch.setattr(tool, "interpreter_of", lambda venv: sys.version.split()[0])
    for requirements in (["a"], ["a"], ["b"]):
        tool.refresh(tmp_path, "dev", requirements)
    assert installed == [["a"], ["b"]]


def test_environment_of_another_python_is_not_taken_for_ours(tool: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()
    (tmp_path / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.9.1\n")
    assert tool.interpreter_of(tmp_path) == "3.9.1"
    assert tool.interpreter_of(tmp_path / "nothing") is None
