"""Many threads emit while a client's connections are cut at every point: nothing is lost, nothing comes twice.

The order of what a client receives is the one in which it was written, on whatever connection.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flask_socketio_core.common import options
from flask_socketio_core.common.reasons import Reason
from flask_socketio_core.contracts import Lock
from flask_socketio_core.contracts.clients import Emission
from flask_socketio_core.server.clients import Client
from flask_socketio_core.server.server import Server
from flask_socketio_core.transport.packets import Outgoing
from flask_socketio_core.transport.session import Session
from support.engine import DirectTransport, ManualMode, RecordingApplication, WokenTransport, connection_of

EVENTS = 40
"""How many each thread emits."""

PATIENCE_S = 10.0


@dataclass(frozen=True)
class Cut:
    """How a connection ends.

    :param direct: whether it is one that is written to by who emits, or one that takes what waits.
    :param received: how many packets arrive, its CONNECT included.
    :param noticed: whether the server knows that it is lost before the client is back.
    :param away: how many events are emitted until the client is back.
    """

    direct: bool
    received: int
    noticed: bool
    away: int


cuts = st.lists(
    st.builds(
        Cut,
        direct=st.booleans(),
        received=st.integers(0, 30),
        noticed=st.booleans(),
        away=st.integers(0, 10),
    ),
    max_size=8,
)


class Line:
    """A connection whose peer receives only so many packets; what is written behind is lost.

    :param most: how many; ``None`` for all.
    """

    def __init__(self, server: Server, direct: bool, most: int | None) -> None:
        self._transport: DirectTransport | WokenTransport = DirectTransport() if direct else WokenTransport()
        self._most = sys.maxsize if most is None else most
        self._read = 0
        self._packets: deque[str] = deque()
        self.session: Session = server.eio.add_session({}, self._transport)

    @property
    def cut(self) -> bool:
        """Whether nothing arrives any more."""
        return self._most == 0

    def packets(self) -> Iterator[str]:
        """Yield what has arrived since the last call."""
        if isinstance(self._transport, DirectTransport):
            self._read_frames(self._transport.written)
        else:
            self._packets.extend(str(packet) for packet in self.session.take_packets(self._transport))
        while self._packets and self._most:
            self._most -= 1
            yield self._packets.popleft()

    def _read_frames(self, written: bytes) -> None:
        while len(written) >= self._read + 2:
            size, start = written[self._read + 1], self._read + 2
            if size == 126:
                size, start = int.from_bytes(written[start : start + 2], "big"), start + 2
            self._packets.append(written[start : start + size].decode())
            self._read = start + size


class Peer:
    """A client as the official one: it presents its pid and the last argument of what it has received last."""

    def __init__(self) -> None:
        self.pid: str | None = None
        self.offset: str | None = None
        self.received: list[list[Any]] = []
        self.sids: list[str] = []

    def ask(self, line: Line) -> None:
        presented = {"pid": self.pid, "offset": self.offset}
        auth = {name: value for name, value in presented.items() if value is not None}
        line.session.receive(f"40{json.dumps(auth)}" if auth else "40")

    def read(self, line: Line) -> None:
        for packet in line.packets():
            data = json.loads(packet[2:])
            if packet[1] == "0":
                self.pid = data["pid"]
                self.sids.append(data["sid"])
            else:
                *event, self.offset = data
                self.received.append([*event, self.offset])


class Emitters:
    """Threads that emit numbers, some of them volatile ones, to the same clients in several ways.

    :param pauses_s: how long each of them waits between two.
    """

    def __init__(self, server: Server, sid: str, count: int) -> None:
        self._server = server
        self._ways: list[tuple[str, ...] | None] = [None, ("room",), (sid,), ("room", sid)]
        self.emitted = 0
        self._threads = [threading.Thread(target=self._emit, args=(number,)) for number in range(count)]
        for thread in self._threads:
            thread.start()

    def _emit(self, thread: int) -> None:
        for number in range(EVENTS):
            to = self._ways[(thread + number) % 4]
            self._server.emit(Emission("n", (thread, number), "/", to, frozenset(), None, False))
            if number % 5 == 0:
                self._server.emit(Emission("v", (thread, number), "/", to, frozenset(), None, True))
            self.emitted += 1  # not exact
            time.sleep(0)

    @property
    def running(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def join(self) -> None:
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()


@pytest.fixture(scope="module", autouse=True)
def switching() -> Iterator[None]:
    """Have threads interrupt each other all the time."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(threads=st.integers(1, 4), course=cuts)
def test_nothing_is_lost_or_comes_twice_wherever_connections_are_cut(threads: int, course: list[Cut]) -> None:
    mode, app = ManualMode(), RecordingApplication()
    server = Server(app, options.build({"recovery": 60}), mode)
    peer, line = Peer(), Line(server, True, None)
    peer.ask(line)
    mode.run_jobs()
    client = connection_of(line.session).clients["/"]
    state = client.recovery
    assert state is not None
    server.enter_room(client.sid, "room")
    peer.read(line)
    emitters = Emitters(server, client.sid, threads)
    try:
        for number, cut in enumerate(course):
            pass_by(emitters, cut.away)
            if number and course[number - 1].noticed:
                line.session.close(Reason.PING_TIMEOUT)
            line = Line(server, cut.direct, cut.received)
            peer.ask(line)
            deadline_s = time.monotonic() + PATIENCE_S
            while not line.cut and time.monotonic() < deadline_s:
                mode.run_jobs()
                peer.read(line)
                if not emitters.running and not mode.jobs:
                    peer.read(line)
                    break
        line = Line(server, True, None)
        peer.ask(line)
        mode.run_jobs()
    finally:
        emitters.join()
    peer.read(line)
    for thread in range(threads):
        assert [n for name, t, n, _ in peer.received if name == "n" and t == thread] == [*range(EVENTS)]
    assert len({event[-1] for event in peer.received}) == len(peer.received)
    assert state.sent is not None
    assert [event[-1] for event in peer.received] == [event.offset for event in state.sent]
    assert set(peer.sids) == {client.sid}
    load = server.load().recovery
    assert load is not None
    assert (load.failed, load.clients, load.lost_clients) == ({}, 1, 0)


class LockedLog:
    """Notes what it is told while a lock is held."""

    def __init__(self, lock: Lock) -> None:
        self._lock = lock
        self.entries: list[Any] = []

    def append(self, entry: Any) -> None:
        assert not self._lock.acquire(blocking=False)
        self.entries.append(entry)


@pytest.mark.parametrize(
    "transport", [DirectTransport(), DirectTransport(3), DirectTransport(0), WokenTransport()]
)
def test_what_is_written_is_noted_before_anything_else_can_be_written(
    transport: DirectTransport | WokenTransport,
) -> None:
    """Wherever threads interrupt each other: written at once, in part, not at all, and to who takes what waits."""
    mode = ManualMode()
    server = Server(RecordingApplication(), options.build({"recovery": 60}), mode)
    session = server.eio.add_session({}, transport)
    log = LockedLog(session.lock)
    first, second = Outgoing(("421",), True), Outgoing(("422",), True)
    assert session.send_noted(first, False, log, "first")
    assert session.send_noted(second, False, log, "second")
    client = Client("sid", "/", connection_of(session))
    assert client.pending
    assert client.send_noted(first, False, log, "held back")
    assert log.entries == ["first", "second", "held back"]
    session.close(Reason.TRANSPORT_CLOSE)
    assert not session.send_noted(first, False, log, "not written")
    assert len(log.entries) == 3


def test_what_is_dropped_is_not_noted() -> None:
    server = Server(RecordingApplication(), options.build({"recovery": 60}), ManualMode())
    moves, log = Outgoing(("42[]",), True), list[str]()
    for transport, written in ((DirectTransport(0), 0), (DirectTransport(1), 1), (WokenTransport(), 1)):
        session = server.eio.add_session({}, transport)
        log.clear()
        session.send_noted(moves, True, log, "moves")
        session.send_noted(moves, True, log, "would wait behind the other")
        assert log == ["moves"] * written


def test_what_a_broken_connection_does_not_take_is_noted() -> None:
    def write(frames: bytes) -> int:
        raise ConnectionResetError

    server = Server(RecordingApplication(), options.build({"recovery": 60}), ManualMode())
    transport, log = DirectTransport(), list[str]()
    transport.write = write
    session = server.eio.add_session({}, transport)
    assert session.send_noted(Outgoing(("42[]",), True), False, log, "event")
    assert not session.send_noted(Outgoing(("42[]",), True), True, log, "volatile event")
    assert log == ["event"]
    assert not session.has_waiting


def pass_by(emitters: Emitters, events: int) -> None:
    """Wait until so many events more have been emitted, or all."""
    until = emitters.emitted + events
    while emitters.emitted < until and emitters.running:
        time.sleep(0)
