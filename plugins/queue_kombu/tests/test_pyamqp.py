"""What we rely on in py-amqp is as we rely on it: reads, time-outs, and how a message is sent."""

from __future__ import annotations

import io
import socket
import struct
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import amqp
import pytest
from amqp.transport import SSLTransport, TCPTransport

from flask_socketio_queue_kombu.pyamqp import limit_waiting_of, publish, read_ahead

FRAME = struct.pack(">BHI", 1, 1, 13) + b"x" * 13 + b"\xce"


@pytest.mark.timeout(10)
@pytest.mark.parametrize("split", range(len(FRAME)))
def test_half_a_frame_is_not_waited_for_and_not_lost(split: int) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        transport = TCPTransport("localhost")
        transport.sock, transport._quick_recv, transport._read_buffer = ours, ours.recv, b""
        read_ahead(SimpleNamespace(transport=transport))
        theirs.sendall(FRAME[:split])
        with pytest.raises(TimeoutError), transport.having_timeout(0):
            transport.read_frame()
        theirs.sendall(FRAME[split:] + FRAME)
        for _ in range(2):
            with transport.having_timeout(0):
                assert transport.read_frame() == (1, 1, b"x" * 13)


class Socket:
    """What a transport takes from its socket, which has arrived and is silent."""

    def __init__(self) -> None:
        self.recv = self.read = io.BytesIO(FRAME + FRAME).read

    def do_handshake(self) -> None: ...
    def settimeout(self, timeout_s: float) -> None: ...
    def sendall(self, data: bytes) -> None: ...


@pytest.mark.parametrize("kind", [TCPTransport, SSLTransport])
def test_a_transport_reads_through_what_we_replace(kind: type[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SSLTransport, "_wrap_socket", lambda transport, sock, **options: sock)
    transport = kind("localhost")
    transport.sock = Socket()
    transport._setup_transport()
    reader = read_ahead(SimpleNamespace(transport=transport))
    assert transport.read_frame() == (1, 1, b"x" * 13)
    assert reader.waiting
    transport.sock = None  # or it would say goodbye at its end


def test_what_we_send_is_what_basic_publish_sends() -> None:
    sent: list[tuple[Any, ...]] = []
    channel: Any = SimpleNamespace(
        connection=SimpleNamespace(
            client_properties={}, transport=SimpleNamespace(having_timeout=lambda _: nullcontext())
        ),
        send_method=lambda *arguments: sent.append(arguments),
    )
    message = amqp.Message(b"x", delivery_mode=2)
    amqp.Channel._basic_publish(channel, message, exchange="chat.v1")
    publish(channel, "chat.v1", message)
    assert len(sent) == 2
    assert sent[0] == sent[1]


def test_the_time_out_of_a_connection_is_that_of_its_socket() -> None:
    with socket.socket() as sock:
        transport = TCPTransport("localhost")
        transport.sock = sock
        limit_waiting_of(SimpleNamespace(transport=transport), 1.5)
        assert sock.gettimeout() == 1.5
        with transport.having_timeout(1.5):  # changes nothing, and so makes no system call
            assert sock.gettimeout() == 1.5
