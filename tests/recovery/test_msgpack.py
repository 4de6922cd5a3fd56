"""Clients that come back, where both ends speak msgpack instead of JSON."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from support.proxy import Proxy
from support.recovering import clients, join, load
from support.servers import Server

PARSER = "socket.io-msgpack-parser"
pytest.importorskip("msgpack")


@pytest.fixture(scope="module")
def servers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Server]]:
    with ExitStack() as stack:
        yield join(stack, "redis", request, tmp_path_factory, serializer="msgpack")


@pytest.mark.parametrize("elsewhere", [False, True], ids=["same server", "other server"])
@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_a_client_that_speaks_msgpack_comes_back(
    servers: list[Server], transport: str, elsewhere: bool
) -> None:
    old, new = servers
    proxy = Proxy(old.port)
    try:
        with clients(proxy.port, 1, transport, parser=PARSER) as some:
            some.wait(1)
            old.post("/do/emit?to=all&number=1")
            (seen,) = some.wait_for(1)
            assert seen.offset is not None
            proxy.target = (new if elsewhere else old).port
            with some.cut_off(proxy):
                old.post("/do/emit?to=all&number=2")
                old.post("/do/binary?to=all")
                new.post("/do/emit?to=all&number=3")
            some.wait(2)
            some.wait_for(3)
            new.post("/do/emit?to=all&number=4")
            (seen,) = some.wait_for(4)
        assert seen.received == [1, 2, 3, 4]
        assert seen.recovered == [False, True]
        assert len(set(seen.sids)) == 1
        ((name, data, _),) = seen.others
        assert name == "bytes"
        assert data == {"data": {"type": "Buffer", "data": [0, 1]}, "more": "text"}
    finally:
        proxy.close()
    assert load(new)["failed"] == load(old)["failed"] == {}
