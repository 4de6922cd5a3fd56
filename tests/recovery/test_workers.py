"""Clients that come back to whatever worker of one web server, also while its workers are exchanged."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from support.proxy import Proxy
from support.recovering import EVENTS, LIMIT_S, OPTIONS, TRANSPORTS, clients, cut_while_events_flow
from support.servers import (
    GEVENT_WORKERS,
    GTHREAD_WORKERS,
    THREADING_WORKERS,
    AppSpec,
    Server,
    gunicorn,
    kind_params,
    serving,
)

pytestmark = pytest.mark.timeout(LIMIT_S)
PATIENT = ("--graceful-timeout", "20")
SPEC = AppSpec(app="recovery", options=OPTIONS)


#: With a graceful time-out in which a new worker has loaded the application, as by default.
KINDS = (
    replace(
        GTHREAD_WORKERS,
        command=gunicorn("--worker-class", "gthread", "--threads", "40", *PATIENT, workers=2),
    ),
    replace(GEVENT_WORKERS, command=gunicorn("--worker-class", "gevent", *PATIENT, workers=2)),
    THREADING_WORKERS,
)


@pytest.fixture(scope="module", params=kind_params(*KINDS))
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(request.param, SPEC, tmp_path_factory.mktemp("recovery")) as server:
        yield server


@pytest.mark.parametrize("transports", TRANSPORTS.values(), ids=TRANSPORTS)
def test_nothing_is_lost_whichever_worker_clients_come_back_to(server: Server, transports: list[str]) -> None:
    count = EVENTS or 1500
    with closing(Proxy(server.port)) as proxy, clients(proxy.port, 8, *transports) as some:
        some.wait(1)
        server.post(f"/flow?first=0&count={count}&pause=0.003")
        cut_while_events_flow(proxy, count, 0.003)
        seen = some.wait_for(count - 1, 60)
        for one in seen:
            assert one.received == list(range(count))
            assert one.recovered == [False, *[True] * (len(one.sids) - 1)]


def test_clients_are_the_same_when_all_workers_were_exchanged(server: Server) -> None:
    numbers = range(300)
    with closing(Proxy(server.port)) as proxy, clients(proxy.port, 24) as some:
        some.wait(1, "websocket")
        for number in numbers:
            if number == 50:
                server.process.send_signal(signal.SIGHUP)
            answer = server.post(f"/do/emit?number={number}&to=all", timeout_s=30)
            assert answer.status == 200
            time.sleep(0.01)
        try:
            some.wait_for(numbers[-1], 40)
        except AssertionError as error:
            noted = "\n".join(map(str, server.journal()))
            raise AssertionError(f"{noted}\n{server.log_text()}") from error
        # Workers that are exchanged one by one may take longer than all that.
        seen = some.wait(2, timeout_s=40)
        for one in seen:
            assert one.recovered == [False, *[True] * (len(one.sids) - 1)], server.log_text()
            # Each is emitted by another worker: those that come close together may change places.
            assert sorted(one.received) == list(numbers)
