"""Every client, on each transport, comes back by its own decision when its server was exchanged or its login ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from flask_socketio_core.testing.ports import free_port
from support.clients import CURRENT, JS, java_libraries, node
from support.servers import (
    DEPLOYED_KINDS,
    FLASK_RUN,
    HOST,
    RUN_KINDS,
    TESTS,
    AppSpec,
    Server,
    ServerKind,
    kind_params,
    serving,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Heartbeats as by default: nobody may wait for one to be missed.
SPEC = AppSpec(app="clients")
#: Seconds for three interpreters to start, and for clients that retry every 0.4 s to find a new server.
JOIN_S = 40.0
#: Seconds until a client has noticed the end.
NOTICE_S = 8.0
TRANSPORTS = ("polling", "websocket")


class Clients:
    """One client of each kind on each transport, at one address; they outlive the servers there."""

    def __init__(self, port: int) -> None:
        url = f"http://{HOST}:{port}"
        java = ["java", "-XX:TieredStopAtLevel=1", "-cp", f"{java_libraries()}/*"]
        self._commands = {
            "javascript": [node(), str(JS / "returning.mjs"), CURRENT, url],
            "java": [*java, str(TESTS / "java" / "Returning.java"), url],
            "python": [sys.executable, "-m", "support.returning", url],
        }
        self.names = {f"{name} {transport}" for name in self._commands for transport in TRANSPORTS}
        self._told: dict[str, list[str]] = {name: [] for name in self.names}
        self._running: list[tuple[subprocess.Popen[str], threading.Thread]] = []

    def start(self) -> None:
        """Start them; python-socketio's wants a server at its first attempt."""
        for name, command in self._commands.items():
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": str(TESTS)},
            )
            reader = threading.Thread(target=self._read, args=(name, process), daemon=True)
            reader.start()
            self._running.append((process, reader))

    def _read(self, name: str, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            transport, what = line.strip().split(" ", 1)
            self._told[f"{name} {transport}"].append(what)

    def ends(self) -> dict[str, int]:
        """Count how often each one was disconnected."""
        return {
            name: sum(what.startswith("disconnect") for what in told) for name, told in self._told.items()
        }

    def connected(self) -> set[str]:
        """Return those that are connected now."""
        return {name for name, told in self._told.items() if told[-1:] == ["connect"]}

    def assert_connected(self, after: dict[str, int] | None = None) -> None:
        """Assert that all are connected in time, and again if they were connected before."""

        def complete() -> bool:
            ends = self.ends()
            return self.connected() == self.names and (
                after is None or all(ends[name] > after[name] for name in self.names)
            )

        assert wait_until(complete, timeout_s=JOIN_S), self._told

    def assert_noticed(self, before: dict[str, int]) -> None:
        """Assert that all notice an end in time."""

        def noticed() -> bool:
            ends = self.ends()
            return all(ends[name] > before[name] for name in self.names)

        assert wait_until(noticed, timeout_s=NOTICE_S), self._told

    def stop(self) -> None:
        """End them."""
        for process, _ in self._running:
            assert process.stdin is not None
            process.stdin.close()
        for process, reader in self._running:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            reader.join(5)
            assert process.stdout is not None
            process.stdout.close()


@pytest.fixture(scope="module")
def port() -> int:
    """Give one address to all servers."""
    return free_port()


@pytest.fixture(scope="module")
def clients(port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clients]:
    """Start the clients; from then on they find one server after another."""
    clients = Clients(port)
    first = next(param.values[0] for param in kind_params(*RUN_KINDS) if not param.marks)
    try:
        with serving(first, SPEC, tmp_path_factory.mktemp("first"), port):
            clients.start()
            clients.assert_connected()
        yield clients
    finally:
        clients.stop()


@pytest.mark.timeout(150)
@pytest.mark.parametrize("kind", kind_params(*RUN_KINDS, *DEPLOYED_KINDS))
def test_every_client_returns(kind: ServerKind, clients: Clients, port: int, tmp_path: Path) -> None:
    with serving(kind, SPEC, tmp_path, port) as server:
        clients.assert_connected()
        before = clients.ends()
        server.get("/expire")  # what let them in is valid no longer: they come back with what they have now
        clients.assert_noticed(before)
        clients.assert_connected(before)
        before = clients.ends()
        if kind.modules[:1] == ("gunicorn",):
            server.process.send_signal(signal.SIGHUP)
            clients.assert_noticed(before)
            clients.assert_connected(before)
            before = clients.ends()
        end(server)
        clients.assert_noticed(before)
    with serving(kind, SPEC, tmp_path, port):
        clients.assert_connected()


def end(server: Server) -> None:
    """End a server in the way in which its operator does."""
    server.begin_stop(signal.SIGINT if server.kind is FLASK_RUN else None)
