"""What one client asks too much of the server, and what the others notice of it: nothing."""

from __future__ import annotations

import dataclasses
import json
import shlex
from pathlib import Path

import pytest
import websocket

from support.servers import (
    RUN_KINDS,
    AppSpec,
    Server,
    ServerKind,
    StartServer,
    kind_params,
    serving,
    wait_until,
)
from support.wire.engine import Closed, WebSocket, target

FULL = "connections: new ones are answered 503"


def joined(server: Server) -> WebSocket:
    """Connect a client to the default namespace."""
    client = WebSocket(server.port)
    assert str(client.receive()).startswith("0{")
    client.send("40")
    assert str(client.receive()).startswith("40{")
    return client


def fill(server: Server) -> list[WebSocket]:
    """Connect clients until one is refused."""
    clients: list[WebSocket] = []
    try:
        while len(clients) < 200:
            clients.append(joined(server))
    except (websocket.WebSocketBadStatusException, Closed):
        pass
    return clients


def with_few_descriptors(kind: ServerKind, most: int) -> ServerKind:
    """Return a kind of server that cannot get more descriptors than so many."""

    def command(port: int) -> list[str]:
        return ["sh", "-c", f"ulimit -n {most}; exec {shlex.join(kind.command(port))}"]

    return dataclasses.replace(kind, command=command)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("limited", kind_params(*RUN_KINDS))
def test_a_server_refuses_clients_before_its_descriptors_run_out(limited: ServerKind, tmp_path: Path) -> None:
    with serving(with_few_descriptors(limited, 128), AppSpec(app="protocol"), tmp_path) as server:
        clients = fill(server)
        assert len(clients) == 64, "of 128, half are the reserve"
        answers = [server.get(target(transport="polling")).status for _ in range(3)]
        assert answers == [503] * 3
        for client in clients:
            client.send('421["message-with-ack"]')
            assert client.receive() == "431[]"
        assert server.log_text().count(FULL) == 1
        for client in clients:
            client.abort()
        assert wait_until(lambda: server.get(target(transport="polling")).status == 200, timeout_s=15)
        assert "Traceback" not in server.log_text()


def test_connections_beyond_the_limit_are_logged_once_although_there_was_room_meanwhile(
    start: StartServer,
) -> None:
    # No other test's server, which may have had the line of this minute.
    server = start(max_connections=1, max_namespaces=9)
    for times in (1, 2):
        client = joined(server)
        for _ in range(3):
            assert server.get(target(transport="polling")).status == 503
        client.abort()
        server.wait_journal(*["disconnect"] * times)
    assert server.log_text().count(FULL) == 1


def test_a_handler_that_blocks_the_loop_is_reported_with_its_name(start: StartServer) -> None:
    server = start(max_loop_block=0.2)
    client = joined(server)
    client.send('421["block",0.6]')
    assert client.receive() == "431[]"
    client.abort()
    if server.kind.mode == "threading":  # there is no loop that a handler could block
        return
    report = "by the handler of event 'block' on namespace '/', which stops every client"
    assert wait_until(lambda: report in server.log_text(), timeout_s=15), server.log_text()
    assert "the event loop was blocked for 0." in server.log_text()


def test_handlers_that_emit_at_the_same_time_keep_their_order_and_their_packets_whole(server: Server) -> None:
    client = joined(server)
    marks, count = range(5), 60
    for mark in marks:
        client.send(f'42["mixed burst",{mark},{count}]')
    seen: dict[int, list[int]] = {mark: [] for mark in marks}
    for _ in range(len(marks) * count):
        text = str(client.receive())
        assert text.startswith("452-"), text
        _, mark, number, *_ = json.loads(text[4:])
        assert (client.receive(), client.receive()) == (bytes([mark, number]), b"end")
        seen[mark].append(number)
    assert seen == {mark: list(range(count)) for mark in marks}
    client.abort()


def test_volatile_events_are_dropped_for_a_client_that_does_not_read(server: Server) -> None:
    client = joined(server)
    client.send('421["volatile burst",400,100000]')  # 40 MB, of which sockets hold a part
    numbers = []
    while (text := str(client.receive()))[:2] != "43":
        numbers.append(json.loads(text[2:])[1])
    assert 0 < len(numbers) < 400
    assert numbers == sorted(numbers)
    client.send('422["message-with-ack"]')
    assert client.receive() == "432[]"
    client.abort()
