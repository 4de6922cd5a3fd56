"""Polls on connections that are kept, as browsers have them: the same poll again, and whatever else comes on them."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_socketio_core.testing.ports import free_port
from parked.conftest import FOUR_THREADS
from parked.test_parked import assert_settles, joined, state
from support import nginx, web_proxies
from support.servers import (
    THREADING,
    AppSpec,
    Server,
    ServerKind,
    StartServer,
    kind_params,
    serving,
    starting,
    wait_until,
)
from support.wire import remember
from support.wire.engine import Polling, WebSocket
from support.wire.http import HOST, Response

HASTY = {"ping_interval": 0.4, "ping_timeout": 0.4}
SOON_S = 2.0
GUNICORN = int(importlib.metadata.version("gunicorn").partition(".")[0])
NEWS = '42["news","x"]'

TAKES_BACK = GUNICORN >= 24
KINDS = kind_params(THREADING, FOUR_THREADS) if TAKES_BACK else kind_params(THREADING)


class Kept:
    """A connection for one request after the other."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.sock = socket.create_connection((HOST, port), timeout=10)
        self.file = self.sock.makefile("rb")
        self.stamp = 0
        remember(self)

    def abort(self) -> None:
        """Close it, at the end of the test."""
        self.file.close()
        self.sock.close()

    def send(self, method: str, target: str, body: bytes = b"", **headers: str) -> None:
        """Send a request."""
        lines = [f"{method} {target} HTTP/1.1", f"Host: {HOST}:{self.port}", "User-Agent: kept/1"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self.sock.sendall("\r\n".join([*lines, "", ""]).encode() + body)

    def poll(self, session: Polling, **headers: str) -> None:
        """Poll, as clients do: with another ``t`` each time."""
        self.stamp += 1
        self.send("GET", f"{session.target}&t=P{self.stamp}", b"", **headers)

    def read(self) -> Response:
        """Read one response."""
        status = self.file.readline()
        assert status.startswith(b"HTTP/1.1 "), status
        headers = {}
        while (line := self.file.readline().decode("latin-1").strip()) != "":
            name, _, value = line.partition(": ")
            headers[name.lower()] = value
        return Response(int(status.split()[1]), headers, self.file.read(int(headers["content-length"])))

    def is_closed(self) -> bool:
        """Return whether the server has closed it."""
        self.sock.settimeout(SOON_S)
        return self.file.read(1) == b""


def waiting(connection: Kept, session: Polling, server: Server, **headers: str) -> None:
    """Poll, and return when the server has nothing to answer."""
    connection.poll(session, **headers)
    assert wait_until(lambda: server.get(f"/polled?sid={session.sid}").text == "True", timeout_s=5)


def kept(session: Polling, server: Server, **headers: str) -> Kept:
    """Return a connection on which a poll has waited and was answered."""
    connection = Kept(session.port)
    waiting(connection, session, server, **headers)
    server.get("/emit")
    assert news(connection) == NEWS
    return connection


def news(connection: Kept) -> str:
    answer = connection.read()
    assert answer.status == 200, answer
    assert answer.headers.get("connection") != "close"
    return answer.text


@pytest.fixture(scope="module", params=KINDS)
def start(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """Give a server with certain options, and without headers of plugins."""
    with starting(request.param, "parked", tmp_path_factory.mktemp("kept")) as start:
        yield lambda settings=None, **options: start({"adds_headers": False, **(settings or {})}, **options)


@pytest.fixture
def server(start: StartServer) -> Server:
    return start()


def test_a_poll_that_comes_again_is_answered_without_the_web_server(server: Server) -> None:
    session = joined(server)
    connection = kept(session, server)
    before = state(server)
    for number in range(20):
        waiting(connection, session, server)
        server.get(f"/emit?size={number + 1}")
        assert news(connection) == f'42["news","{"x" * (number + 1)}"]'
    after = state(server)
    assert after["served"] == before["served"]
    assert after["threads"] <= before["threads"] + 1


def test_what_has_happened_meanwhile_is_answered_at_once(server: Server) -> None:
    session = joined(server)
    connection = kept(session, server)
    server.get("/emit?count=3")
    connection.poll(session)
    assert news(connection) == "\x1e".join([NEWS] * 3)


def test_any_other_request_on_the_connection_is_the_web_server_s(server: Server) -> None:
    session = joined(server)
    connection = kept(session, server)
    connection.send("POST", session.target, b'42["who"]')
    assert connection.read().text == "ok"
    connection = kept(session, server)
    connection.send("GET", "/ready")
    assert json.loads(connection.read().body)["async_mode"] == "threading"
    connection = kept(session, server)
    connection.send("POST", session.target, b"x" * 200_000)
    assert connection.read().status == 400, "packets that are none"


def test_a_request_that_comes_in_pieces_is_served(server: Server) -> None:
    session = joined(server)
    connection = kept(session, server)
    request = f"GET /ready HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
    for begin in range(0, len(request), 7):
        connection.sock.sendall(request[begin : begin + 7])
        time.sleep(0.02)
    assert connection.read().status == 200


@pytest.mark.parametrize(
    "headers", [{"Cookie": "b=2"}, {"Authorization": "Basic eDp5"}, {"X_Forwarded_For": "192.0.2.1"}, {}]
)
def test_a_poll_with_other_headers_is_the_web_server_s(server: Server, headers: dict[str, str]) -> None:
    session = joined(server)
    connection = kept(session, server, Cookie="a=1")
    before = state(server)["served"]
    waiting(connection, session, server, **headers)
    assert state(server)["served"] == before + 1
    server.get("/emit")
    assert news(connection) == NEWS


def test_polls_of_several_clients_on_one_connection_get_what_is_theirs(server: Server) -> None:
    first, second = joined(server), joined(server)
    first.post('421["who"]')
    (answer,) = first.receive()
    sid = json.loads(str(answer)[3:])[0]
    connection = kept(first, server)
    second.receive()
    for session, expected in ((second, "second's"), (first, "first's"), (first, "again")):
        waiting(connection, session, server)
        server.get(f"/emit?text={expected}" + (f"&to={sid}" if session is first else f"&skip={sid}"))
        assert news(connection) == f'42["news","{expected}"]'


def test_polls_that_are_known_are_answered_on_whichever_connection_of_a_proxy_they_come(
    server: Server,
) -> None:
    sessions = [joined(server) for _ in range(3)]
    connections: dict[
        int, Kept
    ] = {}  # each is opened when it is used: an idle one keeps a thread of gunicorn's
    stamps = iter(range(1000))

    def poll(session: Polling, connection: Kept) -> None:
        connection.stamp = next(stamps)
        waiting(connection, session, server, X_Forwarded_For=f"192.0.2.{sessions.index(session)}")

    for turn in range(6):
        before = state(server)["served"]
        used = [
            connections.get(n % 4) or connections.setdefault(n % 4, Kept(server.port))
            for n in range(turn, turn + 3)
        ]
        for session, connection in zip(sessions, used, strict=True):
            poll(session, connection)
        server.get("/emit")
        assert [news(connection) for connection in used] == [NEWS] * 3
        if turn > 1:  # each connection has had a poll by then
            assert state(server)["served"] == before
    other = sessions[0]
    poll(other, connections[3])
    other.post("1")
    assert connections[3].read().text == "6"
    connections[0].send("GET", f"{other.target}&t=1", b"", X_Forwarded_For="192.0.2.0")
    assert connections[0].read().status == 400


@pytest.mark.parametrize("fix", [False, True])
def test_polls_through_nginx_are_answered_without_the_web_server(
    start: StartServer, tmp_path: Path, fix: bool
) -> None:
    server, port = start(settings={"fix": fix}), free_port()
    site = nginx.site(str(port), server.port).replace(
        f"server {HOST}:{server.port};", f"server {HOST}:{server.port}; keepalive 64; keepalive_timeout 1s;"
    )
    with web_proxies.running(nginx.command(tmp_path, site), lambda: web_proxies.answers(port, "/ready")):
        sessions = [joined(server) for _ in range(10)]
        connections = [Kept(port) for _ in sessions]
        before = 0
        for turn in range(6):
            for session, connection in zip(sessions, connections, strict=True):
                waiting(connection, session, server)
            server.get("/emit")
            assert [news(connection) for connection in connections] == [NEWS] * 10
            if turn == 0:
                before = state(server)["served"]
        assert state(server)["served"] <= before + 10


def test_where_plugins_add_headers_each_poll_is_the_web_server_s(start: StartServer) -> None:
    server = start(settings={"adds_headers": True})
    session = joined(server)
    connection = kept(session, server)
    before = state(server)["served"]
    for _ in range(3):
        waiting(connection, session, server)
        server.get("/emit")
        answer = connection.read()
        assert (answer.text, answer.headers["x-first"]) == (NEWS, "False")
        assert answer.headers.get("connection") != "close"
    assert state(server)["served"] == before + 3


def test_a_client_that_asks_for_that_has_its_connection_closed(server: Server) -> None:
    session = joined(server)
    connection = kept(session, server)
    waiting(connection, session, server, Connection="close")
    server.get("/emit")
    answer = connection.read()
    assert (answer.text, answer.headers["connection"]) == (NEWS, "close")
    assert connection.is_closed()


def test_a_connection_that_is_not_used_is_closed_in_the_server_s_time(server: Server) -> None:
    before = state(server)
    connection = kept(joined(server), server)
    connection.sock.settimeout(8)
    begin = time.monotonic()
    assert connection.file.read(1) == b""
    assert time.monotonic() - begin < 7
    assert_settles(server, before)


def test_a_connection_lives_longer_than_that_while_it_is_used(server: Server) -> None:
    session = joined(server)
    connection = kept(session, server)
    for unused_s, waits_s in ((0.5, 0.0), (0.0, 3.0), (0.5, 0.0), (0.0, 3.0)):
        time.sleep(unused_s)
        waiting(connection, session, server)
        time.sleep(waits_s)
        server.get("/emit")
        assert news(connection) == NEWS


def test_a_session_that_has_ended_is_refused_and_the_connection_closed(start: StartServer) -> None:
    server = start(**HASTY)
    session = joined(server)
    connection = Kept(session.port)
    connection.poll(session)
    assert news(connection) == "2"
    connection.poll(session)
    answer = connection.read()
    assert (answer.status, json.loads(answer.body)["code"]) == (400, 1)
    assert answer.headers["connection"] == "close"
    assert connection.is_closed()
    assert ["refused", "GET", 400, "Session ID unknown"] in server.wait_journal("refused", "disconnect")


def test_a_session_that_was_upgraded_polls_no_more(server: Server) -> None:
    session = joined(server)
    connection = kept(session, server)
    websocket = WebSocket(server.port, sid=session.sid)
    websocket.send("2probe")
    assert websocket.receive() == "3probe"
    websocket.send("5")
    server.get("/emit")
    assert websocket.receive() == NEWS
    connection.poll(session)
    assert connection.read().status == 400
    server.get("/emit")
    assert websocket.receive() == NEWS


def test_a_second_poll_ends_the_session_here_as_well(server: Server) -> None:
    session = joined(server)
    first, second = kept(session, server), Kept(session.port)
    waiting(second, session, server)
    first.poll(session)
    assert first.read().status == 400
    assert second.read().text == "1"
    assert ["disconnect", "transport error"] in server.wait_journal("disconnect")


def test_two_polls_at_once_are_answered_as_before(server: Server) -> None:
    session = joined(server)
    connection = kept(session, server)
    waiting(connection, session, server)
    connection.poll(session)
    answer = connection.read()
    assert (answer.text, answer.headers["connection"]) == ("6", "close")
    assert connection.is_closed()
    again = kept(session, server)
    again.poll(session)
    again.poll(session)
    answer = again.read()
    assert (answer.text, answer.headers["connection"]) == ("6", "close")


@pytest.mark.parametrize("size", [5_000, 200_000])
def test_a_long_answer_leaves_the_connection_in_use(server: Server, size: int) -> None:
    session = joined(server)
    connection = kept(session, server, Accept_Encoding="gzip")
    for _ in range(3):
        waiting(connection, session, server, Accept_Encoding="gzip")
        server.get(f"/emit?size={size}")
        answer = connection.read()
        assert answer.headers["content-encoding"] == "gzip"
    connection.poll(session, Accept_Encoding="gzip")
    server.get("/emit")
    assert news(connection) == NEWS


def test_megabytes_are_read_slowly_and_the_poll_comes_again(start: StartServer) -> None:
    server = start(http_compression=False, outbox_max_bytes=20_000_000)
    session = joined(server)
    connection = kept(session, server)
    for _ in range(2):
        waiting(connection, session, server)
        server.get("/emit?size=9000000")
        time.sleep(0.3)
        assert len(news(connection)) == 9_000_000 + len('42["news",""]')


def test_clients_that_go_leave_nothing(server: Server) -> None:
    session = joined(server)
    before = state(server)
    for number in range(20):
        connection = kept(session, server)
        if number % 2:
            connection.poll(session)
            time.sleep(0.02)
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        connection.abort()
        time.sleep(0.05)
    assert_settles(server, before)
    kept(session, server)


def test_requests_that_are_given_back_leave_nothing(server: Server) -> None:
    session = joined(server)
    before = state(server)
    for _ in range(30):
        connection = kept(session, server)
        connection.send("POST", session.target, b'42["who"]')
        assert connection.read().text == "ok"
        connection.abort()
    assert_settles(server, before)


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_ends_closes_what_it_keeps(kind: ServerKind, tmp_path: Path) -> None:
    spec = AppSpec(app="parked", settings={"adds_headers": False})
    with serving(kind, spec, tmp_path) as server:
        session = joined(server)
        idle, busy, given = kept(session, server), kept(session, server), kept(session, server)
        given.send("GET", "/ready")
        assert given.read().status == 200
        waiting(busy, session, server)
        begin = time.monotonic()
        server.begin_stop()
        answer = busy.read()
        assert (answer.status, answer.headers["connection"]) == (400, "close")
        assert idle.is_closed()
        server.stop()
        assert time.monotonic() - begin < 10


@pytest.mark.timeout(60)
@pytest.mark.skipif(not TAKES_BACK, reason="this gunicorn cannot be given a connection back")
def test_a_worker_is_exchanged_although_a_connection_was_given_back(tmp_path: Path) -> None:
    limited = dataclasses.replace(
        FOUR_THREADS,
        name="gunicorn-few-requests",
        command=lambda port: [*FOUR_THREADS.command(port), "--max-requests", "50"],
    )
    spec = AppSpec(app="parked", settings={"adds_headers": False}, options={"outbox_max_packets": 10_000})
    with serving(limited, spec, tmp_path) as server:
        session = joined(server)
        connection = kept(session, server)
        server.get("/emit?count=1600")
        for _ in range(100):
            connection.poll(session)
            assert news(connection) == "\x1e".join([NEWS] * 16)
        assert json.loads(server.get("/ready").body)["pid"] == server.worker_pid
        connection.send("GET", "/ready")
        assert connection.read().status == 200
        for _ in range(50):
            if json.loads(server.get("/ready", timeout_s=20).body)["pid"] != server.worker_pid:
                break
        else:
            raise AssertionError("the worker was not exchanged")
        assert connection.is_closed()


@pytest.mark.skipif(TAKES_BACK, reason="this gunicorn can be given a connection back")
def test_gunicorn_that_takes_none_back_has_it_closed(tmp_path: Path) -> None:
    with serving(FOUR_THREADS, AppSpec(app="parked", settings={"adds_headers": False}), tmp_path) as server:
        session = joined(server)
        connection = Kept(session.port)
        waiting(connection, session, server)
        server.get("/emit")
        answer = connection.read()
        assert (answer.text, answer.headers["connection"]) == (NEWS, "close")
