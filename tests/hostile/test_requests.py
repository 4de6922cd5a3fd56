"""Requests that cost the others more than they should: large answers, idle connections; and a disk that is full.

Each test looks at a real server meanwhile, and the bound is the assertion.
"""

from __future__ import annotations

import dataclasses
import gzip
import http.client
import json
import shlex
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.servers import (
    HOST,
    MODE_KINDS,
    RUN_KINDS,
    AppSpec,
    Server,
    ServerKind,
    kind_params,
    processor_s,
    serving,
    wait_until,
)
from support.wire.engine import Polling, WebSocket

NO_DESCRIPTOR = "no descriptor left"
OPTIONS = {"outbox_max_bytes": 30_000_000}


@pytest.fixture(scope="module", params=kind_params(*MODE_KINDS))
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(
        request.param, AppSpec(app="failing", options=OPTIONS), tmp_path_factory.mktemp("requests")
    ) as server:
        yield server


def started_by(kind: ServerKind, script: str) -> ServerKind:
    """Return a kind of server that a shell starts, in whose script ``{}`` is the command."""
    return dataclasses.replace(
        kind, command=lambda port: ["sh", "-c", script.format(shlex.join(kind.command(port)))]
    )


def test_a_large_answer_that_is_compressed_stops_nobody(server: Server) -> None:
    polling = Polling(server.port, headers={"Accept-Encoding": "gzip"})
    polling.post("40")
    polling.get()
    polling.post('42["large",900000,"abcd"]')
    server.wait_journal("large", timeout_s=20)
    honest = WebSocket(server.port)
    honest.receive()
    honest.send("40")
    honest.receive()
    waited_s: list[float] = []
    with ThreadPoolExecutor(1) as pool:
        poll = pool.submit(polling.get, timeout_s=30)
        while not poll.done():
            began_s = time.monotonic()
            honest.send('421["echo",1]')
            assert honest.receive(timeout_s=30) == "431[1]"
            waited_s.append(time.monotonic() - began_s)
    answer = poll.result()
    assert answer.headers["content-encoding"] == "gzip"
    event, text = json.loads(gzip.decompress(answer.body)[2:])
    assert event == "large" and len(text) > 8_000_000
    assert max(waited_s) < 0.5, waited_s


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", kind_params(*RUN_KINDS))
def test_idle_connections_at_the_limit_of_descriptors_cost_no_processor(
    kind: ServerKind, tmp_path: Path
) -> None:
    with serving(started_by(kind, "ulimit -n 64; exec {}"), AppSpec(app="failing"), tmp_path) as server:
        with ExitStack() as stack:
            for _ in range(100):
                stack.enter_context(socket.create_connection((HOST, server.port), timeout=5))
            assert wait_until(lambda: NO_DESCRIPTOR in server.log_text(), timeout_s=5)
            before_s = processor_s(server.worker_pid)
            time.sleep(1)
            assert processor_s(server.worker_pid) - before_s < 0.15
        assert wait_until(lambda: server.get("/ready").status == 200, timeout_s=10)
        text = server.log_text()
        assert text.count(NO_DESCRIPTOR) == 1 and "Traceback" not in text


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", kind_params(*RUN_KINDS))
def test_a_full_disk_under_the_log_ends_neither_start_nor_requests(kind: ServerKind, tmp_path: Path) -> None:
    full = started_by(kind, "exec {} >/dev/full 2>&1")
    full = dataclasses.replace(full, env={"RUN_UNDER_TEST": json.dumps({"log_output": True})})
    options = {"logger": True, "engineio_logger": True}
    with serving(full, AppSpec(app="failing", options=options), tmp_path) as server:
        connection = http.client.HTTPConnection(HOST, server.port, timeout=10)
        for _ in range(3):
            connection.request("GET", "/ready")
            answer = connection.getresponse()
            assert answer.status == 200 and answer.read()
        connection.close()
        client = WebSocket(server.port)
        client.receive()
        client.send("40")
        client.receive()
        client.send('421["divide",0]')
        client.send('422["echo",1]')
        assert client.receive() == "432[1]"
