"""A server whose clients can come back, and a proxy in front of it that cuts their connections."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.proxy import Proxy
from support.recovering import OPTIONS, load
from support.servers import MODE_KINDS, AppSpec, Server, kind_params, serving, wait_until

SPEC = AppSpec(app="recovery", options=OPTIONS)


@pytest.fixture(scope="module", params=kind_params(*MODE_KINDS))
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(request.param, SPEC, tmp_path_factory.mktemp("recovery")) as server:
        yield server


@pytest.fixture
def server(running: Server) -> Server:
    running.post("/clear")
    assert wait_until(lambda: load(running)["clients"] == 0, timeout_s=5)
    running.begin_test()
    return running


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    proxy = Proxy(server.port)
    yield proxy
    proxy.close()
