"""Clients that come back to another server than the one that they have lost."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import pytest

from support.proxy import Proxy
from support.recovering import (
    EVENTS,
    LIMIT_S,
    QUEUES,
    TRANSPORTS,
    clients,
    cut_while_events_flow,
    is_up,
    join,
    load,
    peers,
)
from support.servers import Server, serving, wait_until

if TYPE_CHECKING:
    from support.brokers import Broker

pytestmark = pytest.mark.timeout(LIMIT_S)
#: How clients come back to another server than the one that they have lost; to each other one likewise.
SOME = TRANSPORTS if EVENTS else {"websocket": TRANSPORTS["websocket"]}


@pytest.fixture(scope="module", params=QUEUES)
def servers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Server]]:
    with ExitStack() as stack:
        yield join(stack, request.param, request, tmp_path_factory)


@pytest.mark.parametrize("transports", SOME.values(), ids=SOME)
def test_nothing_is_lost_and_nothing_comes_twice_wherever_clients_come_back(
    servers: list[Server], transports: list[str]
) -> None:
    count = EVENTS or 1500
    with closing(Proxy(servers[0].port)) as proxy, clients(proxy.port, 5, *transports) as some:
        some.wait(1)
        for first, server in enumerate(servers):
            server.post(f"/flow?first={first * 100_000}&count={count}&pause=0.003")
        cut_while_events_flow(proxy, count, 0.003, servers)
        some.wait_for(count - 1, 60)
        seen = some.wait_for(100_000 + count - 1, 60)
        kept = [load(server) for server in servers]
        assert sum(one["recovered"] for one in kept) > 2
        assert [json.loads(server.get("/health").body) for server in servers] == kept
    for one in seen:
        for first in range(2):
            mine = [number for number in one.received if number // 100_000 == first]
            assert mine == list(range(first * 100_000, first * 100_000 + count))
        assert one.recovered == [False, *[True] * (len(one.sids) - 1)]
        assert len(set(one.sids)) == 1


@pytest.mark.parametrize("queue", QUEUES)
def test_servers_that_end_hand_their_clients_on(
    queue: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The first one to clients that are back at once, the second one to those that are back after some seconds."""
    count = 2000
    with ExitStack() as stack:
        first, second, third = join(stack, queue, request, tmp_path_factory, servers=3)
        proxy = Proxy(first.port)
        stack.callback(proxy.close)
        some = stack.enter_context(clients(proxy.port, 5, "websocket"))
        some.wait(1)
        third.post(f"/flow?first=0&count={count}&pause=0.003")
        first.post("/flow?first=100000&count=50&pause=0.003")
        some.wait_for(100_049)
        proxy.target = second.port
        first.stop()
        some.wait(2)
        second.post("/flow?first=200000&count=50&pause=0.003")
        some.wait_for(200_049)
        proxy.target = third.port
        with some.cut_off(proxy):
            second.stop()
            time.sleep(3)
        seen = some.wait_for(count - 1, 30)
        assert load(third)["failed"] == {}, second.log_text()
        for one in seen:
            for start, many in ((0, count), (100_000, 50), (200_000, 50)):
                mine = [number for number in one.received if number // 100_000 == start // 100_000]
                assert mine == list(range(start, start + many))
            assert one.recovered == [False, *[True] * (len(one.sids) - 1)]
            assert len(set(one.sids)) == 1


@pytest.mark.parametrize("queue", ["redis", "kafka"])
def test_what_was_sent_before_a_server_has_begun_is_nothing_that_it_lacks(
    queue: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with ExitStack() as stack:
        ended, stays = join(stack, queue, request, tmp_path_factory)
        ended.post("/flow?first=0&count=1&pause=0")
        ended.stop()
        assert wait_until(lambda: peers(stays) == 0, timeout_s=20)
        new = stack.enter_context(serving(stays.kind, stays.spec, tmp_path_factory.mktemp("recovery")))
        new.get("/socket.io/?EIO=4&transport=polling")  # it has heard nothing of the one that has ended
        assert wait_until(lambda: peers(stays) == peers(new) == 1, timeout_s=20)
        proxy = stack.enter_context(closing(Proxy(new.port)))
        some = stack.enter_context(clients(proxy.port, 3, "websocket"))
        some.wait(1)
        proxy.target = stays.port
        proxy.cut(1)
        for one in some.wait(2):
            assert one.recovered == [False, True], load(stays)["failed"]


@pytest.mark.parametrize(
    ("servers", "broker", "elsewhere"),
    [
        ("streams", "redis_broker", False),
        ("streams", "redis_broker", True),
        ("rabbitmq", "rabbitmq_broker", True),
        ("kafka", "kafka_broker", True),
    ],
    indirect=["servers"],
)
def test_nothing_is_lost_while_the_broker_is_away(
    servers: list[Server], broker: str, elsewhere: bool, request: pytest.FixtureRequest
) -> None:
    count = 600
    its_broker: Broker = request.getfixturevalue(broker)
    old, new = servers
    with closing(Proxy(old.port)) as proxy, clients(proxy.port, 5, "websocket") as some:
        some.wait(1)
        new.post(f"/flow?first=0&count={count}&pause=0.005")
        time.sleep(0.5)
        proxy.target = (new if elsewhere else old).port
        with some.cut_off(proxy):
            with its_broker.outage():
                time.sleep(1)
            assert wait_until(lambda: all(is_up(server) for server in (old, new)), timeout_s=30)
        for one in some.wait_for(count - 1, 40):
            assert one.received == list(range(count))
            assert one.recovered == [False, *[True] * (len(one.sids) - 1)]
            assert len(one.sids) > 1
