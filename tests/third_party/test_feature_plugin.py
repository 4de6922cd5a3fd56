"""A plugin that offers a feature, with everything that the page on plugins says of it, on two real servers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import socketio

from flask_socketio_core.testing.ports import free_port
from support.brokers.broker import Broker
from support.servers import HOST, STOP_TIMEOUT_S, wait_for_end, wait_until
from support.wire.http import HttpError, request

pytestmark = pytest.mark.timeout(120)

CENSUS = Path(__file__).parent / "socketio_census"
RATE = 5
APP = f"""
import os
from flask import Flask
from flask_socketio_core import SocketIO

app = Flask(__name__)
app.config["SOCKETIO_CENSUS_RATE"] = {RATE}
socketio = SocketIO(app, message_queue=os.environ["QUEUE"], message_queue_options={{"heartbeat_interval_s": 0.5}})

@app.get("/")
def index():
    return socketio.servers.node

@socketio.on("say", namespace="/census")
def say():
    return "heard"
"""


@dataclass
class Site:
    folder: Path
    environment: dict[str, str]

    def flask(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "flask", "--app", "app", "socketio", *arguments]


@pytest.fixture
def site(tmp_path: Path, redis_broker: Broker) -> Site:
    """An application in a folder, and the plugin as if it were installed."""
    (tmp_path / "app.py").write_text(APP)
    metadata = tmp_path / "socketio_census-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: socketio-census\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[flask_socketio_core]\ncensus = socketio_census.hooks\n")
    path = os.pathsep.join((str(tmp_path), str(CENSUS)))
    return Site(tmp_path, {**os.environ, "PYTHONPATH": path, "QUEUE": redis_broker.url})


@dataclass
class Running:
    process: subprocess.Popen[bytes]
    port: int
    node: str


@pytest.fixture
def pair(site: Site) -> Iterator[tuple[Running, Running]]:
    processes: list[tuple[subprocess.Popen[bytes], int]] = []
    try:
        for _ in range(2):
            port = free_port()
            with (site.folder / f"log-{port}").open("wb") as log:
                process = subprocess.Popen(
                    site.flask("run", "--port", str(port)),
                    cwd=site.folder,
                    env=site.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            processes.append((process, port))
        for _, port in processes:
            log_file = site.folder / f"log-{port}"
            assert wait_until(lambda port=port: bool(node_of(port)), timeout_s=45), log_file.read_text()  # type: ignore[misc]
        first, second = (Running(process, port, node_of(port)) for process, port in processes)
        yield first, second
    finally:
        for process, _ in processes:
            process.terminate()
        for process, port in processes:
            wait_for_end(process, STOP_TIMEOUT_S, (site.folder / f"log-{port}").read_text)


def node_of(port: int) -> str:
    try:
        return request(port, "GET", "/", timeout_s=5).body.decode()
    except (OSError, HttpError):
        return ""


def test_a_feature_works_on_all_servers_and_says_who_is_missing(
    site: Site, pair: tuple[Running, Running]
) -> None:
    first, second = pair
    with socketio.SimpleClient() as client:
        client.connect(f"http://{HOST}:{first.port}", namespace="/census", transports=["websocket"])
        both = {first.node: 1, second.node: 0}
        request(second.port, "GET", "/socket.io/?EIO=4&transport=polling", timeout_s=5)
        assert wait_until(
            lambda: client.call("ask", timeout=10)["servers"] == both, timeout_s=5, interval_s=0.5
        )
        assert client.call("ask", timeout=10) == {"servers": both, "missing": {}, "complete": True}

        answers: list[Any] = [client.call("say", timeout=10) for _ in range(4 * RATE)]
        rejected = [answer for answer in answers if answer != "heard"]
        assert "heard" in answers
        assert rejected and all(answer["error"] == "too fast" for answer in rejected)
        assert all(0 < answer["retry_after"] <= 1 for answer in rejected)

        command = subprocess.run(
            site.flask("census"),
            cwd=site.folder,
            env=site.environment,
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert command.returncode == 0, command.stderr
        assert set(command.stdout.splitlines()) == {f"{node}  {count}" for node, count in both.items()}

        second.process.kill()
        second.process.wait(10)
        answer = client.call("ask", timeout=10)
        assert answer["servers"] == {first.node: 1}
        assert set(answer["missing"]) <= {second.node}
