"""What py-amqp reads from: large pieces, and never a wait that was not asked for."""

from __future__ import annotations

import socket
import struct
from types import SimpleNamespace

import pytest
from amqp.transport import TCPTransport

from flask_socketio_queue_kombu.readahead import read_ahead

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
