"""Run what a page tells its reader to run, as somebody who installed the plain package, or a few parts."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from flask_socketio_core.testing.ports import free_port
from support.servers import HOST, wait_for_end, wait_until

#: What a plain install brings; whatever else is installed here is left out.
PLAIN = ("async-threading", "queue-memory")
#: Seconds that one program may take.
LIMIT_S = 30.0


def environment(*plugins: str, path: Path | None = None) -> dict[str, str]:
    """Return environment variables with which only these plugins are there.

    :param path: a folder to import from, besides what is installed.
    """
    inherited = {
        name: text for name, text in os.environ.items() if not name.startswith(("FLASK_", "SOCKETIO_"))
    }
    extra = {"PYTHONPATH": str(path)} if path is not None else {}
    return {
        **inherited,
        "SOCKETIO_LOAD_PLUGINS": ",".join(plugins or PLAIN),
        "PYTHONUNBUFFERED": "1",
        **extra,
    }


def run(*arguments: str, cwd: Path, env: dict[str, str] | None = None) -> str:
    """Run a Python program of a page and return what it printed."""
    result = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=env or environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert result.returncode == 0, f"{' '.join(arguments)} failed:\n{result.stdout}{result.stderr}"
    return result.stdout


@contextlib.contextmanager
def serving(*arguments: str, cwd: Path, env: dict[str, str] | None = None) -> Iterator[str]:
    """Run a server and yield its address; ``PORT`` in the arguments stands for its port."""
    port = str(free_port())
    log = cwd / "server.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, *(port if word == "PORT" else word for word in arguments)],
            cwd=cwd,
            env=env or environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        assert wait_until(lambda: listens(int(port)) or process.poll() is not None, timeout_s=LIMIT_S)
        assert process.poll() is None, f"{' '.join(arguments)} ended:\n{log.read_text()}"
        yield f"http://{HOST}:{port}"
    finally:
        process.terminate()
        wait_for_end(process, 10, log.read_text)


def listens(port: int) -> bool:
    """Say whether somebody listens on a port of loopback."""
    import socket

    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0
