"""A short soak of servers of two modes, whose Redis is restarted; ``make soak`` is the long one."""

from __future__ import annotations

import datetime
import os
from pathlib import Path

import pytest

from support.brokers import BrokerMissing

from .__main__ import parse
from .plan import MODES, QUEUES, Plan
from .soak import run

SECONDS = 30.0
"""Of traffic; the time-outs of clients that vanished, behind the warm-up and at the end, take as long again."""

PING_TIMEOUT_S = 8.0

PAIRS = (("threading", "gevent"), ("gevent", "eventlet"), ("eventlet", "threading"))
TODAY = PAIRS[datetime.date.today().toordinal() % len(PAIRS)]
"""The pairs take turns, by the day."""


@pytest.mark.timeout(300)
def test_a_crowd_leaves_nothing_and_hears_everything_once_and_in_order(tmp_path: Path) -> None:
    modes = [mode for mode in TODAY if MODES[mode].missing() is None] or ["threading"]
    lines: list[str] = []
    try:
        plan = Plan(
            modes=(modes * 2)[:2], queue="redis", seconds=SECONDS, visitors=16, ping_timeout_s=PING_TIMEOUT_S
        )
        outcome = run(plan, tmp_path, lines.append)
    except BrokerMissing as problem:
        if os.environ.get("REQUIRE_BROKERS") == "1":
            raise
        pytest.skip(str(problem))
    assert not outcome.failures, (modes, outcome.failures, lines)
    assert (outcome.restarts, outcome.cuts) == (1, 1)
    # The server that was cut off missed what the other one said meanwhile, and has counted it.
    missing, counted = list(outcome.lost.values())[-1]
    assert 0 < missing <= counted
    assert min(outcome.visits.values()) > 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--mode", "geven"], "invalid choice: 'geven' (choose from threading, gevent, eventlet)"),
        (["--mode", "gevent,asyncio"], "invalid choice: 'asyncio'"),
        (["--queue", "redsi"], "invalid choice: 'redsi'"),
        (["--minutes", "0"], "0 is too short"),
        (["--minutes", "ten"], "invalid float value: 'ten'"),
    ],
)
def test_a_choice_that_does_not_exist_is_named(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit:
        parse(arguments)
    assert exit.value.code == 2
    assert text in capsys.readouterr().err


def test_one_mode_is_that_of_both_servers() -> None:
    plan, results = parse(["--mode", "threading", "--minutes", "10", "--queue", "kafka"])
    assert (plan.modes, plan.seconds, plan.rounds, results) == (["threading", "threading"], 600, 5, None)
    assert plan.queue in QUEUES
