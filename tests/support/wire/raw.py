"""A client made of the bytes of the conformance suites, which reads and writes frames and nothing more."""

from __future__ import annotations

from flask_socketio_core.testing.rawclient import TEXT, RawClient, handshake, masked


def join(port: int) -> RawClient:
    """Open a WebSocket and connect to the namespace ``/``."""
    client = RawClient(port)
    client.send(handshake("/socket.io/?EIO=4&transport=websocket"))
    assert client.read_head().startswith("HTTP/1.1 101 ")
    client.send(masked(TEXT, b"40"))
    while not client.read_frame()[1].startswith(b"40"):
        pass
    return client
