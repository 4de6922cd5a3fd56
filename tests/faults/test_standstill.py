"""A server's process that stands still for longer than a heartbeat lasts, and a wall clock that is set."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.clock import WallClock, needs_compiler
from support.servers import (
    MODE_KINDS,
    UWSGI_GEVENT,
    AppSpec,
    Server,
    ServerKind,
    kind_params,
    serving,
    stopped,
)
from support.wire.engine import Closed, Polling, WebSocket

HEARTBEAT_S = 0.5
"""Both ``ping_interval`` and ``ping_timeout``."""
SPEC = AppSpec(app="protocol", options={"ping_interval": HEARTBEAT_S, "ping_timeout": HEARTBEAT_S})
DAY_S = 86_400

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module", params=kind_params(*MODE_KINDS, UWSGI_GEVENT))
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(request.param, SPEC, tmp_path_factory.mktemp("standstill")) as server:
        yield server


@contextmanager
def standing_still(server: Server, duration_s: float) -> Iterator[None]:
    """Stop the process for so long."""
    with stopped(server.worker_pid):
        begun_s = time.monotonic()
        yield
        time.sleep(max(duration_s - (time.monotonic() - begun_s), 0))


def joined(server: Server) -> WebSocket:
    client = WebSocket(server.port)
    client.send("40")
    return client


def receive(client: WebSocket, packet: str) -> None:
    """Read up to a packet."""
    while client.receive() != packet:
        pass


def assert_served(client: WebSocket, beats: int = 1) -> None:
    """See that a client is pinged, and that its handlers answer."""
    for _ in range(beats):
        receive(client, "2")
        client.send("3")
    client.send('421["fence"]')
    receive(client, "431[]")


def test_websockets_whose_pongs_waited_meanwhile_stay_and_silent_ones_are_closed(server: Server) -> None:
    server.begin_test()
    clients = [joined(server) for _ in range(20)]
    silent = joined(server)
    for client in (*clients, silent):
        receive(client, "2")
    with standing_still(server, 3 * HEARTBEAT_S):
        for client in clients:
            client.send("3")
    for client in clients:
        assert_served(client)
    assert ["disconnect", "/", "ping timeout"] in server.wait_journal("disconnect")
    with pytest.raises(Closed):
        receive(silent, "4")


def test_a_poll_and_a_pong_that_waited_meanwhile_are_answered(server: Server) -> None:
    session = Polling(server.port)
    session.post("40")
    while session.receive() != ["2"]:
        pass
    answers: list[int] = []
    polling = threading.Thread(target=lambda: answers.append(session.get().status))
    posting = threading.Thread(target=lambda: answers.append(session.post("3").status))
    with standing_still(server, 3 * HEARTBEAT_S):
        polling.start()
        posting.start()
    polling.join()
    posting.join()
    assert answers == [200, 200]
    session.post("1")


@needs_compiler
@pytest.mark.parametrize("kind", kind_params(*MODE_KINDS))
def test_setting_the_wall_clock_disturbs_nobody(kind: ServerKind, tmp_path: Path) -> None:
    clock = WallClock(tmp_path)
    kind = dataclasses.replace(kind, env={**kind.env, **clock.env})
    with serving(kind, SPEC, tmp_path) as server:
        client = joined(server)
        for offset_s in (DAY_S, -DAY_S):
            clock.move(offset_s)
            shown_s = json.loads(server.get("/ready").body)["wall_clock_s"] - time.time()
            assert abs(shown_s - offset_s) < 60
            begun_s = time.monotonic()
            assert_served(client, beats=3)
            assert time.monotonic() - begun_s > 2 * HEARTBEAT_S
        late = joined(server)
        receive(late, "2")
        begun_s = time.monotonic()
        with pytest.raises(Closed):
            receive(late, "4")
        assert time.monotonic() - begun_s < HEARTBEAT_S + 1
