"""Clients that keep the workers: many events at once, on handlers that take long or never return.

The bound is that another client's event is handled meanwhile, whatever the first one does; handlers wait at a gate.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from flask_socketio_core.testing.rawclient import TEXT, RawClient, masked
from support.servers import MODE_KINDS, UWSGI_GEVENT, AppSpec, Server, kind_params, serving, wait_until
from support.wire.raw import join

WORKERS = 20
SHARE = 4
EVENTS = 100
"""Of each attacker."""


@pytest.fixture(scope="module", params=kind_params(*MODE_KINDS, UWSGI_GEVENT))
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(
        request.param,
        AppSpec(app="pending", options={"max_workers": WORKERS}),
        tmp_path_factory.mktemp("fairness"),
    ) as server:
        yield server


def counts(server: Server) -> dict[str, int]:
    found: dict[str, int] = json.loads(server.get("/counts").body)
    return found


@pytest.fixture(autouse=True)
def gate(server: Server) -> Iterator[None]:
    """Have handlers wait during a test, and finish behind it, before the next one begins."""
    server.post("/gate?open=0")
    yield
    server.post("/gate?open=1")
    assert wait_until(lambda: counts(server)["left"] == counts(server)["joined"], timeout_s=15)
    seen: list[tuple[int, int]] = []

    def finished() -> bool:  # what clients that left had sent besides is handled, too
        seen.append((counts(server)["waiting"], counts(server)["slow"]))
        return seen[-1][0] == 0 and len(seen) >= 3 and len(set(seen[-3:])) == 1

    assert wait_until(finished, timeout_s=15, interval_s=0.05), seen


def attack(server: Server, *clients: RawClient) -> None:
    """Send events of which as many wait as may."""
    before = counts(server)["waiting"]
    for client in clients:
        client.send(EVENTS * masked(TEXT, b'42["slow"]'))
    assert wait_until(lambda: counts(server)["waiting"] > before, timeout_s=15)


def assert_served(server: Server) -> None:
    """See that another client is let in and answered, while nobody's handlers return."""
    before = counts(server)["slow"]
    with join(server.port) as honest:
        honest.send(masked(TEXT, b'420["echo","here"]'))
        while honest.read_frame()[1] != b'430["here"]':
            pass
    assert counts(server)["slow"] == before


def test_one_client_does_not_take_all_workers(server: Server) -> None:
    with join(server.port) as attacker:
        attack(server, attacker)
        assert_served(server)
        assert counts(server)["waiting"] <= SHARE


def test_five_clients_do_not_take_all_workers(server: Server) -> None:
    with ExitStack() as stack:
        attack(server, *(stack.enter_context(join(server.port)) for _ in range(5)))
        assert wait_until(lambda: counts(server)["waiting"] >= 4 * SHARE, timeout_s=15)
        assert_served(server)
        assert counts(server)["waiting"] < WORKERS


def test_a_client_that_left_takes_no_workers_any_more(server: Server) -> None:
    """Its handlers go on waiting; what it has sent besides does not begin, and its disconnect handler runs."""
    for _ in range(3):
        left = counts(server)["left"]
        with join(server.port) as attacker:
            attack(server, attacker)
        assert wait_until(lambda left=left: counts(server)["left"] > left, timeout_s=15)  # type: ignore[misc]  # a default
    assert counts(server)["waiting"] <= 3 * SHARE
    assert_served(server)


def test_all_workers_come_back_when_handlers_return(server: Server) -> None:
    before = counts(server)["slow"]
    with join(server.port) as attacker:
        attack(server, attacker)
    server.post("/gate?open=1")
    assert wait_until(lambda: counts(server)["slow"] == before + EVENTS, timeout_s=15), (
        "what was sent is handled"
    )
    server.post("/gate?open=0")
    with ExitStack() as stack:
        attack(server, *(stack.enter_context(join(server.port)) for _ in range(4)))
        assert wait_until(lambda: counts(server)["waiting"] == 4 * SHARE, timeout_s=15)
        assert_served(server)


def test_one_that_connects_and_leaves_again_and_again_does_not_either(server: Server) -> None:
    with join(server.port) as attacker:
        attacker.send(EVENTS * (masked(TEXT, b"40/slow") + masked(TEXT, b"41/slow")))
        assert wait_until(lambda: counts(server)["waiting"] > 0, timeout_s=15)
        assert_served(server)
        assert counts(server)["waiting"] <= SHARE
