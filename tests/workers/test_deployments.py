"""Several applications and web servers of one user on one host, what they leave behind, and hosts that let them not."""

from __future__ import annotations

import dataclasses
import os
import signal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.servers import (
    GEVENT_WORKERS,
    GTHREAD_WORKERS,
    SEVERAL,
    AppSpec,
    ServerKind,
    kind_params,
    wait_until,
)

from .at import At, Session, Workers, deployed, descriptors, with_workers

if TYPE_CHECKING:
    from collections.abc import Callable

DETACHING = (GTHREAD_WORKERS, GEVENT_WORKERS)
UNKNOWN = '{"code": 1, "message": "Session ID unknown"}'


def tell(at: At, name: str, text: str) -> None:
    assert at.request("GET", f"/tell/{name}/{text}").status == 200


@pytest.mark.parametrize("kind", kind_params(*DETACHING))
def test_objects_on_paths_of_their_own_do_not_mix(kind: ServerKind, runtime: Path, tmp_path: Path) -> None:
    with deployed(kind, AppSpec(app="workers_twice"), runtime, tmp_path) as workers:
        at = workers.at()
        elsewhere = workers.at(but={at.pid})
        first, second = Session(at, "/first/"), Session(at, "/second/")
        others = [Session(elsewhere, "/first/"), Session(elsewhere, "/second/")]
        for name, session in (("first", first), ("second", second)):
            session.post(elsewhere, '420["echo",1]')
            assert session.poll(elsewhere) == [f'430[["{name}",{session.pid},1]]']
        for session, path in ((first, "/second/"), (second, "/first/")):
            for place in (at, elsewhere):
                answer = place.request("GET", session.target.replace(session.target.split("?")[0], path))
                assert (answer.status, answer.text) == (400, UNKNOWN)
        tell(elsewhere, "first", "one")
        tell(at, "second", "two")
        for session, text in zip((first, second, *others), ("one", "two", "one", "two"), strict=True):
            assert session.poll(at) == [f'42["told","{text}"]']


def test_two_web_servers_with_one_application_do_not_mix(runtime: Path, tmp_path: Path) -> None:
    spec = AppSpec(app="workers")
    with (
        deployed(GTHREAD_WORKERS, spec, runtime, tmp_path) as one,
        deployed(GTHREAD_WORKERS, spec, runtime, tmp_path) as other,
    ):
        session, theirs = one.session(), other.session()
        for at in [other.at() for _ in range(8)]:
            answer = at.request("GET", session.target)
            assert (answer.status, answer.text) == (400, UNKNOWN)
        announcer = other.at(but={theirs.pid})
        assert announcer.request("GET", "/announce/theirs").status == 200
        assert theirs.poll(other.at()) == [f'42["announced",[{announcer.pid},"theirs"]]']
        announcer = one.at(but={session.pid})
        assert announcer.request("GET", "/announce/ours").status == 200
        assert session.poll(one.at()) == [f'42["announced",[{announcer.pid},"ours"]]']
    assert list(runtime.iterdir()) == []


def unusable_file(runtime: Path) -> tuple[Path, str]:
    (runtime / f"flask-socketio-{os.geteuid()}").write_text("")
    return runtime, "is no directory, remove it"


def unusable_length(runtime: Path) -> tuple[Path, str]:
    path = runtime / ("x" * 100)
    path.mkdir()
    return path, "too long for a socket's path"


@pytest.mark.parametrize("make", [unusable_file, unusable_length])
def test_workers_without_a_place_serve_their_own_and_say_why(
    runtime: Path, tmp_path: Path, make: Callable[[Path], tuple[Path, str]]
) -> None:
    place, why = make(runtime)
    kind = dataclasses.replace(GTHREAD_WORKERS, env={"XDG_RUNTIME_DIR": str(place), "TMPDIR": str(place)})
    with deployed(kind, AppSpec(app="workers"), runtime, tmp_path) as workers:
        sessions = [workers.session() for _ in range(3)]
        for session in sessions:
            at = workers.at(wanted={session.pid})
            session.post(at, '420["echo",1]')
            assert session.poll(at) == [f"430[[{session.pid},1]]"]
            answer = workers.at(but={session.pid}).request("GET", session.target)
            assert (answer.status, answer.text) == (400, UNKNOWN)
        text = workers.server.log_text()
    assert why in text
    pids = {session.pid for session in sessions}
    said = text.count("which cannot serve each other's sessions")
    assert len(pids) <= said <= SEVERAL


@pytest.mark.timeout(90)
@pytest.mark.skipif(GTHREAD_WORKERS.missing() is not None, reason="gunicorn is not installed")
def test_new_generations_leave_nothing_behind(runtime: Path, tmp_path: Path) -> None:
    kind = dataclasses.replace(GTHREAD_WORKERS, command=with_workers(GTHREAD_WORKERS, 2))
    with deployed(kind, AppSpec(app="workers"), runtime, tmp_path) as workers:
        master = workers.server.process
        counts = []
        for _ in range(6):
            before = workers.pids()
            sessions = [workers.session(wanted={pid}) for pid in before]
            counts.append((descriptors(master.pid), *sorted(map(descriptors, before))))
            assert len(sockets(runtime)) == 2 * len(before)  # one of them is the message queue's
            workers.close()
            master.send_signal(signal.SIGHUP)
            assert wait_until(
                partial(renewed, workers, before),
                timeout_s=15,
            )
            assert all(os.path.exists(f"/proc/{pid}") is False for pid in {s.pid for s in sessions})
            assert wait_until(lambda: workers.server.get("/ready").status == 200, timeout_s=5)
            assert wait_until(lambda: len(sockets(runtime)) <= 4, timeout_s=5), sockets(runtime)
        assert max(map(sum, counts[1:])) <= sum(counts[0]) + 3, counts
        assert counts[-1][0] <= counts[0][0], counts
    assert list(runtime.iterdir()) == []


def renewed(workers: Workers, before: set[int]) -> bool:
    now = workers.pids()
    return not now & before and len(now) == len(before)


def sockets(runtime: Path) -> list[Path]:
    return [path for path in runtime.glob("flask-socketio-*/*/*") if path.is_socket()]
