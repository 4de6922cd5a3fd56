"""Polls that wait without a thread, on real servers: what a client gets, and what the server keeps."""

from __future__ import annotations

import dataclasses
import gzip
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from parked.conftest import FOUR_THREADS
from support.servers import (
    THREADING,
    AppSpec,
    Server,
    ServerKind,
    StartServer,
    kind_params,
    serving,
    usage,
    wait_until,
)
from support.wire import remember
from support.wire.engine import Polling, WebSocket
from support.wire.http import HOST

HASTY = {"ping_interval": 0.4, "ping_timeout": 0.4}
MANY = 1000
SOON_S = 2.0


class Poll:
    """A connection with a poll on it."""

    def __init__(self, session: Polling, *, version: str = "1.1", more: bytes = b"", **headers: str) -> None:
        self.sock = socket.create_connection((HOST, session.port), timeout=10)
        remember(self)
        headers.setdefault("Connection", "close")
        lines = [f"GET {session.target} HTTP/{version}", f"Host: {HOST}:{session.port}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.sock.sendall("\r\n".join([*lines, "", ""]).encode() + more)

    def abort(self) -> None:
        """Close it, at the end of the test."""
        self.sock.close()

    def waits(self, duration_s: float = 0.3) -> bool:
        """Return whether nothing comes in that time."""
        self.sock.settimeout(duration_s)
        try:
            self.sock.recv(1, socket.MSG_PEEK)
            return False
        except TimeoutError:
            return True
        finally:
            self.sock.settimeout(10)

    def read(self) -> tuple[int, dict[str, str], bytes]:
        """Read the response up to the end of the connection; a reset is an error."""
        data = b""
        with self.sock:
            while part := self.sock.recv(65_536):
                data += part
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        assert first.startswith("HTTP/1."), data
        assert int(headers["content-length"]) == len(body)
        assert headers["connection"] == "close"
        return int(first.split()[1]), headers, body

    def text(self) -> str:
        status, _, body = self.read()
        assert status == 200, body
        return body.decode()


def joined(server: Server, **how: Any) -> Polling:
    """Open a session that is in the default namespace and has been told so."""
    session = Polling(server.port, **how)
    session.post("40")
    assert str(session.receive()[0]).startswith("40")
    return session


def parked(session: Polling, **how: Any) -> Poll:
    """Poll, and return when the server has had time to take it."""
    poll = Poll(session, **how)
    assert poll.waits()
    return poll


def state(server: Server) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(server.get("/state").body)
    return found


def assert_settles(server: Server, before: dict[str, Any]) -> None:
    """Assert that there are soon no more descriptors than before."""

    def settled() -> bool:
        return bool(state(server)["descriptors"] <= before["descriptors"])

    assert wait_until(settled, timeout_s=8, interval_s=0.1), (before, state(server))


@pytest.mark.parametrize("kind", kind_params(THREADING, FOUR_THREADS))
@pytest.mark.timeout(120)
def test_many_polls_wait_in_no_thread_and_are_all_answered(kind: ServerKind, tmp_path: Path) -> None:
    with serving(kind, AppSpec(app="parked"), tmp_path) as server:
        sessions = [joined(server) for _ in range(MANY)]
        server.get("/state")
        before = usage(server.worker_pid)
        polls = [Poll(session) for session in sessions]

        assert wait_until(lambda: state(server)["parked"] == MANY, timeout_s=20), state(server)
        assert server.usage().threads <= before.threads + 4
        assert server.get("/emit", timeout_s=20).status == 200
        assert {poll.text() for poll in polls} == {'42["news","x"]'}
        assert wait_until(lambda: server.usage().fds < before.fds + 10, timeout_s=8), (before, server.usage())


def test_the_answer_is_a_whole_response(start: StartServer) -> None:
    server = start(cors_allowed_origins="*")
    poll = parked(joined(server), Origin="http://elsewhere.example")
    server.get("/emit")
    status, headers, body = poll.read()
    assert (status, body) == (200, b'42["news","x"]')
    assert headers["content-type"] == "text/plain; charset=utf-8"
    assert headers["access-control-allow-origin"] == "http://elsewhere.example"
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-first"] == "false"


@pytest.mark.parametrize("size", [5_000, 200_000])
def test_a_long_answer_is_compressed_for_a_client_that_accepts_it(server: Server, size: int) -> None:
    squeezed, plain = parked(joined(server), Accept_Encoding="gzip"), parked(joined(server))
    server.get(f"/emit?size={size}")
    _, headers, body = squeezed.read()
    assert headers["content-encoding"] == "gzip"
    assert gzip.decompress(body).decode() == plain.text() == f'42["news","{"x" * size}"]'


def test_a_client_of_http_1_0_is_answered_even_if_it_has_closed_its_half(server: Server) -> None:
    poll = parked(joined(server), version="1.0")
    poll.sock.shutdown(socket.SHUT_WR)
    assert poll.waits()
    server.get("/emit")
    assert poll.text() == '42["news","x"]'


def test_head_does_not_wait(server: Server) -> None:
    session = joined(server)
    with socket.create_connection((HOST, server.port), timeout=SOON_S) as sock:
        sock.sendall(f"HEAD {session.target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        assert sock.recv(1000).startswith(b"HTTP/1.1 400 ")


def test_a_quiet_client_is_pinged(start: StartServer) -> None:
    assert parked(joined(start(**HASTY))).text() == "2"


def test_without_monitoring_a_poll_is_answered_after_its_time(start: StartServer) -> None:
    session = joined(start(monitor_clients=False, **HASTY))
    begin = time.monotonic()
    assert parked(session).text() == "6"
    assert 0.7 < time.monotonic() - begin < 2
    assert parked(session).text() == "6", "the session goes on"


def test_a_client_that_falls_silent_is_refused_and_observers_hear_of_it(start: StartServer) -> None:
    server = start(**HASTY)
    session = joined(server)
    assert parked(session).text() == "2"
    status, headers, body = Poll(session).read()
    assert (status, json.loads(body)["code"]) == (400, 1)
    assert headers["content-type"] == "application/json"
    journal = server.wait_journal("refused", "disconnect")
    assert ["disconnect", "ping timeout"] in journal
    assert ["refused", "GET", 400, "Session ID unknown"] in journal


def test_a_client_that_goes_away_leaves_nothing_and_may_come_back(server: Server) -> None:
    session = joined(server)
    poll = parked(session)
    server.get("/emit")
    assert poll.text() == '42["news","x"]'
    before = state(server)
    for _ in range(20):
        poll = Poll(session)
        assert poll.waits(0.1)
        poll.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        poll.sock.close()
        assert wait_until(lambda: server.get(f"/polled?sid={session.sid}").text == "False", timeout_s=5)
    assert_settles(server, before)
    poll = parked(session)
    server.get("/emit")
    assert poll.text() == '42["news","x"]'


def test_a_second_poll_ends_the_session_and_the_first_one_hears_of_it(server: Server) -> None:
    session = joined(server)
    first = parked(session)
    assert session.get().status == 400
    assert first.text() == "1"
    assert ["disconnect", "transport error"] in server.wait_journal("disconnect")


def test_an_upgrade_lets_the_poll_go(server: Server) -> None:
    session = joined(server)
    poll = parked(session)
    websocket = WebSocket(server.port, sid=session.sid)
    websocket.send("2probe")
    assert websocket.receive() == "3probe"
    assert poll.text() == "6"
    websocket.send("5")
    server.get("/emit")
    assert websocket.receive() == '42["news","x"]'


def test_a_kicked_client_s_poll_is_answered(server: Server) -> None:
    session = joined(server)
    session.post('421["who"]')
    (answer,) = session.receive()
    poll = parked(session)
    server.get(f"/kick?sid={json.loads(str(answer)[3:])[0]}")
    assert "41" in poll.text().split("\x1e")


def test_the_close_packet_of_the_client_answers_its_poll(server: Server) -> None:
    session = joined(server)
    poll = parked(session)
    session.post("1")
    assert poll.text() == "6"


@pytest.mark.parametrize("kind", kind_params(THREADING, FOUR_THREADS))
def test_polls_are_answered_before_the_server_ends(kind: ServerKind, tmp_path: Path) -> None:
    with serving(kind, AppSpec(app="parked"), tmp_path) as server:
        polls = [parked(joined(server)) for _ in range(3)]
        server.begin_stop()
        # As if they came now: the clients start over, at the server that takes its place.
        assert [poll.read()[0] for poll in polls] == [400] * 3
        server.stop()


def test_who_sends_more_behind_a_poll_is_answered_at_once_and_may_send_it_again(server: Server) -> None:
    session = joined(server)
    second = (
        f"POST {session.target} HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n".encode() + b'42["who"]xyz'
    )
    begin = time.monotonic()
    assert Poll(session, more=second).text() == "6", "sent together"
    late = parked(session)
    late.sock.sendall(second)
    assert late.text() == "6", "sent when the poll was waiting"
    assert time.monotonic() - begin < 5
    poll = parked(session)
    poll.sock.sendall(b"x" * 60_000)
    assert poll.text() == "6", "no reset, although it was not read"
    poll = parked(session)
    server.get("/emit")
    assert poll.text() == '42["news","x"]'


def test_an_answer_that_is_not_read_counts_and_has_its_time(start: StartServer) -> None:
    server = start(ping_interval=1, ping_timeout=2, http_compression=False)
    session = joined(server)
    assert parked(session).text() == "2"
    session.post("3")
    before = state(server)
    poll = Poll(session)
    poll.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    time.sleep(0.2)
    server.get("/emit?size=9000000&count=1")
    assert wait_until(lambda: max(state(server)["unread"], default=0) > 1_000_000, timeout_s=5), state(server)
    assert session.get().status == 400, "it has not read the answer to the last one"
    assert_settles(server, before)
    poll.sock.close()


def test_an_answer_of_megabytes_is_read_slowly_and_whole(start: StartServer) -> None:
    server = start(http_compression=False, outbox_max_bytes=20_000_000)
    session = joined(server)
    poll = parked(session)
    server.get("/emit?size=9000000")
    time.sleep(0.5)
    assert len(poll.text()) == 9_000_000 + len('42["news",""]')
    poll = parked(session)
    server.get("/emit")
    assert poll.text() == '42["news","x"]'


def test_a_forked_child_keeps_no_client_waiting(server: Server) -> None:
    poll = parked(joined(server))
    server.get("/fork")
    server.get("/emit")
    begin = time.monotonic()
    assert poll.text() == '42["news","x"]'
    assert time.monotonic() - begin < SOON_S, "the end is seen although a child had a copy"


def test_clients_that_poll_for_a_while_leave_nothing(server: Server) -> None:
    session = joined(server)
    assert Poll(session).waits(0.1)
    server.get("/emit")
    before = state(server)
    for _ in range(100):
        session.post('420["who"]')
        assert session.receive()
    assert_settles(server, before)


@pytest.mark.parametrize("where", ["inside", "outside"])
def test_middleware_that_adds_headers_still_does(start: StartServer, where: str) -> None:
    server = start(settings={"middleware": where})
    poll = parked(joined(server))
    server.get("/emit")
    status, headers, body = poll.read()
    assert (status, body) == (200, b'42["news","x"]')
    assert headers.get("x-middleware") == ("yes" if where == "outside" else None)


LIMIT = 150
#: What is kept of it for the server itself.
RESERVE = 64


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Server]:
    """Give a server that may have few descriptors."""
    limited = dataclasses.replace(
        THREADING,
        name="threading-small",
        command=lambda port: ["prlimit", f"--nofile={LIMIT}:{LIMIT}", *THREADING.command(port)],
    )
    with serving(limited, AppSpec(app="parked"), tmp_path) as server:
        yield server


def test_polls_count_among_the_descriptors(small: Server) -> None:
    sessions = [joined(small) for _ in range(LIMIT - RESERVE)]
    polls = [Poll(session) for session in sessions]
    assert wait_until(lambda: state(small)["parked"] == len(polls), timeout_s=5), state(small)
    with pytest.raises(Exception, match="503"):
        WebSocket(small.port, sid=sessions[0].sid)
    small.get("/emit")
    assert {poll.text() for poll in polls} == {'42["news","x"]'}
