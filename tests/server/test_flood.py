"""Clients that send faster than their events can be handled: nothing more is read, and nothing is lost."""

from __future__ import annotations

import _socket
import io
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from flask_socketio_async_threading.mode import ThreadingMode
from flask_socketio_core.common import options
from flask_socketio_core.contracts import BlockingTransport
from flask_socketio_core.contracts.clients import Client
from flask_socketio_core.server.engine import Engine
from flask_socketio_core.server.interface import AckReply
from flask_socketio_core.server.server import Server
from flask_socketio_core.testing.rawclient import TEXT, masked
from flask_socketio_core.transport.blocking import BlockingConnection
from flask_socketio_core.transport.detached import DetachedConnection
from flask_socketio_core.transport.polling import PollingTransport
from flask_socketio_core.transport.reactor import Reactor
from flask_socketio_core.transport.session import Session
from support.engine import Host, ManualMode, RecordingApplication, WokenTransport, connection_of

MOST = 10
COUNT = 2000
"""Packets of 1 kB: many times what a socket's buffers take."""


class Gate(RecordingApplication):
    """Handles no event before it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open = threading.Event()
        self.handled: list[Any] = []

    def on_event(self, client: Client, event: str, args: tuple[Any, ...], reply: AckReply) -> None:
        assert self.open.wait(10)
        self.handled.append(args[0])
        reply(None)


def wait_until(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.002)


def is_held(transport: WokenTransport) -> bool:
    return transport.held


def packet(number: int) -> str:
    return f'42["e",{number}]'


def test_reading_stops_at_the_limit_and_goes_on_at_half_of_it() -> None:
    mode = ManualMode()
    server = Server(RecordingApplication(), options.build({"max_pending_events": MOST}), mode)
    transport = WokenTransport("websocket")
    session = server.eio.add_session({}, transport)
    session.receive("40")
    mode.run_jobs()
    for number in range(MOST):
        assert not is_held(transport)
        session.receive(packet(number))
    assert is_held(transport)
    for _ in range(MOST // 2 - 1):
        mode.jobs.popleft()()
    assert is_held(transport)
    mode.jobs.popleft()()
    assert not is_held(transport)


def test_connecting_and_leaving_again_and_again_counts_too() -> None:
    mode = ManualMode()
    server = Server(RecordingApplication(), options.build({"max_pending_events": MOST}), mode)
    transport = WokenTransport("websocket")
    session = server.eio.add_session({}, transport)
    for _ in range(MOST):
        session.receive("40")
        session.receive("41")
    assert is_held(transport)
    mode.run_jobs()
    assert not is_held(transport)
    assert connection_of(session).backlog == []


def test_a_session_that_is_not_read_is_not_silent() -> None:
    host = Host(connect_timeout=1000)
    session = host.open(WokenTransport())
    session.on_due(125)  # a ping goes out
    session.hold()
    session.on_due(145)
    assert not session.closed
    assert not session.overdue(170)
    session.release()
    session.on_due(170)
    assert host.closed == ["ping timeout"]


def test_an_upgrade_takes_over_that_nothing_is_read() -> None:
    session = Host().open(WokenTransport())
    websocket = WokenTransport("websocket")
    assert session.begin_upgrade(websocket)
    session.hold()
    assert session.upgrade(websocket)
    assert is_held(websocket)
    session.release()
    assert not is_held(websocket)


@dataclass
class World:
    """A server over the reactor, whose handlers wait at a gate."""

    app: Gate
    server: Server
    reactor: Reactor
    peers: list[socket.socket] = field(default_factory=list)

    def join(self) -> tuple[Session, socket.socket]:
        ours, theirs = socket.socketpair()
        theirs.settimeout(10)
        self.peers.append(theirs)
        raw = _socket.socket(fileno=ours.detach())
        raw.setblocking(False)
        connection = DetachedConnection(self.reactor, raw, 1000)
        session = self.server.eio.add_session({}, connection)
        connection.start(session)
        theirs.sendall(masked(TEXT, b"40"))
        assert theirs.recv(100)
        return session, theirs


@pytest.fixture
def world() -> Iterator[World]:
    mode, app = ThreadingMode(), Gate()
    server = Server(app, options.build({"max_pending_events": MOST, "async_handlers": "ordered"}), mode)
    world = World(app, server, Reactor(mode, server.eio.report))
    yield world
    app.open.set()
    for peer in world.peers:
        peer.close()
    server.shutdown(5)
    world.reactor.close()
    mode.close()


def test_what_a_flooding_websocket_sends_stays_in_its_socket(world: World) -> None:
    session, peer = world.join()
    frames = b"".join(masked(TEXT, packet(number).ljust(1000).encode()) for number in range(COUNT))
    sender = threading.Thread(target=peer.sendall, args=(frames,))
    sender.start()
    wait_until(lambda: session.held)
    sender.join(0.2)
    assert sender.is_alive(), "the server reads on and on"
    assert len(connection_of(session).backlog) <= MOST + 65_536 // 1000 + 1

    other, other_peer = world.join()
    assert not other.held, "other clients are served"
    other_peer.close()

    world.app.open.set()
    wait_until(lambda: len(world.app.handled) == COUNT)
    assert world.app.handled == list(range(COUNT))
    sender.join(10)
    wait_until(lambda: not session.held)


def test_a_flooding_websocket_that_is_not_read_can_be_closed(world: World) -> None:
    session, peer = world.join()
    for number in range(MOST):
        peer.sendall(masked(TEXT, packet(number).encode()))
    wait_until(lambda: session.held)
    session.close("server disconnect")
    wait_until(lambda: len(world.reactor) == 0)


class Pipe(BlockingTransport):
    """Gives what the test puts in."""

    def __init__(self) -> None:
        self.arrived: queue.Queue[str | bytes | None] = queue.Queue()

    def receive(self) -> str | bytes | None:
        return self.arrived.get(timeout=10)

    def send(self, message: str | bytes) -> None:
        pass

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.arrived.put(None)


def test_the_reader_of_a_blocking_websocket_waits() -> None:
    mode, app, pipe = ThreadingMode(), Gate(), Pipe()
    server = Server(app, options.build({"max_pending_events": MOST, "async_handlers": "ordered"}), mode)
    connection = BlockingConnection(pipe, mode, server.eio.report)
    session = server.eio.add_session({}, connection)
    for text in ("40", *(packet(number) for number in range(2 * MOST))):
        pipe.arrived.put(text)
        if text == "40":
            reader = threading.Thread(target=connection.run, args=(session,))
            reader.start()
            wait_until(
                lambda: "/" in connection_of(session).clients and connection_of(session).clients["/"].accepted
            )
    wait_until(lambda: session.held)
    assert len(connection_of(session).backlog) == MOST
    assert pipe.arrived.qsize() == MOST
    app.open.set()
    wait_until(lambda: len(app.handled) == 2 * MOST)
    assert app.handled == list(range(2 * MOST))
    session.close("server disconnect")
    reader.join(10)
    assert not reader.is_alive()
    mode.close()


def post(engine: Engine, sid: str, body: str) -> str:
    """Send one POST request and return the status."""
    answers: list[str] = []
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/socket.io/",
        "QUERY_STRING": f"EIO=4&transport=polling&sid={sid}",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body.encode()),
    }
    list(engine.handle(environ, lambda status, headers, error=None: answers.append(status)))  # type: ignore[arg-type]  # no write() is needed
    return answers[0]


@pytest.mark.parametrize("end", ["handlers catch up", "session is closed", "session is upgraded"])
def test_the_next_polling_request_waits(end: str) -> None:
    mode, app = ThreadingMode(), Gate()
    engine = Engine(app, options.build({"max_pending_events": MOST, "async_handlers": "ordered"}), mode)
    session = engine.server.eio.add_session({}, PollingTransport())
    connection = connection_of(session)
    assert post(engine, session.sid, "40") == "200 OK"
    wait_until(lambda: connection.clients["/"].accepted and connection.backlog == [])
    assert post(engine, session.sid, "\x1e".join(map(packet, range(MOST)))) == "200 OK"
    assert session.held
    statuses: list[str] = []
    request = threading.Thread(target=lambda: statuses.append(post(engine, session.sid, packet(MOST))))
    request.start()
    wait_until(lambda: session.posting)
    request.join(0.05)
    assert not statuses
    if end == "handlers catch up":
        app.open.set()
    elif end == "session is closed":
        session.close("server disconnect")
    else:
        websocket = WokenTransport("websocket")
        assert session.begin_upgrade(websocket)
        assert session.upgrade(websocket)
    request.join(10)
    assert statuses == ["200 OK"]
    app.open.set()
    handled = MOST if end == "session is closed" else MOST + 1
    wait_until(lambda: connection.backlog == [])
    assert app.handled == list(range(handled))
    engine.shutdown(5)
    mode.close()
