"""Servers on which polls wait without a thread."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.servers import FLASK_RUN, GUNICORN_GTHREAD, THREADING, AppSpec, Server, Servers, kind_params
from support.wire import drop_all

StartServer = Callable[..., Server]

#: Four threads, so that a fifth poll that waited in one would be the last.
FOUR_THREADS = dataclasses.replace(
    GUNICORN_GTHREAD,
    name="gunicorn-four-threads",
    command=lambda port: ["4" if word == "20" else word for word in GUNICORN_GTHREAD.command(port)],
)


@pytest.fixture(autouse=True)
def leave_nothing_open() -> Iterator[None]:
    """Drop the connections that the test did not close."""
    yield
    drop_all()


@pytest.fixture(scope="session", params=kind_params(THREADING, FLASK_RUN, FOUR_THREADS))
def start(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """Give a server with certain options."""
    servers = Servers(tmp_path_factory.mktemp("parked"))

    def get(settings: dict[str, Any] | None = None, **options: Any) -> Server:
        spec = AppSpec(app="parked", options=options, settings=settings or {})
        server = servers.get(request.param, spec)
        server.reset()
        return server

    yield get
    servers.stop()


@pytest.fixture
def server(start: StartServer) -> Server:
    """Give a server with default options and an empty journal."""
    return start()
