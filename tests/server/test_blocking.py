"""The blocking shell over a transport that the test controls."""

from __future__ import annotations

import logging
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from flask_socketio_async_threading.mode import ThreadingMode
from flask_socketio_core.common import options
from flask_socketio_core.contracts import BlockingTransport
from flask_socketio_core.contracts.framed import FramedSocketTransport
from flask_socketio_core.errors import PayloadTooLarge, ProtocolError
from flask_socketio_core.server.server import Server
from flask_socketio_core.transport import blocking
from flask_socketio_core.transport.blocking import BlockingConnection
from flask_socketio_core.transport.packets import Outgoing
from support.engine import RecordingApplication


class Stalled(BlockingTransport):
    """A peer that sends what the test says, and does not read: sending waits until the connection is closed."""

    def __init__(self) -> None:
        self.arrived: queue.Queue[str | bytes | Exception | None] = queue.Queue()
        self.sending = threading.Event()
        self.closed = threading.Event()

    def receive(self) -> str | bytes | None:
        message = self.arrived.get(timeout=10)
        if isinstance(message, Exception):
            raise message
        return message

    def send(self, message: str | bytes) -> None:
        self.sending.set()
        assert self.closed.wait(10)
        raise BrokenPipeError

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.closed.set()
        self.arrived.put(None)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.002)


@pytest.fixture
def mode() -> Iterator[ThreadingMode]:
    mode = ThreadingMode()
    yield mode
    mode.close()


def test_a_peer_that_does_not_read_cannot_keep_a_closed_connection(
    mode: ThreadingMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocking, "CLOSE_TIMEOUT_S", 0.05)
    server = Server(RecordingApplication(), options.build({}), mode)
    peer = Stalled()
    connection = BlockingConnection(peer, mode, server.eio.report)
    session = server.eio.add_session({}, connection)
    reader = threading.Thread(target=connection.run, args=(session,))
    reader.start()
    session.send(server.eio.open_packet(session, upgrades=False))
    assert peer.sending.wait(10)
    session.close("ping timeout")
    reader.join(5)
    assert not reader.is_alive()


@pytest.mark.parametrize(
    ("error", "level"), [(ProtocolError("nonsense"), "INFO"), (PayloadTooLarge(2000, 1000), "WARNING")]
)
def test_a_violation_is_logged_with_its_cause_and_without_a_traceback(
    mode: ThreadingMode, caplog: pytest.LogCaptureFixture, error: ProtocolError, level: str
) -> None:
    caplog.set_level(logging.INFO)
    server = Server(RecordingApplication(), options.build({}), mode)
    peer = Stalled()
    peer.arrived.put(error)
    connection = BlockingConnection(peer, mode, server.eio.report)
    session = server.eio.add_session({}, connection)
    connection.run(session)
    wait_until(lambda: bool(caplog.records))
    (record,) = caplog.records
    assert (record.levelname, record.exc_info) == (level, None)
    assert f"session {session.sid}: {error}" in record.getMessage()


@pytest.mark.parametrize("end", ["violation", "overflow"])
def test_the_close_code_comes_behind_what_waits(mode: ThreadingMode, end: str) -> None:
    ours, theirs = socket.socketpair()
    theirs.settimeout(10)
    server = Server(RecordingApplication(), options.build({"outbox_max_packets": 4}), mode)
    peer = FramedSocketTransport(
        recv=ours.recv,
        sendall=ours.sendall,
        shutdown=lambda: ours.shutdown(socket.SHUT_RDWR),
        max_message_bytes=1000,
    )
    connection = BlockingConnection(peer, mode, server.eio.report)
    session = server.eio.add_session({}, connection)
    reader = threading.Thread(target=connection.run, args=(session,))
    with ours, theirs:
        reader.start()
        packet = Outgoing(("4" + "x" * 1_000_000,), is_event=True)
        session.send(packet)
        wait_until(lambda: not session.has_waiting)  # it is on its way, for nobody reads
        session.send(packet)
        if end == "violation":
            theirs.sendall(b"\x81\xff" + (2000).to_bytes(8, "big") + b"mask")
        else:
            while session.send(packet):
                pass
        wait_until(lambda: session.closed)
        data = b""
        while chunk := theirs.recv(1_000_000):
            data += chunk
    code = 1009 if end == "violation" else 1008
    assert data.endswith(b"xx\x88\x02" + code.to_bytes(2, "big"))
    reader.join(10)


def test_an_unexpected_error_ends_the_session(mode: ThreadingMode, caplog: pytest.LogCaptureFixture) -> None:
    server = Server(RecordingApplication(), options.build({}), mode)
    peer = Stalled()
    peer.arrived.put(RuntimeError("a stranger's provider"))
    connection = BlockingConnection(peer, mode, server.eio.report)
    session = server.eio.add_session({}, connection)
    connection.run(session)
    assert session.close_reason == "transport error"
    wait_until(lambda: "a stranger's provider" in caplog.text)
