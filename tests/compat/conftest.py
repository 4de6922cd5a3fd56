"""Fixtures: for each mode and variant one server per library, kept for the whole run of the tests."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from compat.stage import VARIANTS, Stage
from support.servers import CORE, REFERENCE, THREADING, AppSpec, Server, ServerKind, Servers
from support.wire import drop_all

GetServer: TypeAlias = Callable[[ServerKind, str, str], Server]
OpenStage: TypeAlias = Callable[[str, str], Stage]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Count only the tests themselves against their time; starting and stopping servers has its own limits."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(20, func_only=True))


@pytest.fixture(scope="session")
def get_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GetServer]:
    """Give the server of a kind, library and variant; started at its first use."""
    servers = Servers(tmp_path_factory.mktemp("compat"))

    def get(kind: ServerKind, library: str, variant: str) -> Server:
        setup = VARIANTS[variant]
        spec = AppSpec(app="scenario", library=library, options=setup.options, settings=setup.settings)
        return servers.get(kind, spec)

    yield get
    servers.stop()


@pytest.fixture
def open_stage(get_server: GetServer, request: pytest.FixtureRequest) -> Iterator[OpenStage]:
    """Open a stage for a library and variant, in the mode of the test's ``kind`` or else threading."""
    parameters: dict[str, Any] = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    kind: ServerKind = parameters.get("kind", THREADING)
    with contextlib.ExitStack() as stack:

        def open_(library: str, variant: str = "default") -> Stage:
            server = get_server(kind, library, variant)
            server.begin_test()
            stage = Stage(server, path=VARIANTS[variant].path)
            stack.callback(stage.close)
            return stage

        yield open_
    drop_all()


@pytest.fixture
def reference(open_stage: OpenStage) -> Callable[..., Stage]:
    """Open a stage on Flask-SocketIO."""
    return lambda variant="default": open_stage(REFERENCE, variant)


@pytest.fixture
def ours(open_stage: OpenStage) -> Callable[..., Stage]:
    """Open a stage on this library."""
    return lambda variant="default": open_stage(CORE, variant)
