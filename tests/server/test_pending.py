"""How much memory unfinished events may take: of one connection, of the process, and of what is still on its way."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest

from flask_socketio_core.common import options
from flask_socketio_core.server.pending import packed_cost, text_cost
from flask_socketio_core.server.server import Server
from flask_socketio_core.transport.session import Session
from support.engine import ManualMode, RecordingApplication, WokenTransport, connection_of

LARGE = '42["e","' + 5000 * "x" + '"]'


class World:
    """A server whose jobs run when the test says so."""

    def __init__(self, **limits: Any) -> None:
        self.mode = ManualMode()
        self.now_s = 100.0
        self.server = Server(
            RecordingApplication(), options.build(limits), self.mode, clock=lambda: self.now_s
        )

    def join(self) -> tuple[Session, WokenTransport]:
        transport = WokenTransport("websocket")
        session = self.server.eio.add_session({}, transport)
        session.receive("40")
        self.mode.run_jobs()
        return session, transport


def is_held(transport: WokenTransport) -> bool:
    return transport.held


@pytest.mark.parametrize(
    "unit", ["[]", "{}", "[0]", '{"a":0}', '{"a":1,"b":2}', '"aa"', "1.5", "257", '"привет"', "[[[[]]]]"]
)
def test_json_is_counted_by_what_it_becomes(unit: str) -> None:
    text = "[" + ",".join([unit] * (100_000 // len(unit))) + "]"
    tracemalloc.start()
    decoded = json.loads(text)
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert decoded
    assert 0.9 * size < text_cost(text) < 4 * size + len(text)


@pytest.mark.parametrize("unit", [b"\x90", b"\x80", b"\x07", b"\xe0", b"\x91\x90", b"\x81\xa1a\x07"])
def test_msgpack_is_counted_by_what_it_becomes(unit: bytes) -> None:
    msgpack = pytest.importorskip("msgpack")
    message = b"\xdc" + (60_000).to_bytes(2, "big") + unit * 60_000
    tracemalloc.start()
    decoded = msgpack.loads(message)
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert decoded
    assert 0.9 * size < packed_cost(message)


def test_a_connection_with_too_many_bytes_unfinished_is_not_read() -> None:
    world = World(max_pending_bytes=12_000)
    session, transport = world.join()
    session.receive(LARGE)
    session.receive(LARGE)
    assert not is_held(transport)
    session.receive(LARGE)
    assert is_held(transport)
    world.mode.jobs.popleft()()
    assert is_held(transport)
    world.mode.jobs.popleft()()
    assert not is_held(transport)
    world.mode.run_jobs()
    assert connection_of(session).pending_bytes == 0


def test_beyond_the_process_limit_messages_wait_undecoded_and_in_order() -> None:
    world = World(max_total_pending_bytes=8_000)
    (first, _), (second, transport) = world.join(), world.join()
    first.receive(LARGE)
    second.receive(LARGE)
    second.receive('42["e","small"]')
    assert is_held(transport)
    assert len(world.mode.jobs) == 1
    first.receive('42["e","small"]')
    assert len(world.mode.jobs) == 2, "small messages of others are taken"
    world.mode.run_jobs()
    assert not is_held(transport)
    assert not connection_of(second).unread
    assert world.server._shared.pending.total == 0


@pytest.mark.parametrize("end", ["complete", "close", "stuck"])
def test_attachments_on_their_way_are_counted(end: str) -> None:
    world = World(max_total_pending_bytes=20_000)
    sessions = [world.join()[0] for _ in range(4)]
    connections = [connection_of(session) for session in sessions]
    for session in sessions:
        session.receive('452-["e",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]')
    for session in sessions:
        session.receive(b"x" * 9_000)
    assert world.server._shared.pending.total <= 20_000
    assert [bool(connection.unread) for connection in connections] == [False, False, True, True]
    for session in sessions[:2]:
        if end == "complete":
            session.receive(b"x" * 9_000)
        elif end == "close":
            session.close("transport close")
    if end == "stuck":
        world.now_s += 46
        for session in sessions[:2]:
            session.on_due(world.now_s)
            assert session.closed
    world.mode.run_jobs()
    assert not any(connection.unread for connection in connections)
    for session in sessions[2:]:
        session.receive(b"x" * 9_000)
        world.mode.run_jobs()
    assert world.server._shared.pending.total == 0
    assert all(connection.pending_bytes == 0 for connection in connections)


def test_packets_that_lack_attachments_do_not_wait_for_each_other() -> None:
    world = World(max_total_pending_bytes=20_000)
    sessions = [world.join()[0] for _ in range(2)]
    for session in sessions:
        session.receive('452-["e",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]')
    for _ in range(2):
        for session in sessions:
            session.receive(b"x" * 9_000)
    world.mode.run_jobs()
    assert world.server._shared.pending.total == 0
    assert not any(session.held or connection_of(session).unread for session in sessions)


def test_what_breaks_the_protocol_behind_a_message_that_waits_ends_the_connection() -> None:
    world = World(max_total_pending_bytes=8_000)
    (first, _), (second, _) = world.join(), world.join()
    first.receive(LARGE)
    second.receive(LARGE)
    second.receive("4?")
    world.mode.run_jobs()
    assert second.closed
    assert world.server._shared.pending.total == 0
