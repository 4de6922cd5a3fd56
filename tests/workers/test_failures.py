"""Workers that hang or die, and clients that do several things at once, while requests are on their way."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import resource
import signal
import socket
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flask_socketio_core.testing.rawclient import TEXT
from support.servers import (
    GEVENT_WORKERS,
    GTHREAD_WORKERS,
    HOST,
    RUN_EVENTLET_WORKERS,
    RUN_GEVENT_WORKERS,
    THREADING_WORKERS,
    AppSpec,
    kind_params,
    serving,
    stopped,
    wait_until,
)

from .at import At, Session, Workers, deployed, descriptors, returns_to, with_workers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.servers import ServerKind

DETACHING = (GTHREAD_WORKERS, GEVENT_WORKERS)
LIMIT = 4_000_000
WORKERS = 3
PATIENCE_S = 10.0 + 1 + 1

pytestmark = pytest.mark.timeout(60)


@contextlib.contextmanager
def three_workers(kind: ServerKind, folder: Path, **options: float) -> Iterator[Workers]:
    kind = dataclasses.replace(kind, command=with_workers(kind, WORKERS))
    spec = AppSpec(app="workers", options={"max_http_buffer_size": LIMIT, **options})
    with tempfile.TemporaryDirectory() as runtime, deployed(kind, spec, Path(runtime), folder) as workers:
        yield workers


@pytest.fixture(scope="module", params=kind_params(*DETACHING))
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    """Workers for the tests that kill none."""
    with three_workers(request.param, tmp_path_factory.mktemp("shared")) as workers:
        yield workers


@pytest.fixture(scope="module", params=kind_params(*DETACHING))
def pinging(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    """Workers whose clients are pinged soon."""
    with three_workers(
        request.param, tmp_path_factory.mktemp("p"), ping_interval=1, ping_timeout=1
    ) as workers:
        yield workers


@pytest.fixture(params=kind_params(*DETACHING))
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Workers]:
    """Workers of which the test may kill one."""
    with three_workers(request.param, tmp_path) as workers:
        yield workers


class Three:
    """Two workers and a session.

    :param session: that the test is about.
    :param near: a connection to the worker that has it.
    :param far: a connection to another one.
    :param theirs: a session of that one.
    """

    def __init__(self, workers: Workers) -> None:
        self.workers = workers
        self.session = workers.session()
        self.near = workers.at(wanted={self.session.pid})
        self.far = workers.at(but={self.session.pid})
        self.theirs = Session(workers.at(wanted={self.far.pid}))

    def more(self, count: int) -> list[At]:
        """Return more connections to the other worker."""
        return [self.workers.at(wanted={self.far.pid}) for _ in range(count)]

    def third(self) -> At:
        """Return a connection to a third worker."""
        return self.workers.at(but={self.session.pid, self.far.pid})


def say(number: int, size: int = 0) -> bytes:
    return f'42{number}["echo","{"x" * size}"]'.encode()


def acknowledged(session: Session, at: At, count: int) -> list[int]:
    """Return the numbers of the answers that have come, once there are so many."""
    found: list[int] = []
    for _ in range(count + 2):
        found += [int(str(p)[2 : str(p).index("[")]) for p in session.poll(at) if str(p).startswith("43")]
        if len(found) >= count:
            break
    return found


def ends(at: At, timeout_s: float = 5.0) -> int:
    """Return the status of the answer, 0 if the connection ended without one; fails if nothing comes."""
    try:
        return at.answer(timeout_s=timeout_s).status
    except (EOFError, ConnectionError):
        return 0


def test_a_worker_that_hangs_holds_up_its_own_sessions_only(shared: Workers) -> None:
    three = Three(shared)
    session, theirs = three.session, three.theirs
    posts, upgrade = three.more(8), three.more(1)[0]
    before = descriptors(three.far.pid)
    with stopped(session.pid):
        for number, at in enumerate(posts):
            at.begin("POST", session.target, say(number, 300_000 if number == 3 else 0))
        upgrade.begin_upgrade(session.sid)
        begun = time.monotonic()
        for _ in range(5):
            theirs.post(three.far, '420["echo"]')
            assert theirs.poll(three.far) == [f"430[[{theirs.pid}]]"]
        assert time.monotonic() - begun < 5
    assert [ends(at) for at in posts] == [200] * len(posts)
    assert sorted(acknowledged(session, three.third(), len(posts))) == list(range(len(posts)))
    assert upgrade.read_head().startswith("HTTP/1.1 101 ")
    upgrade.say("2probe")
    assert upgrade.read_frame() == (TEXT, b"3probe")
    upgrade.say("5")
    upgrade.say('429["echo"]')
    while (frame := upgrade.read_frame()[1]) != f"439[[{session.pid}]]".encode():
        assert not frame.startswith(b"43"), "doubled"
    returns_to(three.far.pid, before)


def test_a_request_to_a_worker_that_hangs_is_given_up_in_time(pinging: Workers) -> None:
    three = Three(pinging)
    session = three.session
    large, small = three.more(2)
    before = descriptors(three.far.pid)
    with stopped(session.pid):
        begun = time.monotonic()
        large.begin("POST", session.target, say(1, 2_000_000))
        small.begin("POST", session.target, say(2))
        assert [ends(at, PATIENCE_S + 5) for at in (large, small)] == [400] * 2
        assert PATIENCE_S - 1 < time.monotonic() - begun < PATIENCE_S + 3
        returns_to(three.far.pid, before)
    assert wait_until(lambda: os.path.exists(f"/proc/{session.pid}"), timeout_s=1)
    assert Session(pinging.at(wanted={session.pid})).pid == session.pid


def test_who_asked_a_worker_that_is_killed_is_told(fresh: Workers) -> None:
    three = Three(fresh)
    session = three.session
    waiting, late, small, large, upgrade, taken = three.more(6)
    before = descriptors(three.far.pid)
    waiting.begin("GET", session.target)
    taken.begin_upgrade(session.sid)
    assert taken.read_head().startswith("HTTP/1.1 101 ")
    with stopped(session.pid):
        small.begin("POST", session.target, say(1))
        large.begin("POST", session.target, say(2, 2_000_000))
        upgrade.begin_upgrade(session.sid)
        late.begin("GET", session.target)
        time.sleep(0.3)
        os.kill(session.pid, signal.SIGKILL)
    assert [ends(at) in (0, 400) for at in (waiting, late)] == [
        True
    ] * 2  # 0 for a connection that was handed over
    assert [ends(at) for at in (small, large, upgrade)] == [400, 400, 0]
    assert taken.read_rest() == b""
    returns_to(three.far.pid, before)
    answer = three.far.request("GET", session.target)
    assert (answer.status, '"code": 1' in answer.text) == (400, True)


def test_a_session_survives_the_worker_that_has_asked_for_it(fresh: Workers) -> None:
    three = Three(fresh)
    session = three.session
    before = descriptors(session.pid)
    waiting, posting = three.more(2)
    waiting.begin("GET", session.target)
    posting.send(f"POST {session.target} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n4".encode())
    assert wait_until(lambda: len(os.listdir(f"/proc/{session.pid}/fd")) > before, timeout_s=5)
    os.kill(three.far.pid, signal.SIGKILL)
    assert ends(posting) == 0
    third = three.third()
    session.post(third, '427["echo"]')
    try:  # where its connection was handed over, the poll goes on
        found = waiting.answer().text
    except (EOFError, ConnectionError):
        found = third.request("GET", session.target).text
    assert found == f"437[[{session.pid}]]"
    returns_to(session.pid, before)


def test_two_polls_at_two_workers_are_one_too_many(shared: Workers) -> None:
    three = Three(shared)
    statuses = []
    for first, second in ((three.near, three.far), (three.far, three.third())):
        session = Session(shared.at(wanted={three.session.pid}))
        first.begin("GET", session.target)
        time.sleep(0.3)
        second.begin("GET", session.target)
        statuses.append((ends(second), ends(first)))
        assert three.third().request("GET", session.target).status == 400
    assert statuses[0] == statuses[1] == (400, 200)


def test_two_posts_at_two_workers_both_arrive(shared: Workers) -> None:
    three = Three(shared)
    session, third = three.session, three.third()
    for number in range(0, 20, 2):
        three.far.begin("POST", session.target, say(number))
        third.begin("POST", session.target, say(number + 1))
        assert [ends(three.far), ends(third)] == [200, 200]
    assert sorted(acknowledged(session, three.near, 20)) == list(range(20))


def test_an_upgrade_comes_to_another_worker_than_the_poll_that_waits(shared: Workers) -> None:
    three = Three(shared)
    session, third = three.session, three.third()
    third.begin("GET", session.target)
    time.sleep(0.2)
    three.far.begin_upgrade(session.sid)
    assert three.far.read_head().startswith("HTTP/1.1 101 ")
    three.far.say("2probe")
    assert three.far.read_frame() == (TEXT, b"3probe")
    assert (answer := third.answer()).status == 200 and answer.text == "6"
    three.far.say("5")
    three.far.say('421["echo"]')
    assert three.far.read_frame() == (TEXT, f"431[[{session.pid}]]".encode())
    assert three.far.silence(0.2) == b""
    assert third.request("GET", session.target).status == 400


def test_a_session_is_closed_while_its_poll_waits_elsewhere(shared: Workers) -> None:
    three = Three(shared)
    session, third = three.session, three.third()
    before = descriptors(session.pid)
    third.begin("GET", session.target)
    time.sleep(0.2)
    session.post(three.far, "1")
    assert (answer := third.answer()).status == 200 and answer.text == "6"
    assert third.request("GET", session.target).status == 400
    returns_to(session.pid, before)


def test_a_client_that_answers_no_ping_is_told_wherever_it_polls(pinging: Workers) -> None:
    three = Three(pinging)
    found = []
    for at in (three.near, three.far):
        session = Session(pinging.at(wanted={three.session.pid}))
        assert session.poll(at) == ["2"]
        begun = time.monotonic()
        answer = at.request("GET", session.target)
        assert time.monotonic() - begun < 3
        found.append((answer.status, answer.text))
    assert found[0] == found[1]


def test_a_client_that_goes_away_while_its_poll_waits_leaves_nothing(pinging: Workers) -> None:
    three = Three(pinging)
    session = three.session
    waiting = three.more(1)[0]
    assert session.poll(three.near) == ["2"]
    session.post(three.near, "3")
    counts = [descriptors(pid) for pid in (session.pid, three.far.pid)]
    waiting.begin("GET", session.target)
    waiting.sock.close()
    assert wait_until(lambda: three.third().request("GET", session.target).status == 400, timeout_s=5)
    for pid, count in zip((session.pid, three.far.pid), counts, strict=True):
        returns_to(pid, count)


def test_a_poll_of_a_worker_that_hangs_is_answered_when_it_goes_on_and_nothing_is_left_of_it_here(
    shared: Workers,
) -> None:
    three = Three(shared)
    session, theirs = three.session, three.theirs
    waiting = three.more(1)[0]
    before = descriptors(three.far.pid)
    with stopped(session.pid):
        waiting.begin("GET", session.target)
        assert waiting.silence(1) == b""
        if shared.server.kind.mode == "threading":
            returns_to(three.far.pid, before - 1)  # its connection is on the way to the other worker
        theirs.post(three.far, '420["echo"]')
        assert theirs.poll(three.far) == [f"430[[{theirs.pid}]]"]
    session.post(three.third(), '427["echo"]')
    answer = waiting.answer()
    assert (answer.status, answer.text) == (200, f"437[[{session.pid}]]")


def test_a_client_is_kicked_by_one_worker_while_its_poll_waits_at_another(shared: Workers) -> None:
    three = Three(shared)
    session, third = three.session, three.third()
    session.post(three.near, '421["me"]')
    (found,) = session.poll(three.near)
    sid = json.loads(str(found)[3:])[0]
    before = descriptors(session.pid)
    three.far.begin("GET", session.target)
    time.sleep(0.2)
    assert third.request("GET", f"/kick/{sid}").status == 200
    answer = three.far.answer()
    assert answer.status == 200 and "41" in answer.text.split("\x1e")
    returns_to(session.pid, before)


@pytest.mark.parametrize("left", [0, 1, 2])
def test_a_poll_that_comes_when_there_is_no_descriptor_for_it_takes_nothing_along(
    shared: Workers, left: int
) -> None:
    three = Three(shared)
    session, waiting = three.session, three.more(1)[0]
    before = descriptors(session.pid)
    session.post(three.third(), '427["echo"]')
    with running_out(session.pid, left=left):
        waiting.begin("GET", session.target)
        time.sleep(1)
    try:
        found = waiting.answer(timeout_s=2).text
    except (EOFError, ConnectionError):  # it was lost on its way: what the session has for its client was not
        found = three.third().request("GET", session.target).text
    assert found == f"437[[{session.pid}]]"
    returns_to(session.pid, before)


@contextlib.contextmanager
def running_out(pid: int, *, left: int) -> Iterator[None]:
    """Let a process open so many more descriptors."""
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    taken = {int(fd) for fd in os.listdir(f"/proc/{pid}/fd")}
    free = [fd for fd in range(max(taken) + left + 2) if fd not in taken]
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (free[left], limits[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)


@pytest.mark.parametrize("kind", kind_params(RUN_GEVENT_WORKERS, RUN_EVENTLET_WORKERS))
def test_a_folded_header_ends_the_session_at_whichever_worker_it_comes(
    kind: ServerKind, tmp_path: Path
) -> None:
    with three_workers(kind, tmp_path) as workers:
        seen: set[int] = set()

        def all_have_answered() -> bool:
            seen.add(json.loads(workers.server.get("/ready", timeout_s=20).body)["pid"])
            return len(seen) == WORKERS

        assert wait_until(all_have_answered, timeout_s=20), seen
        three = Three(workers)
        answers = []
        for at in (three.near, three.far):
            session = Session(workers.at(wanted={three.session.pid}))
            request = f"GET {session.target} HTTP/1.1\r\nHost: x\r\nX-Folded: a\r\n b\r\n\r\n"
            at.send(request.encode())
            answer = at.answer()
            answers.append((answer.status, answer.text))
            assert three.third().request("GET", session.target).status == 400, at is three.far
        assert answers[0] == answers[1]
        assert answers[0][0] == 400 and "folded" in answers[0][1]


def test_a_worker_ends_although_clients_have_reset_their_connections(tmp_path: Path) -> None:
    with serving(THREADING_WORKERS, AppSpec(app="workers"), tmp_path) as server:
        for _ in range(20):
            sock = socket.create_connection((HOST, server.port))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # closing it is a reset
            sock.sendall(b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: test\r\n\r\n")
            assert sock.recv(1)  # Werkzeug reads on for a moment when it has answered
            sock.close()
        assert server.stop(timeout_s=10) == 0
