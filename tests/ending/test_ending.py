"""Whoever ends a server, and however: clients are told, disconnect handlers run, and it does not take long."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flask_socketio_core.transport.session import GOING_AWAY
from support.servers import (
    EVENTLET,
    FLASK_RUN,
    GEVENT_BUILTIN,
    GEVENT_WEBSOCKET,
    GTHREAD_WORKERS,
    GUNICORN_GEVENT,
    GUNICORN_GEVENT_WEBSOCKET,
    GUNICORN_GTHREAD,
    HOST,
    READY_TIMEOUT_S,
    THREADING,
    UWSGI_GEVENT,
    AppSpec,
    Server,
    ServerKind,
    descendants,
    kind_params,
    processor_s,
    serving,
    wait_until,
)
from support.wire.engine import Closed, Polling, WebSocket, target
from support.workers import is_alive

OURS = (THREADING, EVENTLET, GEVENT_WEBSOCKET, GEVENT_BUILTIN)
GUNICORN = (GUNICORN_GTHREAD, GUNICORN_GEVENT, GUNICORN_GEVENT_WEBSOCKET)
SPEC = AppSpec(app="ending")
#: Seconds within which clients are told and handlers have run.
END_S = 3.0
#: Seconds that gunicorn's master takes besides, which looks after its workers once a second.
MASTER_S = 2.0

pytestmark = pytest.mark.timeout(60)


class Guests:
    """A client on each transport, with a poll that waits."""

    def __init__(self, server: Server) -> None:
        self.websocket = WebSocket(server.port)
        self.websocket.receive()
        self.websocket.send("40")
        assert str(self.websocket.receive()).startswith("40")
        self.polling = Polling(server.port)
        self.polling.post("40")
        assert str(self.polling.receive()[0]).startswith("40")
        self.polled: list[Any] = []
        self._poll = threading.Thread(target=self._wait, daemon=True)
        self._poll.start()
        time.sleep(0.1)  # let the poll arrive: nothing shows that it has

    def _wait(self) -> None:
        try:
            self.polled.append(self.polling.get(timeout_s=20))
        except Exception as error:  # noqa: BLE001  # a test asserts on it
            self.polled.append(error)

    def assert_told(self) -> None:
        """Assert that both connections end within the time, and that nothing tells the clients to stay away."""
        deadline_s = time.monotonic() + END_S
        packets = []
        code = None
        try:
            while True:
                packets.append(self.websocket.receive(timeout_s=deadline_s - time.monotonic()))
        except Closed as end:
            code = end.code
        assert code == GOING_AWAY
        assert not [packet for packet in packets if str(packet)[:2] in ("1", "41")]
        self._poll.join(max(0, deadline_s - time.monotonic()))
        assert self.polled, "the pending poll was not answered"
        assert getattr(self.polled[0], "status", None) == 400, self.polled


@pytest.mark.parametrize("kind", kind_params(GTHREAD_WORKERS))
def test_a_server_that_does_not_end_shows_its_log_and_what_its_workers_do(
    kind: ServerKind, tmp_path: Path
) -> None:
    with serving(kind, AppSpec(app="workers"), tmp_path) as server:
        with socket.create_connection((HOST, server.port)) as client:
            client.sendall(b"GET /slow?seconds=60 HTTP/1.1\r\nHost: x\r\n\r\n")
            server.wait_journal("slow")
            with pytest.raises(AssertionError) as raised:
                server.stop(timeout_s=1.5)
    log, _, doing = str(raised.value).partition("and was doing:")
    assert f"{kind.name} still ran 1.5 s after it was told to stop" in log
    assert "Starting gunicorn" in log
    assert 'support/apps/workers.py", line' in doing and "in slow" in doing
    assert "gunicorn/arbiter.py" in doing
    assert not is_alive(server.process.pid)


def farewells(server: Server, reason: str = "server disconnect") -> int:
    """Count the disconnect handlers that have run to their end with a reason, that of a server's end by default."""
    return len(re.findall(rf"farewell in \d+: {reason}", server.log_text()))


def assert_ended(server: Server, begun_s: float, *, extra_s: float = 0.0) -> None:
    """Assert that the process is gone within the time, in order."""
    status = server.wait(10)
    assert time.monotonic() - begun_s < END_S + extra_s, server.log_text()
    assert status in (0, -signal.SIGTERM, -signal.SIGINT), server.log_text()
    assert farewells(server) == 2, server.log_text()
    assert "Traceback" not in server.log_text(), server.log_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("kind", kind_params(*OURS))
def test_a_signal_ends_a_server_of_ours(kind: ServerKind, number: signal.Signals, tmp_path: Path) -> None:
    with serving(kind, SPEC, tmp_path) as server:
        guests = Guests(server)
        begun_s = time.monotonic()
        os.kill(server.process.pid, number)
        guests.assert_told()
        assert_ended(server, begun_s)


@pytest.mark.parametrize("kind", kind_params(FLASK_RUN))
def test_ctrl_c_ends_flask_run(kind: ServerKind, tmp_path: Path) -> None:
    with serving(kind, SPEC, tmp_path) as server:
        guests = Guests(server)
        begun_s = time.monotonic()
        os.kill(server.process.pid, signal.SIGINT)
        guests.assert_told()
        assert_ended(server, begun_s)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("kind", kind_params(*GUNICORN))
def test_a_signal_ends_gunicorn(kind: ServerKind, number: signal.Signals, tmp_path: Path) -> None:
    with serving(kind, SPEC, tmp_path) as server:
        guests = Guests(server)
        begun_s = time.monotonic()
        os.kill(server.process.pid, number)
        guests.assert_told()
        assert_ended(server, begun_s, extra_s=MASTER_S)


@pytest.mark.parametrize("kind", kind_params(*OURS, *GUNICORN))
def test_clients_that_leave_polling_just_then_are_told_where_they_go(
    kind: ServerKind, tmp_path: Path
) -> None:
    with serving(kind, SPEC, tmp_path) as server:
        moving = []
        for _ in range(2):
            session = Polling(server.port)
            session.post("40")
            assert str(session.receive()[0]).startswith("40")
            moving.append(websocket := WebSocket(server.port, sid=session.sid))
            websocket.send("2probe")
            assert websocket.receive() == "3probe"
            assert session.receive() == ["6"]  # here the JavaScript client stops to poll
        begun_s = time.monotonic()
        os.kill(server.process.pid, signal.SIGTERM)
        with pytest.raises(TimeoutError):  # it would not notice, and stand still
            moving[0].receive(timeout_s=0.3)
        moving[0].send("5")
        assert [websocket.wait_closed(timeout_s=END_S) for websocket in moving] == [GOING_AWAY] * 2
        assert_ended(server, begun_s, extra_s=MASTER_S)


@pytest.mark.parametrize("kind", kind_params(GUNICORN_GTHREAD, GUNICORN_GEVENT))
def test_a_request_that_outlives_its_server_still_sends_to_the_others(
    kind: ServerKind, tmp_path: Path, redis_url: str
) -> None:
    spec = dataclasses.replace(
        SPEC, options={"message_queue": redis_url, "channel": f"late-{uuid.uuid4().hex[:8]}"}
    )
    with serving(THREADING, spec, tmp_path) as other, serving(kind, spec, tmp_path) as server:
        guests = Guests(other)
        Polling(server.port)  # so that it joins the others, and leaves them
        answers: list[Any] = []
        asking = threading.Thread(target=lambda: answers.append(server.get("/late/news", timeout_s=10)))
        asking.start()
        server.wait_journal("late")
        server.begin_stop()
        assert guests.websocket.receive(timeout_s=10) == '42["late","news"]'
        asking.join(10)
        assert [answer.status for answer in answers] == [200], server.log_text()


@pytest.mark.parametrize("kind", kind_params(*GUNICORN))
def test_a_worker_that_is_exchanged_tells_its_clients(kind: ServerKind, tmp_path: Path) -> None:
    with serving(kind, SPEC, tmp_path) as server:
        guests = Guests(server)
        os.kill(server.process.pid, signal.SIGHUP)
        guests.assert_told()
        assert wait_until(lambda: farewells(server) == 2, timeout_s=END_S), server.log_text()
        assert wait_until(lambda: worker(server) not in (None, server.worker_pid), timeout_s=READY_TIMEOUT_S)


@pytest.mark.parametrize("kind", kind_params(*GUNICORN))
def test_nobody_is_refused_while_a_worker_is_exchanged(kind: ServerKind, tmp_path: Path) -> None:
    with serving(kind, SPEC, tmp_path) as server:
        Polling(server.port)  # this worker serves, so it closes its clients at its end
        os.kill(server.process.pid, signal.SIGHUP)
        statuses = []
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        # With gevent the old one takes connections for up to a second more, besides the new one.
        while time.monotonic() < deadline_s and (found := worker(server)) in (None, server.worker_pid):
            statuses += [server.get(target(transport="polling")).status for _ in range(5)]
        assert found not in (None, server.worker_pid), server.log_text()
        statuses += [server.get(target(transport="polling")).status for _ in range(20)]
        assert set(statuses) == {200}, server.log_text()


@pytest.mark.parametrize("kind", kind_params(GUNICORN_GTHREAD, GUNICORN_GEVENT))
def test_a_client_counts_once_however_often_it_polls(kind: ServerKind, tmp_path: Path) -> None:
    limited = dataclasses.replace(kind, command=with_arguments(kind, "--max-requests", "30"))
    with serving(limited, SPEC, tmp_path) as server:
        clients = [Polling(server.port) for _ in range(5)]
        for client in clients:
            client.post("40")
            assert str(client.receive()[0]).startswith("40")
            for _ in range(5):
                client.post("3")
        assert worker(server) == server.worker_pid
        assert wait_until(lambda: worker(server) not in (None, server.worker_pid), timeout_s=READY_TIMEOUT_S)


# Not with the pywsgi workers, in which gunicorn does not count.
@pytest.mark.parametrize("kind", kind_params(GUNICORN_GTHREAD, GUNICORN_GEVENT))
def test_a_worker_that_had_its_requests_tells_its_clients(kind: ServerKind, tmp_path: Path) -> None:
    limited = dataclasses.replace(kind, command=with_arguments(kind, "--max-requests", "12"))
    with serving(limited, SPEC, tmp_path) as server:
        guests = Guests(server)
        for _ in range(12):
            worker(server)
        guests.assert_told()
        assert wait_until(lambda: farewells(server) == 2, timeout_s=END_S), server.log_text()
        assert wait_until(lambda: worker(server) not in (None, server.worker_pid), timeout_s=READY_TIMEOUT_S)


@pytest.mark.parametrize("kind", kind_params(*GUNICORN))
def test_an_application_loaded_before_the_fork_ends_as_well(kind: ServerKind, tmp_path: Path) -> None:
    preloaded = dataclasses.replace(kind, command=with_arguments(kind, "--preload"))
    with serving(preloaded, SPEC, tmp_path) as server:
        guests = Guests(server)
        begun_s = time.monotonic()
        os.kill(server.process.pid, signal.SIGTERM)
        guests.assert_told()
        assert_ended(server, begun_s, extra_s=MASTER_S)


@pytest.mark.parametrize("kind", kind_params(UWSGI_GEVENT))
def test_a_signal_ends_uwsgi(kind: ServerKind, tmp_path: Path) -> None:
    with serving(kind, SPEC, tmp_path) as server:
        guests = Guests(server)
        more = [WebSocket(server.port) for _ in range(20)]
        for client in more:
            client.receive()
            client.send("40")
            assert str(client.receive()).startswith("40")
        for pid in (server.process.pid, *descendants(server.process.pid)):  # as Ctrl-C in a terminal does
            with contextlib.suppress(ProcessLookupError):  # the master may have ended it already
                os.kill(pid, signal.SIGINT)
        guests.websocket.wait_closed(timeout_s=END_S)
        assert server.wait(10) == 0
        # uWSGI's router ends by the same signal: where it is faster, the connections are gone before we close them.
        told = farewells(server, "(server disconnect|transport close)")
        assert told == 2 + len(more), server.log_text()


@pytest.mark.parametrize("kind", kind_params(*OURS))
def test_stop_in_a_handler_ends_a_server_of_ours(kind: ServerKind, tmp_path: Path) -> None:
    with serving(kind, SPEC, tmp_path) as server:
        guests = Guests(server)
        begun_s = time.monotonic()
        guests.websocket.send('42["stop"]')
        guests.assert_told()
        assert_ended(server, begun_s)


@pytest.mark.parametrize("kind", kind_params(*OURS))
def test_stop_in_a_view_ends_a_server_of_ours(kind: ServerKind, tmp_path: Path) -> None:
    with serving(kind, SPEC, tmp_path) as server:
        guests = Guests(server)
        begun_s = time.monotonic()
        assert server.get("/stop").text == "stopping"
        guests.assert_told()
        assert_ended(server, begun_s)


@pytest.mark.parametrize("place", ["handler", "view"])
@pytest.mark.parametrize("kind", kind_params(THREADING, EVENTLET, GEVENT_BUILTIN, GUNICORN_GTHREAD))
def test_a_forked_child_leaves_the_clients_alone(kind: ServerKind, place: str, tmp_path: Path) -> None:
    with serving(kind, SPEC, tmp_path) as server:
        guest, witness = joined(server), joined(server)
        child = fork_in(server, guest, place)
        for number in range(20):
            assert call(witness, "echo", number) == number
        guest.send("1")
        guest.wait_closed(timeout_s=2)  # although the child has a copy of the connection
        assert call(witness, "echo", "still here") == "still here"
        before_s = processor_s(child)
        time.sleep(0.5)
        assert processor_s(child) - before_s < 0.15
        assert len(os.listdir(f"/proc/{child}/task")) == 1
        assert wait_until(lambda: farewells(server, "client disconnect") >= 1, timeout_s=END_S)
        assert f"farewell in {child}" not in server.log_text()


def joined(server: Server) -> WebSocket:
    """Connect a client to the default namespace."""
    client = WebSocket(server.port)
    client.receive()
    client.send("40")
    assert str(client.receive()).startswith("40")
    return client


def call(client: WebSocket, event: str, value: Any) -> Any:
    """Send an event with one value and return what is acknowledged."""
    client.send("421" + json.dumps([event, value] if value is not None else [event]))
    answer = str(client.receive())
    assert answer.startswith("431"), answer
    return json.loads(answer[3:])[0]


def fork_in(server: Server, client: WebSocket, place: str) -> int:
    """Have the server fork and return the child's process id."""
    if place == "view":
        return int(server.get("/fork").text)
    pid: int = call(client, "fork", None)
    return pid


def worker(server: Server) -> int | None:
    """Ask which process serves, or ``None`` if nobody does right now."""
    try:
        pid: int = json.loads(server.get("/ready", timeout_s=2).body)["pid"]
        return pid
    except Exception:  # noqa: BLE001  # between two workers anything can happen
        return None


def with_arguments(kind: ServerKind, *arguments: str) -> Callable[[int], list[str]]:
    """Return a command with more arguments before the application's name."""

    def command(port: int) -> list[str]:
        *server, app = kind.command(port)
        return [*server, *arguments, app]

    return command
