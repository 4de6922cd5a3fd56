"""Clients that come back to the server that they have lost."""

from __future__ import annotations

import pytest

from support.proxy import Proxy
from support.recovering import EVENTS, LIMIT_S, TRANSPORTS, clients, cut_while_events_flow, load
from support.servers import Server

pytestmark = pytest.mark.timeout(LIMIT_S)


@pytest.mark.parametrize("transports", TRANSPORTS.values(), ids=TRANSPORTS)
def test_nothing_is_lost_and_nothing_comes_twice_however_often_connections_are_cut(
    server: Server, proxy: Proxy, transports: list[str]
) -> None:
    count, failed = EVENTS or 1500, load(server)["failed"]
    with clients(proxy.port, 5, *transports) as some:
        some.wait(1)
        server.post(f"/flow?first=0&count={count}&pause=0.002")
        cut = cut_while_events_flow(proxy, count, 0.002)
        seen = some.wait_for(count - 1, 60)
    assert cut > 5
    for one in seen:
        assert one.received == list(range(count))
        assert one.recovered == [False, *[True] * (len(one.sids) - 1)]
        assert len(set(one.sids)) == 1
        assert not one.others
    assert sum(len(one.sids) - 1 for one in seen) > 2
    assert load(server)["failed"] == failed
