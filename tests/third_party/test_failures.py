"""What a stranger sees when a part does not pass its suite: the values, and what the server wrote."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(100)  # a server is started in a pytest of its own

HERE = Path(__file__).parent
FAULTY = """
import pytest
from flask_socketio_core.cluster.memory import MemoryQueue
from flask_socketio_core.testing.conformance.async_modes import AsyncModeConformance
from flask_socketio_core.testing.conformance.providers import WebSocketProviderConformance
from flask_socketio_core.testing.conformance.queues import QueueConformance
from socketio_tortoise.mode import TortoiseMode
from socketio_tortoise.websocket import TortoiseProvider


class LoudQueue(MemoryQueue):
    def publish(self, message, *, key=""):
        super().publish(message + b"!", key=key)


class HastyMode(TortoiseMode):
    def spawn(self, job):
        super().spawn(lambda: None)


class SilentProvider(TortoiseProvider):
    def open(self, environ, start_response, *, max_message_bytes):
        return super().open(environ, lambda *arguments: None, max_message_bytes=max_message_bytes)


class TestLoudQueue(QueueConformance):
    queue_class = LoudQueue

    @pytest.fixture
    def url(self):
        return "memory://failures"


class TestHastyMode(AsyncModeConformance):
    mode_class = HastyMode


class TestSilentProvider(WebSocketProviderConformance):
    mode = "socketio_tortoise.mode:TortoiseMode"
    provider = "test_faulty:SilentProvider"
    form = "blocking"
"""
CHOSEN = "hears_itself or job_may_spawn or start_response or logged_no_error or comes_back"


def test_a_failure_in_a_suite_shows_the_values(tmp_path: Path) -> None:
    (tmp_path / "test_faulty.py").write_text(FAULTY)
    options = [
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:randomly",
        "-k",
        CHOSEN,
        "-c",
        os.devnull,
        "--rootdir",
        ".",
    ]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "test_faulty.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(HERE / "socketio_tortoise"), str(tmp_path)))},
        capture_output=True,
        text=True,
        timeout=90,
    )
    shown = result.stdout
    assert "assert [b'echo!'] == [b'echo']" in shown
    assert "AssertionError: not within 5 s; there is seen=[]" in shown
    assert "test_the_blocking_form_calls_start_response" in shown
    assert "== 0" in shown and "Traceback (most recent call last): ... " in shown
    assert "TestSilentProvider::test_a_message_comes_back" not in shown.partition("short test summary")[2]
    assert "4 failed, 1 passed" in shown
