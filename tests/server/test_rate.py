"""Clients that send too fast: how many packets may come, and when the next ones are read."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from flask_socketio_async_threading.mode import ThreadingMode
from flask_socketio_core.common import options
from flask_socketio_core.contracts.framed import FramedSocketTransport
from flask_socketio_core.server.server import Server
from flask_socketio_core.testing.rawclient import PING, PONG, TEXT, masked
from flask_socketio_core.transport.blocking import BlockingConnection
from flask_socketio_core.transport.bucket import TokenBucket
from flask_socketio_core.transport.detached import DetachedConnection
from flask_socketio_core.transport.polling import PollingTransport
from flask_socketio_core.transport.reactor import Reactor
from flask_socketio_core.transport.session import PACKETS_AT_ONCE, Session
from flask_socketio_core.transport.upgrade import MOST_FRAMES, PROBE, UpgradeProbe
from flask_socketio_core.websocket_protocol.frames import FrameReader
from support.engine import Host, ManualMode, RecordingApplication, WokenTransport
from support.servers import wait_until

RATE = 100
BURST = 1000


def is_held(transport: WokenTransport) -> bool:
    return transport.held


def receive(session: Session, count: int, packet: str = "3") -> None:
    for _ in range(count):
        session.receive(packet)
        session.allowance -= 1
        if session.allowance < 0:
            session.overdrawn()


def test_a_bucket_fills_evenly_up_to_its_burst() -> None:
    bucket = TokenBucket(10, 30, 0.0)
    assert bucket.take(30, 0.0) == 0
    assert bucket.take(5, 0.0) == 0.5
    assert bucket.take(0, 0.5) == 0
    assert bucket.take(30, 100.0) == 0
    assert bucket.take(1, 100.0) == pytest.approx(0.1)


def test_a_burst_is_read_at_once_and_more_than_that_at_the_rate() -> None:
    host = Host(max_packets_per_s=RATE)
    session = host.open(transport := WokenTransport())
    receive(session, BURST)
    assert not is_held(transport)
    receive(session, PACKETS_AT_ONCE)
    assert is_held(transport)
    assert host.too_fast == 1
    due_s = session.next_due()
    assert due_s is not None
    assert 0 < due_s - host.now_s <= PACKETS_AT_ONCE / RATE
    session.on_due(due_s - 0.01)
    assert is_held(transport)
    host.now_s = due_s
    session.on_due(due_s)
    assert not is_held(transport)


def test_who_stays_below_the_rate_is_never_held() -> None:
    host = Host(max_packets_per_s=RATE)
    session = host.open(transport := WokenTransport())
    for _ in range(100):
        receive(session, RATE)
        host.now_s += 1.0
    assert not transport.held
    assert not host.too_fast


def test_a_pong_may_be_late_behind_what_was_not_read() -> None:
    host = Host(max_packets_per_s=RATE, connect_timeout=10_000)
    session = host.open(transport := WokenTransport())
    host.now_s += 25
    session.on_due(host.now_s)
    until_s = host.now_s + 100
    while host.now_s < until_s:
        receive(session, BURST + PACKETS_AT_ONCE, "4x")
        assert is_held(transport)
        while is_held(transport) and not session.closed:
            due_s = session.next_due()
            assert due_s is not None
            host.now_s = due_s
            session.on_due(due_s)
        assert not session.overdue(host.now_s)
    assert not session.closed
    host.now_s += 1000  # it sends nothing any more, not even that
    session.on_due(host.now_s)
    host.now_s += 1000
    session.on_due(host.now_s)
    assert session.closed


def make_server(mode: Any, **keywords: Any) -> Server:
    keywords = {"max_packets_per_s": RATE, "max_pending_events": 10, **keywords}
    return Server(RecordingApplication(), options.build(keywords), mode)


def test_it_is_read_on_when_the_rate_and_the_handlers_allow_it() -> None:
    mode = ManualMode()
    server = make_server(mode)
    transport = WokenTransport("websocket")
    session = server.eio.add_session({}, transport)
    session.receive("40")
    mode.run_jobs()
    for handlers_first in (True, False):
        receive(session, BURST + PACKETS_AT_ONCE)
        for _ in range(10):
            session.receive('42["e"]')
        assert transport.held
        steps: list[Callable[[], object]] = [
            mode.run_jobs,
            lambda: session.on_due(server.eio.clock() + 100),
        ]
        for last, step in enumerate(steps if handlers_first else steps[::-1]):
            step()
            assert is_held(transport) is not bool(last)


def test_a_client_that_sends_too_fast_is_told_in_the_log_once(caplog: pytest.LogCaptureFixture) -> None:
    mode = ManualMode()
    session = make_server(mode).eio.add_session({}, WokenTransport("websocket"))
    receive(session, 3 * BURST)
    mode.run_jobs()
    assert caplog.text.count("max_packets_per_s=100") == 1


def test_a_post_request_waits_unread() -> None:
    session = make_server(ManualMode()).eio.add_session({}, PollingTransport())
    receive(session, BURST + PACKETS_AT_ONCE)
    assert session.held


@pytest.mark.parametrize("frame", [masked(PING, b""), masked(PONG, b""), masked(TEXT, b"3")])
def test_the_reactor_counts_every_frame(frame: bytes) -> None:
    ours, theirs = socket.socketpair()
    with theirs, ours:
        connection = DetachedConnection(Reactor(ManualMode(), lambda error, where: None), ours, 1000)
        session = Host(max_packets_per_s=RATE).open(connection)
        connection.target = session
        theirs.setblocking(False)
        while not session.held:
            before = session.allowance
            theirs.send(10 * frame)
            connection.on_readable()
            with contextlib.suppress(BlockingIOError):
                theirs.recv(1000)
            assert session.allowance == before - 10 or session.allowance == PACKETS_AT_ONCE
        assert session.rests


@pytest.mark.parametrize("frame", [masked(PING, b""), masked(PONG, b""), masked(TEXT, b"3")])
def test_the_blocking_shell_counts_every_frame_and_waits(frame: bytes) -> None:
    mode = ThreadingMode()
    server = make_server(mode)
    data = deque([BURST // 2 * frame] * 5)
    read = threading.Event()

    def recv(count: int) -> bytes:
        if len(data) == 1:
            read.set()
        return data.popleft() if data else b""

    transport = FramedSocketTransport(recv=recv, sendall=len, shutdown=lambda: None, max_message_bytes=1000)
    connection = BlockingConnection(transport, mode, lambda error, where: None)
    session = server.eio.make_session({}, connection)
    server.eio.add(session)
    reader = threading.Thread(target=connection.run, args=(session,))
    reader.start()
    try:
        assert wait_until(lambda: session.rests, timeout_s=10)
        assert not read.wait(0.3)
        assert len(data) == 2
    finally:
        session.close("test")
        reader.join(10)
        mode.close()
    assert not reader.is_alive()


def test_an_upgrade_of_many_frames_is_given_up() -> None:
    mode = ManualMode()
    server = make_server(mode)
    session = server.eio.add_session({}, PollingTransport())

    class Connection(WokenTransport):
        target: Any = None

        def answer(self, outgoing: Any) -> bool:
            return True

    probe = UpgradeProbe(server.eio, session, connection := Connection("websocket"), mode.create_lock())
    probe.receive(PROBE)
    probe.allowance -= MOST_FRAMES + 1
    probe.overdrawn()
    assert connection.closed_with == 1008
    assert session.probe is None
    assert not session.closed


def test_who_sends_many_small_frames_is_heard_a_few_at_a_time() -> None:
    reader, counts = FrameReader(1_000_000), list[int]()
    data = 400 * masked(TEXT, b"3")
    while data or reader.more:
        counts.append(len(reader.feed(data)))
        data = b""
    assert counts == 25 * [16]
    assert reader.wanted == 4096


def test_half_a_frame_behind_a_few_waits_for_its_rest() -> None:
    reader = FrameReader(1_000_000)
    last = masked(TEXT, b"last")
    assert len(reader.feed(16 * masked(TEXT, b"3") + last[:3])) == 16
    assert reader.feed(b"") == []
    assert not reader.more
    assert reader.feed(last[3:]) == [(TEXT, "last")]


def test_who_sends_large_messages_is_read_in_large_pieces() -> None:
    data = 10 * masked(TEXT, 100_000 * b"x")
    reader, sizes = FrameReader(1_000_000), list[int]()
    for _ in range(6):
        sizes.append(reader.wanted)
        piece, data = data[: reader.wanted], data[reader.wanted :]
        reader.feed(piece)
    assert sizes == [4096, 8192, 16_384, 32_768, 65_536, 65_536]
