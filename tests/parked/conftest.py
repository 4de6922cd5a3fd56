"""Servers on which polls wait without a thread."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

from support.fixtures import leave_nothing_open
from support.servers import FLASK_RUN, GUNICORN_GTHREAD, THREADING, Server, StartServer, kind_params, starting

__all__ = ["leave_nothing_open"]

#: Four threads, so that a fifth poll that waited in one would be the last.
FOUR_THREADS = dataclasses.replace(
    GUNICORN_GTHREAD,
    name="gunicorn-four-threads",
    command=lambda port: ["4" if word == "20" else word for word in GUNICORN_GTHREAD.command(port)],
)


@pytest.fixture(scope="session", params=kind_params(THREADING, FLASK_RUN, FOUR_THREADS))
def start(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """Give a server with certain options."""
    with starting(request.param, "parked", tmp_path_factory.mktemp("parked")) as start:
        yield start


@pytest.fixture
def server(start: StartServer) -> Server:
    """Give a server with default options and an empty journal."""
    return start()
