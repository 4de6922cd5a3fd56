"""A server that stands still for longer than its peers wait for a sign of life hears what was sent meanwhile."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import pytest

from support.nodes import wait_until
from support.servers import MODE_KINDS, stopped

from .buses import make_bus
from .stage import EVERYONE, OUTSIDE, available, playing

if TYPE_CHECKING:
    from pathlib import Path

MESSAGES = 50
#: Seconds of silence, with heartbeats of 0.5, after which a listener is taken for deaf and started anew.
DEAF_S = 2.5
#: Seconds until a server that goes on is there again.
RECOVERY_S = 20.0

pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize("queue", ["redis", "streams"])
def test_a_server_that_stood_still_is_missed_and_misses_nothing(
    request: pytest.FixtureRequest, queue: str, tmp_path: Path
) -> None:
    bus = make_bus(request, queue)
    kinds = available(*MODE_KINDS)
    with playing(bus, kinds, tmp_path) as stage:
        names = [kind.name for kind in kinds]
        pids = [stage.servers[name].worker_pid for name in names[1:]]
        wait_until(lambda: len(stage.health(names[0])["peers"]) == len(pids), "peers")
        with contextlib.ExitStack() as stack:
            for pid in pids:
                stack.enter_context(stopped(pid))
            for number in range(MESSAGES):
                for sender in (OUTSIDE, names[0]):
                    stage.senders[sender].do("emit", "meanwhile", number, to=EVERYONE)
            wait_until(lambda: not stage.health(names[0])["peers"], "server that stands alone", RECOVERY_S)
            time.sleep(DEAF_S)
        stage.become_one(RECOVERY_S)
        for name in names:
            wait_until(lambda name=name: len(stage.health(name)["peers"]) == len(pids), "peers", RECOVERY_S)  # type: ignore[misc]  # a default
            assert sorted(stage.people[name].numbers("meanwhile")) == sorted([*range(MESSAGES)] * 2), name
            assert stage.health(name)["lost_received"] == 0, name
