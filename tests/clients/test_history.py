"""Official JavaScript clients join a room while much is sent to it: each has all of it, in order and once."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from support.brokers import Broker
from support.clients import CURRENT, JS, node
from support.proxy import Proxy
from support.servers import HOST, MODE_KINDS, THREADING, AppSpec, Server, ServerKind, kind_params, serving

pytestmark = pytest.mark.timeout(120)

COUNT = 600
CLIENTS = 12


def spec(size: int, **options: Any) -> AppSpec:
    return AppSpec(app="histories", settings={"size": size}, options=options)


def begin(port: int, *last: str, pause_ms: int = 50, rewind: int = 10_000) -> subprocess.Popen[str]:
    """Start clients that join one after the other, and end when each has received the last ones."""
    command = [
        node(),
        str(JS / "following.mjs"),
        CURRENT,
        f"http://{HOST}:{port}",
        str(CLIENTS),
        str(pause_ms),
    ]
    return subprocess.Popen([*command, str(rewind), *last], stdout=subprocess.PIPE, text=True)


def end(clients: subprocess.Popen[str]) -> list[list[Any]]:
    """Return what each client has received."""
    try:
        output, _ = clients.communicate(timeout=60)
    finally:
        clients.kill()
        clients.wait()
    found: list[list[Any]] = json.loads(output)
    assert clients.returncode == 0, [(len(received), received[-1:]) for received in found]
    return found


def following(server: Server, *last: str, rewind: int = 10_000) -> list[list[Any]]:
    return end(begin(server.port, *last, rewind=rewind))


def numbers(received: list[Any], name: str) -> list[int]:
    assert all(size == 2 for _, _, size in received)
    return [number for who, number, _ in received if who == name]


@pytest.mark.parametrize("kind", kind_params(*MODE_KINDS))
def test_each_client_has_all_of_it_in_order_and_once(kind: ServerKind, tmp_path: Path) -> None:
    with serving(kind, spec(10_000), tmp_path) as server:
        server.post(f"/flood/a/{COUNT}")
        server.post(f"/flood/b/{COUNT}")
        for received in following(server, f"a {COUNT - 1}", f"b {COUNT - 1}"):
            for name in ("a", "b"):
                assert numbers(received, name) == list(range(COUNT))


def test_a_client_has_as_much_of_it_as_it_asks_for(tmp_path: Path) -> None:
    with serving(THREADING, spec(100), tmp_path) as server:
        server.post(f"/flood/a/{COUNT}")
        for received in following(server, f"a {COUNT - 1}", rewind=20):
            found = numbers(received, "a")
            assert found == list(range(COUNT - len(found), COUNT)) and found


@pytest.mark.parametrize("stored", [False, True], ids=["in memory", "in a store"])
def test_at_a_server_that_starts_it_is_the_same(redis_broker: Broker, tmp_path: Path, stored: bool) -> None:
    options = {"message_queue": redis_broker.url, "channel": f"history-{stored}"}
    if stored:
        options["store"] = redis_broker.url
    with serving(THREADING, spec(10_000, **options), tmp_path) as first:
        first.get("/socket.io/?EIO=4&transport=polling")  # it serves
        first.post(f"/flood/before/{COUNT}")
        first.wait_journal("flooded", timeout_s=30)
        with serving(THREADING, spec(10_000, **options), tmp_path) as second:
            second.get("/socket.io/?EIO=4&transport=polling")
            first.post(f"/flood/a/{COUNT}")
            second.post(f"/flood/b/{COUNT}")
            time.sleep(0.1)
            for received in following(second, f"a {COUNT - 1}", f"b {COUNT - 1}"):
                for name in ("before", "a", "b"):
                    assert numbers(received, name) == list(range(COUNT)), name


def test_with_a_store_it_outlives_all_servers(redis_broker: Broker, tmp_path: Path) -> None:
    options = {"store": redis_broker.url, "channel": "history-outlives"}
    with serving(THREADING, spec(10_000, **options), tmp_path) as first:
        first.get("/socket.io/?EIO=4&transport=polling")
        first.post(f"/flood/a/{COUNT}")
        first.wait_journal("flooded", timeout_s=30)
    with serving(THREADING, spec(10_000, **options), tmp_path) as second:
        second.post("/flood/b/100")
        for received in following(second, f"a {COUNT - 1}", "b 99"):
            assert numbers(received, "a") == list(range(COUNT))
            assert numbers(received, "b") == list(range(100))


def test_who_comes_back_with_what_was_missed_is_not_sent_it_twice(tmp_path: Path) -> None:
    """It asks for the last ones with each connection, and is in the room already."""
    recovery = {"window": 60, "max_events": 10_000}  # who is cut may have been sent more than 1000 just then
    # An upgrade that is cut half way is noticed by a missing ping only.
    options = {"recovery": recovery, "ping_interval": 2, "ping_timeout": 2}
    with serving(THREADING, spec(10_000, **options), tmp_path) as server:
        proxy = Proxy(server.port)
        try:
            server.post(f"/flood/a/{2 * COUNT}")
            clients = begin(proxy.port, f"a {2 * COUNT - 1}", pause_ms=20)
            cut = 0
            time.sleep(0.6)
            for _ in range(4):
                time.sleep(0.4)
                cut += proxy.cut()
            found = end(clients)
        finally:
            proxy.close()
    assert cut
    for received in found:
        assert numbers(received, "a") == list(range(2 * COUNT))
