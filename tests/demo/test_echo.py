"""The smallest example does what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from demo.chat_server import EXAMPLES
from demo.loading import load_example

if TYPE_CHECKING:
    import pytest


def test_echo_returns_the_message_and_acknowledges_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "FLASK_RUN_FROM_CLI", "true"
    )  # "flask run" means threading, whatever else is installed
    example = load_example(EXAMPLES / "echo.py", monkeypatch)
    client = example.socketio.test_client(example.app)
    assert client.emit("message", "hello", callback=True) == "got it"
    assert [packet["args"] for packet in client.get_received()] == ["hello"]
