"""Workers that have served pages only: they know of the clients of others, and hear what servers tell each other."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import pytest

from support.servers import GEVENT_WORKERS, GTHREAD_WORKERS, AppSpec, ServerKind, kind_params, wait_until

from .at import Workers, deployed, with_workers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SPEC = AppSpec(app="workers")
PATIENCE_S = 10.0


@pytest.fixture(params=kind_params(GTHREAD_WORKERS, GEVENT_WORKERS))
def two(request: pytest.FixtureRequest, runtime: Path, tmp_path: Path) -> Iterator[Workers]:
    """Start two workers, each of which has answered a page."""
    kind: ServerKind = request.param
    with deployed(
        dataclasses.replace(kind, command=with_workers(kind, 2)), SPEC, runtime, tmp_path
    ) as workers:
        for pid in workers.pids():
            workers.at(wanted={pid})
        workers.close()
        yield workers


def test_a_page_of_one_worker_knows_the_client_of_the_other(two: Workers) -> None:
    session = two.session()
    other = two.at(but={session.pid})
    found = json.loads(other.request("GET", "/who").body)
    assert (len(found["clients"]), found["missing"]) == (1, [])


def test_what_a_page_of_one_worker_tells_and_asks_reaches_the_other(two: Workers) -> None:
    at = two.at()

    def answers() -> list[int]:
        found = json.loads(at.request("GET", "/ask/anything").body)
        assert found["complete"]
        return sorted(found["answers"])

    assert wait_until(lambda: answers() == sorted(two.pids()), timeout_s=PATIENCE_S), answers()
    two.server.reset()
    at.request("GET", "/tell/something")
    two.server.wait_journal("told", timeout_s=PATIENCE_S)
    assert two.server.journal() == [["told", "something"]]
