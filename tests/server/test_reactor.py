"""The reactor with real sockets and threads: whatever happens to one connection ends that connection only."""

from __future__ import annotations

import _socket
import os
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flask_socketio_async_threading.mode import ThreadingMode
from flask_socketio_core.common import options
from flask_socketio_core.contracts.clients import Emission
from flask_socketio_core.server.server import Server
from flask_socketio_core.transport.detached import DetachedConnection
from flask_socketio_core.transport.reactor import EPOLLIN, Reactor
from flask_socketio_core.transport.session import Session
from support.engine import RecordingApplication, connection_of

EVENTS = 2000
"""More than the loop takes of one client at a time, and fewer than it reads."""
MASK = b"\x01\x02\x03\x04"


def client_frame(text: bytes, opcode: int = 1) -> bytes:
    masked = bytes(byte ^ MASK[index & 3] for index, byte in enumerate(text))
    assert len(text) < 126
    return bytes((0x80 | opcode, 0x80 | len(text))) + MASK + masked


class Peer:
    """The client's end of a connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._rest = b""

    def send(self, text: str) -> None:
        self.sock.sendall(client_frame(text.encode()))

    def read(self) -> str | None:
        """Return the next text; ``None`` at the end of the connection or after a close frame."""
        while True:
            if len(self._rest) >= 2:
                size, head = self._rest[1] & 127, 2
                if size == 126 and len(self._rest) >= 4:
                    size, head = struct.unpack("!H", self._rest[2:4])[0], 4
                if (size < 126 or head == 4) and len(self._rest) >= head + size:
                    opcode = self._rest[0] & 15
                    text, self._rest = self._rest[head : head + size], self._rest[head + size :]
                    return None if opcode == 8 else text.decode()
            data = self.sock.recv(65_536)
            if not data:
                return None
            self._rest += data


@dataclass
class World:
    """A server, its reactor, and the means to connect."""

    app: RecordingApplication
    server: Server
    reactor: Reactor
    peers: list[Peer] = field(default_factory=list)

    def connect(self) -> tuple[Session, Peer]:
        ours, theirs = socket.socketpair()
        theirs.settimeout(10)
        raw = _socket.socket(fileno=ours.detach())
        raw.setblocking(False)
        connection = DetachedConnection(self.reactor, raw, 1000)
        session = self.server.eio.add_session({}, connection)
        connection.start(session)
        peer = Peer(theirs)
        self.peers.append(peer)
        return session, peer

    def join(self) -> tuple[Session, Peer, str]:
        session, peer = self.connect()
        peer.send("40")
        answer = peer.read()
        assert answer is not None
        assert answer.startswith("40")
        return session, peer, connection_of(session).clients["/"].sid


@pytest.fixture
def world() -> Iterator[World]:
    descriptors = count_descriptors()
    mode = ThreadingMode()
    app = RecordingApplication()
    server = Server(app, options.build({"outbox_max_bytes": 100_000}), mode)
    reactor = Reactor(mode, server.eio.report)
    world = World(app, server, reactor)
    yield world
    for peer in world.peers:
        peer.sock.close()
    server.shutdown(5)
    reactor.close()
    mode.close()
    wait_until(lambda: count_descriptors() <= descriptors)


def count_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def wait_until(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def test_an_event_is_answered_and_a_ping_frame_ponged(world: World) -> None:
    world.app.answer = ("yes",)
    _, peer, _ = world.join()
    peer.sock.sendall(client_frame(b"are you there", opcode=9))
    assert peer.sock.recv(100) == b"\x8a\x0dare you there"
    peer.send('421["hello"]')
    assert peer.read() == '431["yes"]'


def test_a_close_frame_is_echoed_and_the_end_follows(world: World) -> None:
    session, peer, _ = world.join()
    peer.sock.sendall(client_frame(b"\x03\xe9", opcode=8))
    assert peer.sock.recv(100) == b"\x88\x02\x03\xe9"
    assert peer.sock.recv(100) == b""
    wait_until(lambda: session.closed)
    wait_until(lambda: len(world.reactor) == 0)


def test_a_client_that_vanishes_in_mid_frame_ends_itself_only(world: World) -> None:
    _, other, _ = world.join()
    session, peer, _ = world.join()
    peer.sock.sendall(client_frame(b"42[1")[:5])
    peer.sock.close()
    wait_until(lambda: session.closed)
    other.send('425["still there"]')
    world.app.answer = ()
    assert other.read() == "435[]"


def test_a_violation_ends_the_connection_with_its_code_and_no_other(world: World) -> None:
    _, other, _ = world.join()
    session, peer, _ = world.join()
    peer.sock.sendall(b"\x81\x02hi")  # not masked
    assert peer.sock.recv(100) == b"\x88\x02" + (1002).to_bytes(2, "big")
    wait_until(lambda: session.closed)
    other.send('421["x"]')
    assert other.read() == "431[]"


def test_an_oversize_frame_is_refused_by_its_header(world: World) -> None:
    _, peer, _ = world.join()
    peer.sock.sendall(b"\x81\xff" + (10**9).to_bytes(8, "big") + MASK)
    assert peer.sock.recv(100) == b"\x88\x02" + (1009).to_bytes(2, "big")


def test_an_error_in_the_engine_ends_that_connection_only(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _, other, _ = world.join()
    session, peer, _ = world.join()

    def explode(namespace: str) -> bool:
        raise RuntimeError("a bug")

    monkeypatch.setattr(world.app, "accepts", explode)
    peer.send("40/chat,")
    assert peer.read() is None
    wait_until(lambda: session.closed)
    other.send('421["x"]')
    assert other.read() == "431[]"
    wait_until(lambda: "a bug" in caplog.text)


def test_a_stalled_client_does_not_slow_the_others_and_is_cut_off(world: World) -> None:
    stalled, stalled_peer, _ = world.join()
    _, peer, _ = world.join()
    text = "x" * 1000
    for number in range(1000):
        world.server.emit(Emission("e", (number, text)))
        assert peer.read() == f'42["e",{number},"{text}"]'
        if stalled.closed:
            break
    assert stalled.closed
    wait_until(lambda: any(hook == "outbox_overflow" for hook, _ in world.app.observers.told))
    stalled_peer.sock.close()


def test_what_did_not_fit_follows_in_order_when_the_client_reads_again(world: World) -> None:
    session, peer, sid = world.join()
    count = 0
    while not session.has_waiting:
        world.server.emit(Emission("e", (count,), to=(sid,)))
        count += 1
    for _ in range(100):
        world.server.emit(Emission("e", (count,), to=(sid,)))
        count += 1
    assert [peer.read() for _ in range(count)] == [f'42["e",{number}]' for number in range(count)]
    wait_until(lambda: not session.has_waiting)


@pytest.mark.parametrize("slow", [False, True], ids=["at once", "after handlers"])
def test_frames_that_were_read_are_taken_although_the_client_reads_nothing(world: World, slow: bool) -> None:
    session, peer, sid = world.join()
    filled = 0
    while filled < 50:  # so that the socket is full for good
        world.server.emit(Emission("fill", ("x" * 1000,), to=(sid,)))
        filled += session.has_waiting
    handled: list[str] = []
    may_return = threading.Event()

    def on_event(client: object, event: str, args: object, reply: Callable[[None], None]) -> None:
        assert may_return.wait(10)
        handled.append(event)
        reply(None)

    world.app.on_event = on_event  # type: ignore[assignment, method-assign]  # it counts
    if not slow:
        may_return.set()
    peer.sock.sendall(b"".join(client_frame(b'42["event"]') for _ in range(EVENTS)))
    if slow:
        wait_until(lambda: session.held)  # by max_pending_events
        may_return.set()
    wait_until(lambda: len(handled) == EVENTS)
    assert session.has_waiting, "the client has read nothing"


class QuickReactor:
    """Its loop has come back for a connection before who has asked for that goes on."""

    def __init__(self) -> None:
        self.asked = 0

    def wait_for(self, fd: int, events: int) -> None:
        pass

    def come_again(self, connection: Any) -> bool:
        self.asked += 1
        connection.on_more()
        return True


def test_a_loop_that_is_faster_than_who_wakes_it_is_woken_again(world: World) -> None:
    session, _ = world.connect()
    connection: Any = session.transport
    kept = connection._reactor, connection.reader
    quick = connection._reactor = QuickReactor()
    reader = connection.reader = SimpleNamespace(more=True, error=None)

    def take_all(data: bytes) -> list[object]:
        reader.more = False
        return []

    reader.feed = take_all
    for times in range(1, 4):
        connection.hold()
        reader.more = True
        connection.release()
        assert quick.asked == times
    connection._reactor, connection.reader = kept


def test_concurrent_emitters_keep_binary_packets_together(world: World) -> None:
    _, peer, sid = world.join()

    def emit() -> None:
        for _ in range(200):
            world.server.emit(Emission("b", (b"\x01" * 10, b"\x02" * 10), to=(sid,)))

    threads = [threading.Thread(target=emit) for _ in range(4)]
    for thread in threads:
        thread.start()
    expected = b'\x81\x4a452-["b",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]'
    packet = None
    data = b""
    deadline = time.monotonic() + 15
    while len(data) < 800 * len(packet or b"?") and time.monotonic() < deadline:
        data += peer.sock.recv(65_536)
        packet = packet or expected[:1] + bytes((len(expected) - 2,)) + expected[2:] + (
            b"\x82\x0a" + b"\x01" * 10 + b"\x82\x0a" + b"\x02" * 10
        )
    for thread in threads:
        thread.join()
    assert packet is not None
    assert data == packet * 800


@pytest.mark.timeout(60)
def test_no_message_ever_reaches_another_client(world: World) -> None:
    """Close, accept and emit from several threads until descriptor numbers have been reused many times over."""
    stop = threading.Event()
    wrong: list[str] = []
    numbers: list[int] = []
    alive: dict[str, None] = {}

    def come_and_go(seed: int) -> None:
        choice = random.Random(seed)
        for _ in range(150):
            session, peer, sid = world.join()
            numbers.append(session.transport.fd)  # type: ignore[attr-defined]  # the reactor's own transport
            alive[sid] = None
            for _ in range(choice.randrange(4)):
                text = peer.read()
                if text is not None and text != f'42["for","{sid}"]':
                    wrong.append(f"{sid} got {text}")
            if choice.random() < 0.5:
                session.close("server disconnect")
            else:
                peer.sock.close()
            alive.pop(sid, None)
            peer.sock.close()

    def emit() -> None:
        while not stop.is_set():
            for sid in list(alive):
                world.server.emit(Emission("for", (sid,), to=(sid,)))

    emitters = [threading.Thread(target=emit) for _ in range(3)]
    clients = [threading.Thread(target=come_and_go, args=(seed,)) for seed in range(4)]
    for thread in emitters + clients:
        thread.start()
    for thread in clients:
        thread.join()
    stop.set()
    for thread in emitters:
        thread.join()
    assert wrong == []
    assert len(set(numbers)) < len(numbers) / 4, "numbers were not reused, so nothing was tested"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_has_no_connections_and_its_parents_clients_notice_nothing(world: World) -> None:
    _, staying, sid = world.join()
    leaving, leaving_peer, _ = world.join()
    to_child, from_parent = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(from_parent)
        right = len(world.reactor) == 0 and not world.server.sessions and not world.server.members(None)
        os.read(to_child, 1)  # stay until the parent has looked
        os._exit(0 if right else 1)
    os.close(to_child)
    try:
        world.server.emit(Emission("e", (), to=(sid,)))
        assert staying.read() == '42["e"]'
        leaving.close("server disconnect")
        assert leaving_peer.read() == "1"
        assert leaving_peer.read() is None
        assert leaving_peer.sock.recv(10) == b"", "the end is seen although a child holds copies"
    finally:
        os.close(from_parent)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    staying.send('421["still there"]')
    assert staying.read() == "431[]"


def test_a_peer_that_is_gone_before_the_answer_is_nobody_s_error(world: World) -> None:
    ours, theirs = socket.socketpair()
    raw = _socket.socket(fileno=ours.detach())
    raw.setblocking(False)
    theirs.close()
    connection = DetachedConnection(world.reactor, raw, 1000)
    connection.write_head(b"HTTP/1.1 101 Switching Protocols")
    session = world.server.eio.add_session({}, connection)
    connection.start(session)
    wait_until(lambda: session.closed)


@pytest.mark.parametrize("taken", [0, 1])
def test_a_server_may_end_in_a_turn_of_its_loop(
    world: World, monkeypatch: pytest.MonkeyPatch, taken: int
) -> None:
    reactor = Reactor(world.server.mode, world.server.eio.report)  # whose turns are taken here
    turns = 0

    def on_more(connection: DetachedConnection) -> None:
        nonlocal turns
        turns += 1
        if turns == taken:
            reactor.close()

    monkeypatch.setattr(DetachedConnection, "on_more", on_more)
    for _ in range(3):
        ours, theirs = socket.socketpair()
        world.peers.append(Peer(theirs))
        connection = DetachedConnection(reactor, _socket.socket(fileno=ours.detach()), 1000)
        connection.target = world.server.eio.add_session({}, connection)
        reactor.add(connection, 0)
        assert reactor.come_again(connection)
    if not taken:
        reactor.close()
    reactor._drain()
    assert turns == taken
    assert len(reactor) == 0


class Listening:
    """A listening Unix socket in the reactor, which reads a byte of each connection: no WebSocket at all."""

    what = "a listening socket"

    def __init__(self, reactor: Reactor, path: str) -> None:
        self._reactor = reactor
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.bind(path)
        self._sock.listen()
        self._sock.setblocking(False)
        self.fd = self._sock.fileno()
        self.accepted = 0

    def on_readable(self) -> None:
        accepted, _ = self._sock.accept()
        with accepted:
            self.accepted += 1
            accepted.settimeout(5)
            if accepted.recv(1) == b"!":
                raise RuntimeError("a fault of ours")
            accepted.send(b"ok")

    def on_writable(self) -> None:
        raise AssertionError("nobody asked for it")

    on_more = on_writable

    def end(self) -> None:
        if self.fd >= 0:
            self._reactor.remove(self.fd)
        self.forget()

    def forget(self) -> None:
        self.fd = -1
        self._sock.close()


def ask(path: str, byte: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(path)
        sock.send(byte)
        return sock.recv(10)


def test_what_is_no_websocket_is_served_beside_them_and_not_counted_as_one(
    world: World, tmp_path: Path
) -> None:
    path = str(tmp_path / "socket")
    listening = Listening(world.reactor, path)
    world.reactor.add(listening, EPOLLIN)
    world.reactor.watch()
    assert ask(path, b"?") == b"ok"
    _, peer, _ = world.join()
    assert ask(path, b"?") == b"ok"
    assert (len(world.reactor), world.reactor.descriptors) == (1, 2)
    assert ask(path, b"!") == b"", "it failed"
    wait_until(lambda: listening.fd < 0)
    assert (len(world.reactor), world.reactor.descriptors) == (1, 1)
    peer.send('421["the others are served"]')
    assert peer.read() == "431[]"
    with pytest.raises(ConnectionRefusedError):
        ask(path, b"?")


def test_whatever_is_served_ends_with_the_reactor(world: World, tmp_path: Path) -> None:
    listening = Listening(world.reactor, str(tmp_path / "socket"))
    world.reactor.add(listening, EPOLLIN)
    world.reactor.watch()
    world.reactor.close()
    assert listening.fd < 0
    assert world.reactor.descriptors == 0
