"""Two real workers of gunicorn that answer each other's scrapes."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.scrapes import scrape, wait_for
from support.servers import HOST, AppSpec, Server, ServerKind, kind_params, serving, wait_until
from support.wire.engine import WebSocket

pytestmark = pytest.mark.timeout(120)


def gunicorn(mode: str, *worker: str) -> ServerKind:
    def command(port: int) -> list[str]:
        server = [sys.executable, "-m", "gunicorn", "--workers", "2", "--bind", f"{HOST}:{port}"]
        return [*server, "--graceful-timeout", "5", *worker, "support.apps.wsgi:app"]

    return ServerKind(name=f"gunicorn-{mode}", mode=mode, command=command, modules=("gunicorn",))


KINDS = (
    gunicorn("threading", "--worker-class", "gthread", "--threads", "20"),
    gunicorn("gevent", "--worker-class", "gevent"),
)


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the workers put their values together."""
    directory = tmp_path / "metrics"
    directory.mkdir()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(directory))
    return directory


@pytest.fixture(params=kind_params(*KINDS))
def server(request: pytest.FixtureRequest, directory: Path, tmp_path: Path) -> Iterator[Server]:
    spec = AppSpec(app="measured", settings={"SOCKETIO_PROMETHEUS_SAMPLE_S": 0.2})
    with serving(request.param, spec, tmp_path) as server:
        yield server


def join(server: Server) -> tuple[int, WebSocket]:
    """Return the worker that a new client is at, and the client."""
    client = WebSocket(server.port)
    client.receive()
    client.send("40")
    client.receive()
    client.send('421["say","hello"]')
    while not (packet := str(client.receive())).startswith("431["):
        assert packet.startswith("42")
    return int(packet[4:-1]), client


def clients_at_two_workers(server: Server) -> dict[int, list[WebSocket]]:
    found: dict[int, list[WebSocket]] = {}
    for _ in range(200):
        pid, client = join(server)
        found.setdefault(pid, []).append(client)
        if len(found) == 2 and sum(map(len, found.values())) > 3:
            return found
    raise AssertionError(f"all of 200 clients came to one worker: {list(found)}")


def live_files(directory: Path) -> set[int]:
    return {int(path.stem.rpartition("_")[2]) for path in directory.glob("gauge_live*_*.db")}


def test_one_scrape_has_all_workers_and_none_that_is_gone(server: Server, directory: Path) -> None:
    workers = clients_at_two_workers(server)
    killed, stopped = workers
    count = float(sum(map(len, workers.values())))
    events = ("socketio_events_total", "say")
    found = wait_for(server, {("socketio_connections", "websocket"): count, events: count})
    assert found.get("socketio_max_workers") == 2000
    assert found.get("socketio_event_duration_seconds_count", event="say") == count
    assert "pid" not in {label for family in found.families for one in family.samples for label in one.labels}
    assert live_files(directory) == {killed, stopped}

    os.kill(killed, signal.SIGKILL)
    rest = float(len(workers[stopped]))
    wait_for(
        server, {("socketio_connections", "websocket"): rest, ("socketio_clients", "/"): rest, events: count}
    )
    assert killed not in live_files(directory)

    os.kill(stopped, signal.SIGTERM)
    wait_for(server, {("socketio_connections", ""): 0.0, ("socketio_clients", ""): 0.0, events: count})
    assert wait_until(lambda: stopped not in live_files(directory), timeout_s=15)
    assert scrape(server).get("socketio_connections_opened_total") == count
    for clients in workers.values():
        for client in clients:
            client.abort()
    server.stop()
    assert live_files(directory) == set(), "each worker takes what it had open with it"
