"""A client that is away again and again has everything of a room with its offsets, in order and with ids once."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from support.brokers import Broker
from support.clients import CURRENT, JS, node
from support.servers import (
    HOST,
    MODE_KINDS,
    THREADING,
    AppSpec,
    Server,
    ServerKind,
    kind_params,
    serving,
    wait_until,
)

pytestmark = pytest.mark.timeout(120)

COUNT = 1500
NAMES = ("a", "b")


def spec(options: dict[str, Any] | None = None, *, ids: bool = False) -> AppSpec:
    return AppSpec(app="histories", settings={"size": 10_000, "ids": ids}, options=options or {})


with_and_without_ids = pytest.mark.parametrize("ids", [False, True], ids=["", "ids"])


def visiting(servers: list[Server], visits: int, *last: str) -> dict[str, list[Any]]:
    """Return what a client has received in its visits, and which of these were complete."""
    urls = ",".join(f"http://{HOST}:{server.port}" for server in servers)
    command = [node(), str(JS / "resuming.mjs"), CURRENT, urls, str(visits), "150", "100", *last]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=90, check=False)
    found: dict[str, list[Any]] = json.loads(done.stdout)
    assert done.returncode == 0, (len(found["received"]), found["received"][-1:], found["complete"])
    return found


def check(found: dict[str, list[Any]], names: tuple[str, ...] = NAMES) -> None:
    assert found["complete"] == [False] + [True] * (len(found["complete"]) - 1)
    for name in names:
        assert [number for who, number in found["received"] if who == name] == list(range(COUNT)), name


def flood(server: Server, name: str) -> None:
    server.get("/socket.io/?EIO=4&transport=polling")  # it serves
    server.post(f"/flood/{name}/{COUNT}")


def say(server: Server, name: str, count: int) -> None:
    server.reset()
    server.post(f"/flood/{name}/{count}")
    server.wait_journal("flooded", timeout_s=30)


def offset_of(server: Server, number: int) -> str:
    """Wait until the store has an event; return its offset."""
    assert wait_until(lambda: str(kept(server)[1]).startswith(f"{number}-"), timeout_s=10)
    return str(kept(server)[1])


def kept(server: Server, since: str = "") -> tuple[list[Any], Any, bool]:
    found = json.loads(server.get(f"/kept?since={since}").body)
    return [event[:2] for event in found["events"]], found["offset"], found["complete"]


AWAY = [["away", 0], ["away", 1]]


@with_and_without_ids
@pytest.mark.parametrize("kind", kind_params(*MODE_KINDS))
def test_at_one_server(kind: ServerKind, tmp_path: Path, ids: bool) -> None:
    with serving(kind, spec(ids=ids), tmp_path) as server:
        for name in NAMES:
            flood(server, name)
        check(visiting([server], 6, f"a {COUNT - 1}", f"b {COUNT - 1}"))


@with_and_without_ids
def test_at_two_servers_with_a_store(redis_broker: Broker, tmp_path: Path, ids: bool) -> None:
    options = {"message_queue": redis_broker.url, "store": redis_broker.url, "channel": f"offsets-two-{ids}"}
    with ExitStack() as stack:
        servers = [
            stack.enter_context(serving(THREADING, spec(options, ids=ids), tmp_path)) for _ in range(2)
        ]
        for server, name in zip(servers, NAMES, strict=True):
            flood(server, name)
        check(visiting(servers, 6, f"a {COUNT - 1}", f"b {COUNT - 1}"))


def test_beyond_a_restart_of_all_servers(redis_broker: Broker, tmp_path: Path) -> None:
    options = {"store": redis_broker.url, "channel": "offsets-outlives"}
    with serving(THREADING, spec(options), tmp_path) as server:
        flood(server, "a")
        server.wait_journal("flooded", timeout_s=30)
        offset = json.loads(server.get("/kept").body)["events"][499][2]
    with serving(THREADING, spec(options), tmp_path) as server:
        found = json.loads(server.get(f"/kept?since={offset}").body)
        assert found["complete"]
        assert [number for _, number, _ in found["events"]] == list(range(500, COUNT))


def test_what_redis_has_not_taken_is_known_to_be_missing_at_a_server_that_starts(
    redis_broker: Broker, tmp_path: Path
) -> None:
    options = {"store": redis_broker.url, "channel": "offsets-away"}
    with serving(THREADING, spec(options), tmp_path) as server:
        say(server, "before", 5)
        early = offset_of(server, 5)
        with redis_broker.outage():
            say(server, "away", 2)
            assert kept(server, early) == ([["before", number] for number in range(5)] + AWAY, None, False)
            assert wait_until(lambda: server.log_text().count("is not in the store") > 0, timeout_s=15)
        assert wait_until(lambda: kept(server, early)[::2] == (AWAY, True), timeout_s=15), (
            "it has them itself"
        )
        say(server, "after", 1)
        late = offset_of(server, 7)  # the sixth says that something is missing
    with serving(THREADING, spec(options), tmp_path) as server:
        server.get("/socket.io/?EIO=4&transport=polling")
        events, _, complete = kept(server, early)
        assert (events[-1], len(events), complete) == (["after", 0], 6, False)
        assert kept(server, late)[::2] == ([], True)


# ------------------------------------------------------------------------------ Redis is an older one afterwards


@contextmanager
def restored(url: str, channel: str) -> Iterator[None]:
    """Have Redis be afterwards as it was before, as from a snapshot."""
    with redis.Redis.from_url(url) as client:
        pattern = f"{channel}.store*"
        copies = {key: client.dump(key) for key in client.scan_iter(pattern)}
        assert copies
        yield
        for key in client.scan_iter(pattern):
            client.delete(key)
        for key, copy in copies.items():
            client.restore(key, 60_000, copy)


@pytest.mark.parametrize("after", [0, 3, 10, 20], ids=lambda after: f"{after} events later")
def test_an_offset_that_redis_has_forgotten_is_not_another_events(
    redis_broker: Broker, tmp_path: Path, after: int
) -> None:
    channel = f"offsets-restored-{after}"
    options = {"store": redis_broker.url, "channel": channel}

    with serving(THREADING, spec(options), tmp_path) as server:
        say(server, "before", 5)
        early = offset_of(server, 5)
    with restored(redis_broker.url, channel), serving(THREADING, spec(options), tmp_path) as server:
        say(server, "lost", 10)
        late = offset_of(server, 15)
    with serving(THREADING, spec(options), tmp_path) as server:
        server.get("/socket.io/?EIO=4&transport=polling")
        if after:
            say(server, "after", after)
        afterwards = [["after", number] for number in range(after)]
        everything = [["before", number] for number in range(5)] + afterwards
        events, offset, complete = kept(server, late)
        assert (events, complete) == (everything, False)
        assert kept(server, early)[::2] == (afterwards, True)
        assert kept(server, offset)[::2] == ([], True)
