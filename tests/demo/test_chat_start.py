"""How the chat starts: what it prints, and what it says when it cannot."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from demo.servers import EXAMPLES, answers, chat_server, chat_workers, free_ports
from support.servers import HOST

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(120)  # seconds: each starts interpreters, and waits for their ends

NO_BROKER = "redis://127.0.0.1:1/0"  # servers begin without it, and try again


def test_start_prints_the_url_and_that_for_a_moderator(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    with chat_server(log) as server:
        assert f"Chat, served with threading: {server.url}" in log.read_text()
        assert f"  as a moderator: {server.url}?moderator=" in log.read_text()


def test_unknown_mode_ends_with_a_proposal_and_no_traceback() -> None:
    command = [sys.executable, str(EXAMPLES / "chat" / "app.py"), "--mode", "thredding"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=15, check=False)
    assert ended.returncode == 1
    assert "error: async_mode='thredding'" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "did you mean 'threading'?" in ended.stderr


@pytest.mark.parametrize("queue", ["", "memory://"])
def test_several_servers_without_a_queue_are_refused_with_what_to_do(queue: str) -> None:
    command = [sys.executable, str(EXAMPLES / "chat" / "workers.py"), "--workers", "2", "--queue", queue]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 1
    assert f"error: WORKERS=2 with QUEUE={queue!r}: nothing joins these servers" in ended.stderr
    assert "such as QUEUE=redis://127.0.0.1:6379/0" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_when_a_server_fails_the_other_one_ends_too() -> None:
    port = free_ports(2)
    command = [
        sys.executable,
        str(EXAMPLES / "chat" / "workers.py"),
        "--queue",
        NO_BROKER,
        "--port",
        str(port),
    ]
    with socket.create_server((HOST, port + 1)):
        # Returns at the end of what they write: when neither is left that could.
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert f"error: the server on port {port + 1} has ended: the others end, too" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not answers(f"http://{HOST}:{port}/")


def test_ctrl_c_ends_all_servers(tmp_path: Path) -> None:
    with chat_workers(tmp_path / "servers.log", queue=NO_BROKER) as servers:
        process = servers.process
        assert process is not None
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert [url for url in (servers.url, *servers.other_urls) if answers(url)] == []
    assert "Traceback" not in servers.log.read_text()
