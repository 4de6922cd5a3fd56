"""The upgrade under load: several threads emit while a client polls, probes and moves to WebSocket."""

from __future__ import annotations

import _socket
import contextlib
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from flask_socketio_async_threading.mode import ThreadingMode
from flask_socketio_core.common import options
from flask_socketio_core.contracts.clients import Emission
from flask_socketio_core.server.server import Server
from flask_socketio_core.testing.rawclient import TEXT, masked
from flask_socketio_core.transport.detached import DetachedConnection
from flask_socketio_core.transport.polling import PollingTransport
from flask_socketio_core.transport.reactor import Reactor
from flask_socketio_core.transport.session import Session
from flask_socketio_core.transport.upgrade import UpgradeProbe
from support.engine import RecordingApplication, WokenTransport

EMITTERS = 4
EVENTS = 200
"""Of each emitter."""


class Polled:
    """A polling client without HTTP: what one thread receives by polls, and then over a WebSocket."""

    def __init__(self, server: Server, mode: ThreadingMode, reactor: Reactor) -> None:
        self.transport = PollingTransport()
        self.session: Session = server.eio.add_session({}, self.transport)
        self.received: list[str] = []
        self._server, self._mode, self._reactor = server, mode, reactor
        self.session.receive("40")
        while not any(packet.startswith("40") for packet in self.poll()):
            pass

    def poll(self) -> list[str]:
        return [str(packet) for packet in self.transport.poll(self.session, self._mode, 5)]

    def poll_and_keep(self) -> None:
        self.received += [packet for packet in self.poll() if packet.startswith("42")]

    def upgrade(self) -> socket.socket:
        """Upgrade as the JavaScript client does: probe, let the pending poll end, send ``5``."""
        ours, theirs = socket.socketpair()
        theirs.settimeout(10)
        raw = _socket.socket(fileno=ours.detach())
        raw.setblocking(False)
        connection = DetachedConnection(self._reactor, raw, 1000)
        connection.start(UpgradeProbe(self._server.eio, self.session, connection, self._mode.create_lock()))
        theirs.sendall(masked(TEXT, b"2probe"))
        assert theirs.recv(8) == b"\x81\x063probe"
        self.poll_and_keep()  # the one that is pending, which is answered at once
        theirs.sendall(masked(TEXT, b"5"))
        return theirs

    def read(self, sock: socket.socket, count: int) -> None:
        """Read frames until so many events were received in all."""
        rest = b""
        while len(self.received) < count:
            data = sock.recv(65_536)
            assert data, f"the connection ended after {len(self.received)} of {count} events"
            rest += data
            while len(rest) > 1 and len(rest) >= 2 + rest[1]:
                text, rest = rest[2 : 2 + rest[1]].decode(), rest[2 + rest[1] :]
                if text.startswith("42"):
                    self.received.append(text)


@pytest.fixture
def parts() -> Iterator[tuple[Server, ThreadingMode, Reactor]]:
    mode = ThreadingMode()
    server = Server(RecordingApplication(), options.build({"outbox_max_bytes": 10_000_000}), mode)
    reactor = Reactor(mode, server.eio.report)
    yield server, mode, reactor
    server.shutdown(5)
    reactor.close()
    mode.close()


class Contended:
    """A lock that another thread may get first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.first: Callable[[], object] | None = None

    def __enter__(self) -> bool:
        first, self.first = self.first, None
        if first is not None:
            first()
        return self._lock.__enter__()

    def __exit__(self, *error: object) -> None:
        self._lock.__exit__(None, None, None)


def test_a_poll_that_begins_at_the_same_time_as_an_upgrade_does_not_hold_it_up(
    parts: tuple[Server, ThreadingMode, Reactor],
) -> None:
    server, mode, reactor = parts
    client = Polled(server, mode, reactor)
    client.session.lock = lock = Contended()  # type: ignore[assignment]  # as much of a lock as is used here
    lock.first = lambda: client.session.begin_upgrade(WokenTransport("websocket"))
    begun_s = time.monotonic()
    assert client.poll() == ["6"]
    assert time.monotonic() - begun_s < 2, "not after the five seconds of a poll"


@pytest.mark.parametrize("seed", range(12))
def test_the_upgrade_loses_repeats_and_reorders_nothing(
    parts: tuple[Server, ThreadingMode, Reactor], seed: int
) -> None:
    server, mode, reactor = parts
    client = Polled(server, mode, reactor)
    chance = random.Random(seed)
    begin = threading.Barrier(EMITTERS + 1)
    pauses = [[chance.random() * 0.0004 for _ in range(EVENTS)] for _ in range(EMITTERS)]

    def emit_all(emitter: int) -> None:
        begin.wait(10)
        for number in range(EVENTS):
            server.emit(Emission("e", (emitter, number)))
            if number % 5 == 0:
                time.sleep(pauses[emitter][number])  # only to vary how the threads interleave

    emitters = [threading.Thread(target=emit_all, args=(emitter,)) for emitter in range(EMITTERS)]
    for thread in emitters:
        thread.start()
    begin.wait(10)
    for _ in range(chance.randrange(4)):
        client.poll_and_keep()
    with contextlib.closing(client.upgrade()) as sock:
        client.read(sock, EMITTERS * EVENTS)
        for thread in emitters:
            thread.join(10)
        for emitter in range(EMITTERS):
            mine = [text for text in client.received if text.startswith(f'42["e",{emitter},')]
            assert mine == [f'42["e",{emitter},{number}]' for number in range(EVENTS)]
        assert len(client.received) == EMITTERS * EVENTS
        server.emit(Emission("last", ()))
        client.read(sock, EMITTERS * EVENTS + 1)
        assert client.received[-1] == '42["last"]', "nothing came twice"
