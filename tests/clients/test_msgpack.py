"""The msgpack serializer, which Flask-SocketIO has as well, with a client that speaks it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import socketio

from support.clients import python_client
from support.servers import THREADING, AppSpec, Server, serving, wait_until
from support.wire.engine import Closed, Polling, WebSocket

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TIMEOUT_S = 5.0
pytest.importorskip("msgpack")


@pytest.fixture(scope="module")
def packing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Start a server that speaks msgpack."""
    spec = AppSpec(app="clients", options={"serializer": "msgpack", "ping_interval": 2, "ping_timeout": 3})
    with serving(THREADING, spec, tmp_path_factory.mktemp("msgpack")) as server:
        yield server


@pytest.mark.parametrize("transports", [["websocket"], ["polling"]], ids="-".join)
def test_events_acks_and_refusals_in_msgpack(packing: Server, transports: list[str]) -> None:
    client: Any = python_client(serializer="msgpack")
    refusals: list[Any] = []
    client.on("connect_error", refusals.append)
    client.on("question", lambda *args: ("answer", *args))
    with pytest.raises(socketio.exceptions.ConnectionError):
        client.connect(packing.url, transports=transports, auth={"enter": "explain"}, retry=False)
    assert refusals == [{"message": "no entry", "data": {"code": 401}}]
    client.connect(packing.url, transports=transports, wait_timeout=TIMEOUT_S, retry=False)
    try:
        sent = ("naïve ☃", b"\x00\xff", {"deep": [b"0", 1.5, None]})
        assert client.call("echo", sent, timeout=TIMEOUT_S) == sent
        assert client.call("call me", ("how", b"x"), timeout=TIMEOUT_S) == ("answer", "how", b"x")
    finally:
        client.shutdown()


@pytest.mark.parametrize("serializer", ["default", "msgpack"])
def test_clients_with_the_other_serializer_are_named_in_the_log_once(tmp_path: Path, serializer: str) -> None:
    from socketio.msgpack_packet import MsgPackPacket

    connect: Any = MsgPackPacket(0, namespace="/").encode() if serializer == "default" else "0"
    with serving(THREADING, AppSpec(app="clients", options={"serializer": serializer}), tmp_path) as server:
        for _ in range(2):
            refusal = Polling(server.port).post(connect if isinstance(connect, bytes) else "4" + connect)
            assert refusal.status == 400
            assert "probably the client uses" in refusal.text
            client = WebSocket(server.port)
            client.receive()
            client.send(connect if isinstance(connect, bytes) else "4" + connect)
            with pytest.raises(Closed):
                client.receive()
        assert wait_until(lambda: "probably the client uses" in server.log_text(), timeout_s=5)
    assert server.log_text().count("probably the client uses") == 1
