"""Clients of several workers, any of which may get any request: nothing is configured for that."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import socketio

from support.clients import CURRENT
from support.servers import (
    GEVENT_WORKERS,
    GTHREAD_WORKERS,
    SEVERAL,
    SUPERVISED_KINDS,
    UWSGI_WORKERS,
    AppSpec,
    Server,
    ServerKind,
    descendants,
    kind_params,
    serving,
    wait_until,
)
from support.wire.http import HttpError

from .at import Workers
from .crowd import Crowd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PREVIOUS = "socket.io-client-3"
CLIENTS = 40
ANNOUNCED = 60
DETACHING = (GTHREAD_WORKERS, GEVENT_WORKERS)


# Clients of a test before may not have gone yet: nobody counts those of others.
@pytest.fixture(scope="session", params=kind_params(*DETACHING, UWSGI_WORKERS, *SUPERVISED_KINDS))
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Start the workers once for the tests that leave them as they are."""
    kind: ServerKind = request.param
    with serving(kind, AppSpec(app="workers"), tmp_path_factory.mktemp("workers")) as server:
        yield server


def announce(server: Server, numbers: range) -> list[tuple[int, str]]:
    """Have any worker tell all clients something, one after the other; return which one has."""
    # All workers may be on their way up at the same time, on a busy machine.
    answers = [server.get(f"/announce/{number}", timeout_s=20) for number in numbers]
    return [(json.loads(answer.body), str(number)) for answer, number in zip(answers, numbers, strict=True)]


def wait_until_all_are_there(server: Server) -> None:
    """Wait until every client has come back to some worker."""

    def found() -> int:
        return len(json.loads(server.get("/who", timeout_s=20).body)["clients"])

    # Not often: where workers are exchanged after so many requests, these are among them.
    assert wait_until(lambda: found() == CLIENTS, timeout_s=20, interval_s=0.5), found()


def wait_for_calm(server: Server) -> None:
    """Give what was told last the time to arrive."""
    time.sleep(1)
    assert server.get("/ready").status == 200


def each_has_all(left: list[dict[str, Any]], told: list[tuple[int, str]]) -> None:
    """Check that everybody has received everything once, and in the order of who has told it."""
    by_worker: dict[int, list[str]] = defaultdict(list)
    for pid, text in told:
        by_worker[pid].append(text)
    for client in left:
        received: dict[int, list[str]] = defaultdict(list)
        for pid, text in client["received"]:
            received[pid].append(text)
        assert received == by_worker


@pytest.mark.timeout(90)
@pytest.mark.parametrize(
    "transports", [(), ("polling",), ("websocket",)], ids=["default", "polling", "websocket"]
)
def test_every_client_is_served_wherever_its_requests_go(
    running: Server, transports: tuple[str, ...]
) -> None:
    serve_a_crowd(running, CURRENT, transports)


@pytest.mark.timeout(90)
@pytest.mark.parametrize("running", kind_params(*DETACHING), indirect=True)
def test_clients_of_the_3_line_are_served_wherever_their_requests_go(running: Server) -> None:
    serve_a_crowd(running, PREVIOUS, ())


def serve_a_crowd(running: Server, package: str, transports: tuple[str, ...]) -> None:
    """Have clients connect, echo, call each other and hear what any worker tells."""
    with Crowd(package, running.url, CLIENTS, *transports) as crowd:
        assert [client["errors"] for client in crowd.joined] == [[]] * CLIENTS
        wanted = {"polling"} if transports == ("polling",) else {"websocket"}
        if running.kind is UWSGI_WORKERS and not transports:
            wanted = {"polling", "websocket"}  # an upgrade has to come to the right worker
        assert {client["transport"] for client in crowd.joined} == wanted
        assert [client["echoed"] for client in crowd.joined] == [2000] * CLIENTS
        assert all(client["called"] for client in crowd.joined)
        assert {client["pid"] for client in crowd.joined} <= workers_of(running)
        found = json.loads(running.get("/who").body)
        assert set(found["clients"]) >= {client["sids"][-1] for client in crowd.joined}
        assert found["missing"] == []
        told = announce(running, range(ANNOUNCED))
        wait_for_calm(running)
        left = crowd.leave()
    assert all(len(client["sids"]) == 1 for client in left)
    each_has_all(left, told)


class Announcer:
    """Have workers tell all clients something, again and again, until the block ends."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.told: list[tuple[int, str]] = []
        self.unsure: set[str] = set()  # nobody has said that these were sent

    def __enter__(self) -> Announcer:
        self._thread.start()
        return self

    def _run(self) -> None:
        for number in range(10_000):
            if self._end.wait(0.01):
                return
            try:
                pid = json.loads(self._server.get(f"/announce/{number}").body)
            except (OSError, HttpError, ValueError):
                self.unsure.add(str(number))
            else:
                self.told.append((pid, str(number)))

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()


@pytest.fixture(params=kind_params(*DETACHING))
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """Start workers that the test may kill, where no others meet."""
    with tempfile.TemporaryDirectory(prefix="w") as place:
        kind = replace(request.param, env={"XDG_RUNTIME_DIR": place})
        with serving(kind, AppSpec(app="workers"), tmp_path) as server:
            wait_until_several_serve(server)
            yield server
        assert not os.listdir(place)


def wait_until_several_serve(server: Server) -> None:
    """Wait for a second worker: the first one has all clients that come before the others have loaded."""
    pids: set[int] = set()

    def several() -> bool:
        pids.add(json.loads(server.get("/announce/0", timeout_s=20).body))
        return len(pids) > 1

    assert wait_until(several, timeout_s=20), pids


def workers_of(server: Server) -> set[int]:
    """Return the processes that serve."""
    return set(descendants(server.process.pid))


@pytest.mark.timeout(90)
def test_a_killed_worker_costs_the_others_nothing(fresh: Server) -> None:
    with Crowd(CURRENT, fresh.url, CLIENTS) as crowd:
        victim = Counter(client["pid"] for client in crowd.joined).most_common(1)[0][0]
        with Announcer(fresh) as announcer:
            time.sleep(0.5)
            os.kill(victim, signal.SIGKILL)
            assert wait_until(lambda: len(workers_of(fresh) - {victim}) == SEVERAL, timeout_s=15)
            wait_until_all_are_there(fresh)
        later = announce(fresh, range(20_000, 20_020))
        wait_for_calm(fresh)
        left = crowd.leave()
    assert all(client["connected"] for client in left)
    for joined, client in zip(crowd.joined, left, strict=True):
        received = [tuple(told) for told in client["received"]]
        assert len(set(received)) == len(received)
        assert set(received) >= set(later)
        if joined["pid"] == victim:
            assert len(client["sids"]) == 2
        else:
            assert len(client["sids"]) == 1
            assert client["errors"] == []
            each_has_all_but([client], [*announcer.told, *later], announcer.unsure)


@pytest.mark.timeout(90)
def test_workers_are_exchanged_one_after_the_other(fresh: Server) -> None:
    before = workers_of(fresh)
    with Crowd(CURRENT, fresh.url, CLIENTS) as crowd:
        with Announcer(fresh):
            time.sleep(0.3)
            fresh.process.send_signal(signal.SIGHUP)
            assert wait_until(
                lambda: not workers_of(fresh) & before and len(workers_of(fresh)) == SEVERAL, timeout_s=30
            )
            wait_until_all_are_there(fresh)
        later = announce(fresh, range(20_000, 20_020))
        wait_for_calm(fresh)
        left = crowd.leave()
    assert all(client["connected"] for client in left)
    for client in left:
        received = [tuple(told) for told in client["received"]]
        assert len(set(received)) == len(received)
        assert set(received) >= set(later)


def each_has_all_but(left: list[dict[str, Any]], told: list[tuple[int, str]], unsure: set[str]) -> None:
    """Check as :func:`each_has_all`, except for what may have been sent or not."""
    for client in left:
        client["received"] = [received for received in client["received"] if received[1] not in unsure]
    each_has_all(left, told)


@pytest.mark.timeout(90)
def test_presence_is_that_of_all_workers(tmp_path: Path) -> None:
    users = [f"user {number}" for number in range(12)]
    with serving(GTHREAD_WORKERS, AppSpec(app="present"), tmp_path) as server:
        # A worker learns of the others with the first client's request that comes to it.
        Workers(server, tmp_path).start_all()
        clients = [socketio.SimpleClient(reconnection=False) for _ in users]
        for client, user in zip(clients, users, strict=True):
            client.connect(server.url, auth=user)
            client.emit("open", ("plan", {"cursor": 1}))

        def seen() -> list[set[str]]:
            found = (json.loads(server.get("/present/plan").body) for _ in range(2 * SEVERAL))
            return [set(answer["users"]) for answer in found]

        assert wait_until(lambda: seen() == [set(users)] * 2 * SEVERAL, timeout_s=10), seen()
        for client in clients[1:]:
            client.disconnect()
        assert wait_until(lambda: seen() == [{users[0]}] * 2 * SEVERAL, timeout_s=10), seen()
        clients[0].disconnect()


@pytest.mark.timeout(90)
def test_workers_that_share_nothing_serve_their_own_sessions(tmp_path: Path) -> None:
    spec = AppSpec(app="workers", options={"share_sessions": False})
    with serving(GTHREAD_WORKERS, spec, tmp_path) as server:
        workers = Workers(server, tmp_path)
        session = workers.session()
        assert len(session.sid) == 20
        answer = workers.at(but={session.pid}).request("POST", session.target, b"2")
        assert (answer.status, json.loads(answer.body)["message"]) == (400, "Session ID unknown")
        workers.close()
    assert "sessions are shared" not in server.log_text()


@pytest.mark.timeout(90)
def test_workers_that_are_exchanged_after_so_many_requests_lose_nobody_for_long(tmp_path: Path) -> None:
    def command(port: int) -> list[str]:
        more = ["--max-requests", "40", "--max-requests-jitter", "20"]
        return [*GTHREAD_WORKERS.command(port)[:-1], *more, GTHREAD_WORKERS.command(port)[-1]]

    with serving(replace(GTHREAD_WORKERS, command=command), AppSpec(app="workers"), tmp_path) as server:
        before = workers_of(server)
        with Crowd(CURRENT, server.url, CLIENTS) as crowd:
            announce(server, range(300))
            assert wait_until(lambda: not workers_of(server) & before, timeout_s=20)
            later = []
            for number in range(
                20_000, 20_024
            ):  # meanwhile more are exchanged, and somebody may be on the way back
                time.sleep(0.25)
                later += announce(server, range(number, number + 1))
            wait_for_calm(server)
            left = crowd.leave()
    for client in left:
        received = [tuple(told) for told in client["received"]]
        assert len(set(received)) == len(received)
        assert set(received) & set(later), client


@pytest.mark.timeout(90)
def test_polls_that_wait_at_a_worker_that_ends_are_answered(fresh: Server) -> None:
    with Crowd(CURRENT, fresh.url, CLIENTS, "polling") as crowd:
        victim = Counter(client["pid"] for client in crowd.joined).most_common(1)[0][0]
        time.sleep(0.5)  # until nothing is sent any more, and every client has a poll that waits
        os.kill(victim, signal.SIGTERM)
        assert wait_until(lambda: len(workers_of(fresh) - {victim}) == SEVERAL, timeout_s=15)
        later = announce(fresh, range(20_000, 20_020))
        wait_for_calm(fresh)
        left = crowd.leave()
    assert all(client["connected"] for client in left)
    others = [
        (joined, client) for joined, client in zip(crowd.joined, left, strict=True) if joined["pid"] != victim
    ]
    assert others
    assert [client["errors"] for _, client in others] == [[]] * len(others)
    assert {len(client["sids"]) for _, client in others} == {1}
    each_has_all([client for _, client in others], later)


def shell(server: Server, *command: str) -> str:
    """Run a command as somebody does who has the application and knows nothing of its workers; return what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "support.apps.wsgi:app", "socketio", *command],
        env=server.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(90)
def test_a_shell_finds_the_workers(fresh: Server) -> None:
    with Crowd(CURRENT, fresh.url, CLIENTS) as crowd:
        checked = json.loads(shell(fresh, "check", "--json"))
        assert checked["up"] and checked["joins_workers"]
        assert {client["pid"] for client in crowd.joined} <= workers_of(fresh)
        assert 1 <= len(checked["servers"]) <= SEVERAL  # those that have had a request
        found = json.loads(shell(fresh, "clients", "--json"))
        assert {client["sid"] for client in found["clients"]} == {
            client["sids"][-1] for client in crowd.joined
        }
        shell(fresh, "emit", "announced", '[0, "from the shell"]')
        wait_for_calm(fresh)
        left = crowd.leave()
    assert [client["received"] for client in left] == [[[0, "from the shell"]]] * CLIENTS
