"""A server of every kind, each started once and kept for the whole run of the tests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.servers import (
    DEPLOYED_KINDS,
    RUN_KINDS,
    WORKER_KINDS,
    AppSpec,
    Server,
    ServerKind,
    kind_params,
    serving,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Count only the tests themselves against their time; starting and stopping servers has its own limits."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(20, func_only=True))


@pytest.fixture(scope="session", params=kind_params(*RUN_KINDS, *DEPLOYED_KINDS, *WORKER_KINDS))
def kind(request: pytest.FixtureRequest) -> ServerKind:
    """Give each kind of server in turn."""
    found: ServerKind = request.param
    return found


@pytest.fixture(scope="session")
def running(kind: ServerKind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Start a server of that kind.

    It pings often because of python-socketio's client: asked to leave while a POST is under way, it sends no CLOSE and
    waits for its pending poll to be answered by something else.
    """
    with serving(
        kind,
        AppSpec(app="clients", options={"ping_interval": 2, "ping_timeout": 3}),
        tmp_path_factory.mktemp("clients"),
    ) as server:
        yield server


@pytest.fixture
def server(running: Server) -> Server:
    """Give the server with an empty journal."""
    running.begin_test()
    return running
