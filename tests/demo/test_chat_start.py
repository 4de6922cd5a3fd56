"""How the chat starts: what it prints, and what it says when it cannot."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from demo.servers import EXAMPLES, chat_server

if TYPE_CHECKING:
    from pathlib import Path


def test_start_prints_the_url(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    with chat_server(log) as server:
        assert f"Chat, served with threading: {server.url}" in log.read_text()


def test_unknown_mode_ends_with_a_proposal_and_no_traceback() -> None:
    command = [sys.executable, str(EXAMPLES / "chat" / "app.py"), "--mode", "thredding"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=15, check=False)
    assert ended.returncode == 1
    assert "error: async_mode='thredding'" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "did you mean 'threading'?" in ended.stderr
