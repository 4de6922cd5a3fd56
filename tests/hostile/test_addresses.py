"""Clients of one address that open many connections, or one after the other: others are let in all the same.

The application has ``ProxyFix``, so that each test has addresses of its own.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from flask_socketio_core.testing.rawclient import CLOSE, RawClient, masked
from support.servers import MODE_KINDS, UWSGI_GEVENT, AppSpec, Server, kind_params, serving, wait_until
from support.wire.engine import Polling, target
from support.wire.http import Response

CONNECTIONS = 3
HANDSHAKES = 40
_numbers = itertools.count(1)


@pytest.fixture(scope="module", params=kind_params(*MODE_KINDS, UWSGI_GEVENT))
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    options: dict[str, Any] = {
        "max_connections_per_address": CONNECTIONS,
        "max_handshakes_per_address": HANDSHAKES,
    }
    with serving(
        request.param, AppSpec(app="honest", options=options), tmp_path_factory.mktemp("addresses")
    ) as server:
        yield server


@pytest.fixture
def address() -> str:
    return f"192.0.2.{next(_numbers)}"


def poll(server: Server, address: str) -> Response:
    return server.get(target(transport="polling"), headers={"X-Forwarded-For": address})


def open_websocket(server: Server, address: str, sid: str = "") -> tuple[RawClient, str]:
    client = RawClient(server.port)
    head = [
        f"GET {target(transport='websocket', sid=sid)} HTTP/1.1",
        "Host: 127.0.0.1",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Version: 13",
        f"X-Forwarded-For: {address}",
    ]
    client.send(("\r\n".join(head) + "\r\n\r\n").encode())
    return client, client.read_head()


def is_admitted(server: Server, address: str) -> bool:
    """Say whether one more connection is let in; it leaves again."""
    answer = poll(server, address)
    if answer.status == 200:
        sid = json.loads(answer.text[1:])["sid"]
        assert server.post(target(transport="polling", sid=sid), b"1").status == 200
    return answer.status == 200


def test_one_address_has_so_many_connections_on_both_transports(server: Server, address: str) -> None:
    with ExitStack() as stack:
        first, head = open_websocket(server, address)
        stack.enter_context(first)
        assert " 101 " in head
        second, head = open_websocket(server, address)
        stack.enter_context(second)
        assert " 101 " in head
        third = Polling(server.port, headers={"X-Forwarded-For": address})
        for _ in range(5):
            refused, head = open_websocket(server, address)
            stack.enter_context(refused)
            assert head.startswith("HTTP/1.1 429 ")
            answer = poll(server, address)
            assert answer.status == 429
            assert int(answer.headers.get("retry-after", "0")) > 0
            body = json.loads(answer.text)
            assert body["code"] == 3
            assert "max_connections_per_address" in body["message"]
        assert is_admitted(server, "198.51.100.1")
        upgraded, head = open_websocket(server, address, third.sid)
        stack.enter_context(upgraded)
        assert " 101 " in head, "an upgrade is no further connection"
        first.send(masked(CLOSE, b""))
        assert wait_until(lambda: is_admitted(server, address), timeout_s=10)


def test_no_place_is_lost_or_won(server: Server, address: str) -> None:
    for _ in range(5):
        client, head = open_websocket(server, address)
        assert " 101 " in head
        client.sock.close()
        assert is_admitted(server, address)
    clients: list[RawClient] = []

    def all_are_in() -> bool:
        client, head = open_websocket(server, address)
        if " 101 " in head:
            clients.append(client)
        return len(clients) == CONNECTIONS

    try:
        assert wait_until(all_are_in, timeout_s=10, interval_s=0.3)
        assert not is_admitted(server, address)
    finally:
        for client in clients:
            client.sock.close()


def test_addresses_of_one_ipv6_network_are_one(server: Server) -> None:
    clients = [open_websocket(server, f"2001:db8:0:{server.port:x}::{number}") for number in range(4)]
    assert [head.split()[1] for _, head in clients] == ["101", "101", "101", "429"]
    assert is_admitted(server, f"2001:db8:1:{server.port:x}::1")
    for client, _ in clients:
        client.sock.close()


def test_one_address_has_so_many_handshakes(server: Server, address: str) -> None:
    admitted = 0
    while is_admitted(server, address):
        admitted += 1
        assert admitted < 2 * HANDSHAKES
    assert admitted >= HANDSHAKES
    answer = poll(server, address)
    if answer.status == 429:  # or one has just come back
        assert 1 <= int(answer.headers.get("retry-after", "0")) <= 2
        assert "max_handshakes_per_address" in json.loads(answer.text)["message"]
    assert is_admitted(server, "198.51.100.2")
