"""Workers shared between connections: who waits, who is next, and what nobody has to wait for."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from flask_socketio_core.common import options
from flask_socketio_core.server.connection import DISCONNECT_PATIENCE_S, Connection
from flask_socketio_core.server.server import Server
from flask_socketio_core.server.workers import DEFAULT_SHARE, MOST_AHEAD, Workers
from flask_socketio_core.transport.session import Session
from support.engine import Host, ManualMode, RecordingApplication, WokenTransport, connection_of

Job = Callable[[], object]


class Pool:
    """Workers whose jobs end when the test says so."""

    def __init__(self, most: int, share: int | None) -> None:
        self.started: deque[tuple[Connection, int]] = deque()
        self.workers = Workers(self._start, threading.Lock(), most, share)

    def _start(self, job: Job) -> None:
        job()

    def send(self, connection: Connection, *numbers: int) -> None:
        for number in numbers:
            connection.backlog.append(None)
            self.workers.start(connection, partial(self.started.append, (connection, number)))

    def end(self, connection: Connection) -> None:
        connection.backlog.pop()
        self.workers.ended(connection)

    def running(self) -> Counter[Connection]:
        return Counter({connection: running(connection) for connection, _ in self.started})

    def numbers(self, connection: Connection) -> list[int]:
        return [number for found, number in self.started if found is connection]


def running(connection: Connection) -> int:
    return len(connection.backlog) - len(connection.waiting or ())


def connection() -> Connection:
    return connection_of(Host().open(WokenTransport()))


def test_a_connection_has_no_more_than_its_share_and_goes_on_one_for_one() -> None:
    pool, one = Pool(100, 3), connection()
    pool.send(one, *range(10))
    assert pool.numbers(one) == [0, 1, 2]
    for count in range(4, 11):
        pool.end(one)
        assert pool.numbers(one) == list(range(count)), "in the order given"
    for _ in range(3):
        pool.end(one)
    assert not one.backlog
    assert one.waiting is None


def test_others_do_not_wait_for_one_that_waits() -> None:
    pool, greedy, other = Pool(100, 3), connection(), connection()
    pool.send(greedy, *range(10))
    pool.send(other, 0, 1)
    assert pool.numbers(other) == [0, 1]


def test_the_last_tenth_is_for_those_who_have_none() -> None:
    pool, greedy = Pool(20, 20), connection()
    pool.send(greedy, *range(30))
    assert len(pool.numbers(greedy)) == 18
    others = [connection() for _ in range(4)]
    for other in others:
        pool.send(other, 0, 1)
        assert pool.numbers(other) == [0], "it has one now"


def test_who_waits_for_a_worker_gets_one_in_turn() -> None:
    pool = Pool(10, 9)
    first, second, third = connections = [connection() for _ in range(3)]
    for one in connections:
        pool.send(one, *range(20))
    assert pool.running() == {first: 9, second: 1, third: 1}
    for _ in range(6):
        pool.end(first)
    # Eleven were two more than nine tenths; then the second, the third, the first and the second had their turn.
    assert pool.running() == {first: 4, second: 3, third: 2}
    while len(pool.numbers(third)) < 20:
        pool.end(max(connections, key=running))
    assert min(len(pool.numbers(one)) for one in connections) >= 18, "nobody is far behind"


def test_who_has_none_any_more_goes_on_although_all_are_busy() -> None:
    pool, greedy, other = Pool(10, 9), connection(), connection()
    pool.send(greedy, *range(9))
    pool.send(other, 0, 1)
    assert pool.numbers(other) == [0]
    pool.end(other)
    assert pool.numbers(other) == [0, 1]


def test_all_that_wait_are_run_in_the_end() -> None:
    pool = Pool(7, 2)
    connections = [connection() for _ in range(12)]
    for one in connections:
        pool.send(one, *range(5))
    while any(one.backlog for one in connections):
        pool.end(next(one for one in connections if one.backlog))
    assert all(pool.numbers(one) == list(range(5)) for one in connections)
    assert not pool.workers._turns
    assert not pool.workers._running


def test_a_job_that_cannot_be_started_is_not_counted() -> None:
    def refuse(job: Job) -> None:
        raise RuntimeError("can't start new thread")

    workers, one = Workers(refuse, threading.Lock(), 10, None), connection()
    one.backlog.append(None)
    with pytest.raises(RuntimeError):
        workers.start(one, lambda: None)
    assert not workers._running


def test_others_go_on_behind_a_job_that_waited_and_cannot_be_started() -> None:
    started = deque[Job]()

    def start(job: Job) -> None:
        if len(started) == MOST_AHEAD - 1 and one.waiting is None and not tried:
            tried.append(job)
            raise RuntimeError("can't start new thread")
        started.append(job)

    workers, one, tried = Workers(start, threading.Lock(), 100, None), connection(), list[Job]()
    for _ in range(MOST_AHEAD - 1):
        one.backlog.append(None)
        workers.start(one, lambda: None)
    one.backlog.append(None)
    with pytest.raises(RuntimeError):
        workers.start(one, lambda: None)
    one.backlog.append(None)
    workers.start(one, lambda: None)
    assert tried
    assert len(started) == len(workers._running) == MOST_AHEAD


@pytest.mark.parametrize(("most", "share"), [(1000, DEFAULT_SHARE), (20, 4), (1, 1)])
def test_the_default_share_is_a_fifth_of_few_workers(most: int, share: int) -> None:
    pool, one = Pool(most, None), connection()
    pool.send(one, *range(2 * DEFAULT_SHARE))
    assert len(pool.numbers(one)) == share


def make_server(app: RecordingApplication, **keywords: Any) -> tuple[Server, ManualMode, Session]:
    mode = ManualMode()
    server = Server(app, options.build(keywords), mode)
    session = server.eio.add_session({}, WokenTransport("websocket"))
    session.receive("40")
    mode.run_jobs()
    return server, mode, session


def test_fewer_events_than_a_share_are_one_spawned_job_each() -> None:
    _, mode, one = make_server(RecordingApplication(), max_handlers_per_client=5)
    for number in range(5):
        one.receive(f'42["e",{number}]')
        assert len(mode.jobs) == number + 1
    one.receive('42["e",5]')
    assert len(mode.jobs) == 5
    mode.run_jobs()
    assert not connection_of(one).backlog


def test_what_another_sends_is_behind_a_few_only() -> None:
    server, mode, one = make_server(RecordingApplication())
    for number in range(100):
        one.receive(f'42["e",{number}]')
    assert len(mode.jobs) == MOST_AHEAD
    mode.run_jobs()
    assert not connection_of(one).backlog
    assert not connection_of(one).ahead
    assert not server._shared.workers._running


def test_what_waits_gets_a_worker_one_by_one_where_handlers_begin_and_do_not_end() -> None:
    pending = deque[Job]()
    workers, one, begun = Workers(pending.append, threading.Lock(), 1000, None), connection(), list[int]()
    for number in range(50):
        one.backlog.append(None)
        workers.start(one, partial(begun.append, number))
    coming = []
    while pending:
        coming.append(len(pending))
        pending.popleft()()
    assert begun == list(range(50))
    assert coming == [*range(MOST_AHEAD, 1, -1), *(50 - MOST_AHEAD + 1) * [1]]


def test_events_that_waited_for_the_connect_handler_are_no_more_than_others() -> None:
    server, mode, _ = make_server(RecordingApplication(), max_handlers_per_client=5)
    one = server.eio.add_session({}, WokenTransport("websocket"))
    one.receive("40")
    for number in range(20):
        one.receive(f'42["e",{number}]')
    mode.jobs.popleft()()
    assert len(mode.jobs) == 5
    mode.run_jobs()
    assert not connection_of(one).backlog
    assert not connection_of(one).early


def test_what_a_refused_client_has_sent_is_counted_no_longer() -> None:
    app = RecordingApplication()
    server, mode, _ = make_server(app)
    app.welcome = False
    one = server.eio.add_session({}, WokenTransport("websocket"))
    one.receive("40")
    one.receive('42["e"]')
    mode.run_jobs()
    assert not connection_of(one).backlog
    assert not connection_of(one).early
    assert not server._shared.workers._running


def test_a_child_that_a_handler_has_forked_runs_nothing_that_waits_in_its_parent() -> None:
    server, mode, one = make_server(RecordingApplication(), max_handlers_per_client=2)
    for number in range(5):
        one.receive(f'42["e",{number}]')
    forked = mode.jobs.popleft()
    mode.jobs.clear()
    server.forget()
    forked()
    assert not mode.jobs


def test_disconnect_handlers_come_behind_the_events_before_them() -> None:
    app = RecordingApplication()
    _, mode, one = make_server(app, max_handlers_per_client=2)
    for number in range(5):
        one.receive(f'42["e",{number}]')
    one.close("transport close")
    mode.run_jobs()
    assert [entry[0] for entry in app.log[2:]] == ["event"] * 5 + ["disconnect"]


def test_disconnect_handlers_do_not_wait_for_handlers_that_never_return() -> None:
    app = RecordingApplication()
    server, mode, one = make_server(app, max_handlers_per_client=2)
    one.receive("40/chat")
    mode.run_jobs()
    for number in range(5):
        one.receive(f'42["e",{number}]')
    connection = connection_of(one)
    stuck = [mode.jobs.popleft() for _ in range(2)]  # they have a worker and keep it
    one.close("transport close")
    assert not mode.jobs
    patience = [timer for timer in mode.timers if timer[0] == DISCONNECT_PATIENCE_S]
    assert len(patience) == 1
    patience[0][1]()
    assert len(mode.jobs) == 1, "one at a time"
    mode.run_jobs()
    assert [entry[:2] for entry in app.log if entry[0] == "disconnect"] == [
        ("disconnect", "/"),
        ("disconnect", "/chat"),
    ]
    assert not server._shared.disconnecting
    assert len(server._shared.workers._running) == running(connection) == 2, (
        "only what is stuck keeps a worker"
    )
    for job in stuck:
        job()
    mode.run_jobs()
    assert not connection.backlog
    assert not server._shared.workers._running
    assert [entry[0] for entry in app.log].count("event") == 5
