"""What was published against servers of this field, tried on ours: each time another client goes on being served.

The table of docs/security.md names these tests.
"""

from __future__ import annotations

import pickle
import re
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_socketio_core.cluster.envelope import Malformed, Wire
from support.servers import HOST, Server, StartServer
from support.wire.engine import Polling, WebSocket, target
from support.wire.http import request

from .conftest import assert_websocket_refused

ROOT = Path(__file__).resolve().parents[2]
UPGRADE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


@pytest.fixture(autouse=True)
def bystander(server: Server) -> Iterator[None]:
    """Have a client that is served before and after, while nothing of ours raises; what web servers log is theirs."""
    client = joined(server)
    logged = len(server.log_text())
    yield
    client.send('421["message-with-ack","still here"]')
    assert client.receive() == '431["still here"]'
    assert "flask_socketio_core/" not in server.log_text()[logged:]


def joined(server: Server) -> WebSocket:
    client = WebSocket(server.port)
    client.receive()
    client.send("40")
    assert str(client.receive()).startswith("40")
    return client


def raw(server: Server, head: str, body: bytes = b"") -> bytes:
    """Send a request as it stands and return the first line of the answer, if there is one."""
    with socket.create_connection((HOST, server.port), 5) as sock:
        try:
            sock.sendall(head.encode() + b"\r\n" + body)
            return sock.makefile("rb").readline()
        except ConnectionError:  # it was refused before it was read
            return b""


class Planted:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("import tests_planted",)  # raises where it is run


def test_cve_2025_61765_nothing_of_a_queue_is_unpickled(server: Server) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(Malformed):
            Wire().decode(pickle.dumps(Planted(), protocol))


def test_cve_2026_48802_clients_take_no_thread_each(server: Server) -> None:
    before = server.usage().threads
    sessions = [Polling(server.port) for _ in range(60)]
    sockets = [joined(server) for _ in range(60)]
    for session in sessions:
        session.post("40")
    assert server.usage().threads - before < 40
    for client in sockets:
        client.close()


@pytest.mark.parametrize("connected", [False, True])
def test_cve_2026_48804_attachments_are_not_kept_for_a_client_that_left(
    server: Server, connected: bool
) -> None:
    for _ in range(3):
        client = WebSocket(server.port)
        client.receive()
        if connected:
            client.send("40")
            client.receive()
        client.send('451-["message",{"_placeholder":true,"num":0}]')  # and no attachment
        client.abort()
    late = joined(server)
    late.send('4511-["message",' + "0," * 10 + "0]")  # more than it may announce
    assert late.wait_closed() is not None


def test_cve_2026_33151_attachments_are_counted_before_they_are_awaited(server: Server) -> None:
    client = joined(server)
    client.send('45999999-["message",{"_placeholder":true,"num":0}]')
    assert client.wait_closed() is not None


def test_cve_2026_69185_a_binary_packet_without_attachments_keeps_nothing(server: Server) -> None:
    client = joined(server)
    for _ in range(200):
        client.send('450-["fence"]')
    client.send('421["message-with-ack"]')
    assert client.receive() == "431[]"


def test_cve_2019_13611_a_strange_origin_opens_no_websocket(server: Server) -> None:
    assert_websocket_refused(server, headers={"Origin": "https://evil.example"})


def test_cve_2022_21676_requests_that_fit_no_state_are_answered(server: Server) -> None:
    sid = Polling(server.port).sid
    path = target(transport="polling", sid=sid)
    for method in ("DELETE", "PUT", "PATCH", "HEAD"):
        assert request(server.port, method, path).status in (400, 405)
    for head in (
        f"POST {target(transport='websocket', sid=sid)} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n{UPGRADE}",
        f"GET {target(transport='polling')} HTTP/1.1\r\nHost: x\r\n{UPGRADE}",
        f"GET {target(transport='websocket', sid='none')} HTTP/1.1\r\nHost: x\r\n{UPGRADE}",
    ):
        assert not raw(server, head).startswith(b"HTTP/1.1 5")


@pytest.mark.parametrize("transport", ["constructor", "__proto__", "toString", "websocket,polling", ""])
def test_cve_2023_31125_a_transport_that_does_not_exist_is_refused(server: Server, transport: str) -> None:
    assert server.get(target(transport=transport)).status == 400
    assert server.get(f"/socket.io/?EIO=4&transport=polling&transport={transport}x").status == 400


def test_cve_2022_41940_a_connection_that_is_reset_ends_alone(server: Server) -> None:
    for head in (
        f"GET {target(transport='websocket')} HTTP/1.1\r\nHost: x\r\n{UPGRADE}\r\n",
        f"GET {target(transport='websocket')} HTTP/1.1\r\nHost: x\r\nUpgrade: webso",
        f"GET {target(transport='polling')} HTTP/1.1\r\nHost: x\r\n\r\n",
    ):
        for _ in range(5):
            sock = socket.create_connection((HOST, server.port), 5)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.sendall(head.encode())
            sock.close()  # RST


@pytest.mark.parametrize("number", ['"splice"', '{"toString":"x"}', "[0]", "-1", "1", "0.5", "true", "null"])
def test_cve_2022_2421_a_placeholder_is_a_number_of_an_attachment(server: Server, number: str) -> None:
    client = joined(server)
    client.send(f'451-["message",{{"_placeholder":true,"num":{number}}}]')
    client.send(b"x")
    assert client.wait_closed() is not None


@pytest.mark.parametrize("name", ['{"toString":"foo"}', "null", "[]", "true", '"connect"', '"disconnect"'])
def test_cve_2023_32695_an_event_has_a_name(server: Server, name: str) -> None:
    client = joined(server)
    client.send(f"42[{name}]")
    assert client.wait_closed() is not None


def test_cve_2024_37890_any_number_of_headers_is_answered(server: Server) -> None:
    many = "".join(f"X-{number}: {number}\r\n" for number in range(3000))
    head = f"GET {target(transport='websocket')} HTTP/1.1\r\nHost: {HOST}:{server.port}\r\n{UPGRADE}{many}"
    assert raw(server, head)[:12] in (b"HTTP/1.1 101", b"HTTP/1.1 400", b"HTTP/1.1 431", b"")


def test_cve_2026_59725_a_binary_post_is_no_error_of_the_server(server: Server) -> None:
    for body in (b"\xff\xfe\x00", b"\x1e" * 100, b"b!!!!", b"4\xed\xa0\x80"):
        session = Polling(server.port)
        headers = {"Content-Type": "application/octet-stream"}
        assert request(server.port, "POST", session.target, body=body, headers=headers).status == 400
        assert session.get().status == 400


def test_the_page_names_these_tests(start: StartServer) -> None:
    page = (ROOT / "docs" / "security.md").read_text()
    tests = {name for name in globals() if name.startswith("test_cve_")}
    assert set(re.findall(r"`(test_cve_\w+)`", page)) == tests
