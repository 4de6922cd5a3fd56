"""Servers of every kind, each started once per set of options and kept for the whole run of the tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import websocket

from support.fixtures import leave_nothing_open
from support.servers import RUN_KINDS, Server, ServerKind, StartServer, kind_params, starting
from support.wire.engine import WebSocket

__all__ = ["leave_nothing_open"]


def assert_websocket_refused(server: Server, **how: Any) -> None:
    """Assert that a WebSocket is answered with status 400."""
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        WebSocket(server.port, **how)
    assert refused.value.status_code == 400


def pytest_configure(config: pytest.Config) -> None:
    """Register our marker."""
    config.addinivalue_line("markers", "one_kind: the same on every kind of server, so it runs on one")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out repetitions, and count only the tests themselves against their time.

    Starting and stopping servers has its own limits.
    """
    ours = [item for item in items if item.path.is_relative_to(Path(__file__).parent)]
    for item in ours:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(20, func_only=True))
    repeated = [item for item in ours if item.get_closest_marker("one_kind") and not _on_first_kind(item)]
    config.hook.pytest_deselected(items=repeated)
    items[:] = [item for item in items if item not in repeated]


def _on_first_kind(item: pytest.Item) -> bool:
    return isinstance(item, pytest.Function) and item.callspec.params["kind"] is RUN_KINDS[0]


@pytest.fixture(scope="session", params=kind_params(*RUN_KINDS))
def kind(request: pytest.FixtureRequest) -> ServerKind:
    """Give each kind of server in turn."""
    found: ServerKind = request.param
    return found


@pytest.fixture(scope="session")
def start(kind: ServerKind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """Give a server with certain options."""
    with starting(kind, "protocol", tmp_path_factory.mktemp("protocol")) as start:
        yield start


@pytest.fixture
def server(start: StartServer) -> Server:
    """Give a server with default options and an empty journal."""
    return start()


@pytest.fixture
def hasty(start: StartServer) -> Server:
    """Give a server that pings every 300 ms and waits 200 ms for the answer."""
    return start(ping_interval=0.3, ping_timeout=0.2)
