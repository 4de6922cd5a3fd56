"""What an application starts before its server forks the workers is noticed there."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from support.servers import (
    GUNICORN_GEVENT,
    GUNICORN_GTHREAD,
    UWSGI_GEVENT,
    AppSpec,
    ServerKind,
    kind_params,
    serving,
)
from support.wire.engine import Polling

PRELOADED = [
    dataclasses.replace(kind, env={"GUNICORN_CMD_ARGS": "--preload"})
    for kind in (GUNICORN_GTHREAD, GUNICORN_GEVENT)
]


@pytest.mark.parametrize("kind", kind_params(*PRELOADED, UWSGI_GEVENT))
def test_a_task_that_was_started_before_the_fork_is_named_in_the_worker(
    kind: ServerKind, tmp_path: Path
) -> None:
    with serving(kind, AppSpec(app="ticking"), tmp_path) as server:
        for _ in range(2):
            Polling(server.port)
        said = (
            "the background task support.apps.ticking.make_app.<locals>.tick was started before this worker"
        )
        assert server.log_text().count(said) == 1


@pytest.mark.parametrize("kind", kind_params(GUNICORN_GTHREAD))
def test_a_task_of_the_worker_itself_is_no_news(kind: ServerKind, tmp_path: Path) -> None:
    with serving(kind, AppSpec(app="ticking"), tmp_path) as server:
        Polling(server.port)
        assert "background task" not in server.log_text()
