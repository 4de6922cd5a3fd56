"""What must not happen to the pooled greenlets of any green mode, whichever library it runs on."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from greenlet import getcurrent

from flask_socketio_core.contracts.concurrency.green import GreenMode
from flask_socketio_core.testing.conformance.async_modes import in_thread, wait_for


def assert_a_stray_time_out_takes_no_job(
    mode: GreenMode, time_out: Callable[[], object], logged: Callable[[], str]
) -> None:
    """Assert that a time-out that outlives its job, and so strikes an idle greenlet, is logged and takes no other job.

    :param time_out: starts one of the library's, which nobody cancels.
    :param logged: returns what the log says.
    """
    mode.spawn(time_out)
    wait_for(mode, lambda: "Timeout" in logged())
    _assert_jobs_run(mode)


def assert_a_killed_greenlet_takes_no_job(mode: GreenMode) -> None:
    """Assert that killing the greenlet of a job that has ended takes no other job with it."""
    workers: list[Any] = []
    mode.spawn(lambda: workers.append(getcurrent()))
    wait_for(mode, lambda: bool(workers))
    mode.call_soon(workers[0].throw)  # GreenletExit, unless told otherwise
    wait_for(mode, lambda: bool(workers[0].dead))
    _assert_jobs_run(mode)


def assert_a_burst_of_jobs_leaves_the_hub_its_turns(mode: GreenMode) -> None:
    """Assert that sockets and timers are looked after between the jobs of a burst, which none of them interrupts."""
    done: list[None] = []
    seen = [0]

    def compute() -> None:
        until_s = time.monotonic() + 0.001
        while time.monotonic() < until_s:
            pass
        done.append(None)

    def beat() -> None:
        seen.append(len(done))
        if len(done) < 300:
            mode.call_later(0, beat)

    for _ in range(300):
        mode.spawn(compute)
    mode.call_later(0, beat)
    wait_for(mode, lambda: seen[-1] == 300)
    assert max(after - before for before, after in itertools.pairwise(seen)) <= 20
    mode.close()


def assert_only_a_server_without_our_hub_is_refused(mode: GreenMode) -> None:
    """Assert that a request is refused where its OS thread's hub is not the one that runs the tasks.

    Servers that do not say their name run requests in such threads: hypercorn, ``uvicorn --interface wsgi``.
    """
    unnamed: dict[str, object] = {"wsgi.input": None, "wsgi.multithread": True, "wsgi.multiprocess": True}
    test_client: dict[str, object] = {
        "wsgi.input": None,
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
    }
    verdicts: list[bool] = []

    def ask(environ: dict[str, object]) -> None:
        verdicts.append(mode.check_request(environ).usable)

    for environ in (unnamed, test_client):
        in_thread(mode, partial(ask, environ))
    wait_for(mode, lambda: len(verdicts) == 2)
    ask(test_client)
    ask(unnamed)
    mode.start_task(ask, unnamed).join(5)
    assert verdicts == [False, False, True, False, True]
    mode.close()


def _assert_jobs_run(mode: GreenMode) -> None:
    ran: list[int] = []
    for number in range(3):
        mode.spawn(partial(ran.append, number))
    wait_for(mode, lambda: len(ran) == 3)
    mode.close()
