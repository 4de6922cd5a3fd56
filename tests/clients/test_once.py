"""The official JavaScript client sends an event again whose acknowledgement was lost: it is handled once."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.brokers import Broker
from support.clients import CURRENT, JS, node
from support.proxy import Proxy
from support.servers import HOST, MODE_KINDS, THREADING, AppSpec, Server, ServerKind, kind_params, serving

pytestmark = pytest.mark.timeout(90)

SPEC = AppSpec(app="retried")
ANSWER = {"number": 1}
BYTES = [0, 255]
ANSWER_S = 40.0
EVENTS = ("order", "order_later")


@contextmanager
def retrying(
    port: int, transport: str, user: str, event: str, number: str, namespace: str = ""
) -> Iterator[subprocess.Popen[str]]:
    """Start a client that sends one event until it has its answer."""
    command = [node(), str(JS / "retrying.mjs"), CURRENT, f"http://{HOST}:{port}{namespace}"]
    process = subprocess.Popen([*command, transport, user, event, number], stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def answer_of(process: subprocess.Popen[str]) -> Any:
    output, _ = process.communicate(timeout=ANSWER_S)
    return json.loads(output) if output else f"no answer, exit status {process.returncode}"


@pytest.fixture(scope="module", params=kind_params(*MODE_KINDS))
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    kind: ServerKind = request.param
    with serving(kind, SPEC, tmp_path_factory.mktemp(kind.name)) as server:
        yield server


@pytest.mark.parametrize("namespace", ["", "/counter"], ids=["function", "method of a class"])
@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("user", ["-", "ann"])
@pytest.mark.parametrize("transport", ["polling", "websocket"])
def test_an_acknowledgement_that_was_lost_with_its_connection_comes_later(
    server: Server, transport: str, user: str, event: str, namespace: str
) -> None:
    server.begin_test()
    server.get("/wait")
    number = f"{transport}-{user}-{event}{namespace}"
    proxy = Proxy(server.port)
    try:
        with retrying(proxy.port, transport, user, event, number, namespace) as client:
            server.wait_journal("order", timeout_s=20)
            with proxy.refusing():  # the connection is gone before there is an answer, which gets lost
                server.get("/go-on")
            assert answer_of(client) == [None, {"id": number, **ANSWER}, BYTES]
    finally:
        proxy.close()
    assert server.journal() == [["order", number]]


@pytest.mark.parametrize("event", EVENTS)
def test_a_retry_that_comes_while_the_first_runs_waits_for_it(server: Server, event: str) -> None:
    server.begin_test()
    server.get("/wait")
    with retrying(server.port, "websocket", "-", event, f"slow-{event}") as client:
        server.wait_journal("order", timeout_s=20)
        with pytest.raises(subprocess.TimeoutExpired):
            client.wait(2.5)  # two retries
        server.get("/go-on")
        assert answer_of(client) == [None, {"id": f"slow-{event}", **ANSWER}, BYTES]
    assert server.journal() == [["order", f"slow-{event}"]]


def test_an_event_that_failed_is_handled_again(server: Server) -> None:
    server.begin_test()
    with retrying(server.port, "websocket", "-", "fail once", "failing") as client:
        assert answer_of(client) == [None, 2]
    assert server.journal() == [["fail once", "failing"]] * 2


@pytest.mark.parametrize("user", ["-", "ann"])
@pytest.mark.parametrize("running", [True, False], ids=["it runs on", "it has ended"])
def test_a_client_that_comes_back_to_another_server_has_its_acknowledgement(
    redis_broker: Broker, tmp_path: Path, user: str, running: bool
) -> None:
    spec = AppSpec(app="retried", options={"store": redis_broker.url, "channel": f"once-{user}-{running}"})
    with serving(THREADING, spec, tmp_path) as first, serving(THREADING, spec, tmp_path) as second:
        second.get("/go-on")
        proxy = Proxy(first.port)
        try:
            with retrying(proxy.port, "websocket", user, "order", "elsewhere") as client:
                first.wait_journal("order", timeout_s=20)
                with proxy.refusing():
                    proxy.target = second.port
                    if not running:
                        first.get("/go-on")
                if running:
                    with pytest.raises(subprocess.TimeoutExpired):
                        client.wait(2.0)  # it waits at the second server for what the first one does
                    first.get("/go-on")
                assert answer_of(client) == [None, {"id": "elsewhere", **ANSWER}, BYTES]
        finally:
            proxy.close()
        assert (first.journal(), second.journal()) == ([["order", "elsewhere"]], [])


def test_a_store_that_is_away_has_the_client_try_again(redis_broker: Broker, tmp_path: Path) -> None:
    spec = AppSpec(app="retried", options={"store": redis_broker.url, "channel": "once-away"})
    with serving(THREADING, spec, tmp_path) as server:
        server.get("/go-on")
        with ExitStack() as stack:
            with redis_broker.outage():
                client = stack.enter_context(retrying(server.port, "websocket", "-", "order", "away"))
                with pytest.raises(subprocess.TimeoutExpired):
                    client.wait(3.0)
                assert server.journal() == []
            assert answer_of(client) == [None, {"id": "away", **ANSWER}, BYTES]
        assert server.journal() == [["order", "away"]]
        assert "StoreUnavailable: Redis at redis://127.0.0.1" in server.log_text()
