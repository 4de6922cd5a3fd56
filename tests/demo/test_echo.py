"""The smallest example does what it says, served by ``flask run``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import socketio

from demo.servers import echo_server

if TYPE_CHECKING:
    from pathlib import Path


def test_echo_returns_the_message_and_acknowledges_it(tmp_path: Path) -> None:
    with echo_server(tmp_path / "echo.log") as server, socketio.SimpleClient() as client:
        client.connect(server.url, transports=["websocket"])
        assert client.call("message", "hello", timeout=5) == "got it"
        assert client.receive(timeout=5) == ["message", "hello"]
