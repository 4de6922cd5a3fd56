"""``logger=True`` and ``engineio_logger=True`` tell what happens, in every mode and on both transports."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from support.clients import python_client
from support.servers import MODE_KINDS, THREADING, AppSpec, Server, kind_params, serving, wait_until
from support.wire.engine import Polling, WebSocket, target

LOGGED = {"logger": True, "engineio_logger": True}
SECRET = "s3cret-token"


@pytest.fixture(scope="module", params=kind_params(*MODE_KINDS))
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Give a server whose application has configured no logging."""
    with serving(
        request.param, AppSpec(app="logged", options=LOGGED), tmp_path_factory.mktemp("log")
    ) as server:
        yield server


def assert_told(server: Server, *expected: str) -> list[str]:
    """Assert that the log has lines that match patterns, in this order, and return all its lines."""
    missing: list[str] = []

    def told() -> bool:
        nonlocal missing
        missing = list(expected)
        for line in server.log_text().splitlines():
            if missing and re.search(missing[0], line):
                del missing[0]
        return not missing

    assert wait_until(told, timeout_s=10), f"no line {missing[0]} in:\n{server.log_text()}"
    return server.log_text().splitlines()


def chat(server: Server, transports: list[str]) -> tuple[str, str]:
    """Join, say, part and leave; return the Socket.IO and the Engine.IO sid."""
    client: Any = python_client()
    said: list[str] = []

    @client.on("said")  # type: ignore[untyped-decorator]  # python-socketio has no types
    def on_said(text: str) -> str:
        said.append(text)
        return "heard"

    client.connect(server.url, transports=transports, auth={"token": SECRET}, retry=False)
    try:
        sid, engine_sid = client.get_sid(), client.eio.sid
        assert client.call("join", "kitchen", timeout=5) == "kitchen"
        client.emit("say", ("kitchen", "hello"))
        assert wait_until(lambda: said == ["hello"], timeout_s=5)
        client.call("part", "kitchen", timeout=5)
    finally:
        client.disconnect()
    return sid, engine_sid


@pytest.mark.parametrize("transports", [["websocket"], ["polling"], ["polling", "websocket"]], ids="-".join)
def test_a_chat_is_told_line_by_line(server: Server, transports: list[str]) -> None:
    sid, engine_sid = chat(server, transports)
    assert_told(
        server,
        rf"client {sid} of session {engine_sid} connects \[/\]",
        rf"client {sid} is connected \[/\]",
        rf"received event 'join' from {sid} \[/\]",
        rf"{sid} is entering room kitchen \[/\]",
        rf"received event 'say' from {sid} \[/\]",
        r"emitting event 'said' to kitchen \[/\]",
        rf"received event 'part' from {sid} \[/\]",
        rf"{sid} is leaving room kitchen \[/\]",
        r"room kitchen is closing \[/\]",
        r"emitting event 'parted' to all \[/\]",
        rf"client {sid} is disconnected: (client disconnect|transport close) \[/\]",
    )
    assert_told(server, rf"received ack 1 from {sid} \[/\]")


def test_the_packets_and_transports_of_a_chat_are_told(server: Server) -> None:
    sid, engine_sid = chat(server, ["polling", "websocket"])
    assert_told(
        server,
        rf"{engine_sid}: opened over polling from 127\.0\.0\.1",
        rf'{engine_sid}: sending packet OPEN {{"sid":"{engine_sid}"',
        rf"{engine_sid}: received packet MESSAGE 0 <auth of \d+ characters>",
        rf'{engine_sid}: sending packet MESSAGE 0{{"sid":"{sid}"}}',
        rf"{engine_sid}: closed over ",
    )
    assert_told(
        server,
        rf"{engine_sid}: request to upgrade to websocket",
        rf"{engine_sid}: upgraded to websocket",
        rf'{engine_sid}: received packet MESSAGE 2\d+\["join","kitchen"\]',
        rf'{engine_sid}: sending packet MESSAGE 3\d+\["kitchen"\]',
        rf'{engine_sid}: sending packet MESSAGE 2\d+\["said","hello"\]',
        rf"{engine_sid}: closed over websocket: (client disconnect|transport close)",
    )


def test_no_line_is_told_twice_and_no_secret_at_all(server: Server) -> None:
    sid, _ = chat(server, ["websocket"])
    lines = assert_told(server, rf"client {sid} is disconnected")
    assert len([line for line in lines if f"client {sid} is connected" in line]) == 1
    assert SECRET not in server.log_text()


def test_ends_and_refusals_are_told_with_their_reason(server: Server) -> None:
    kicked = WebSocket(server.port)
    kicked.receive()
    kicked.send('40{"enter":false}')
    assert str(kicked.receive()).startswith("44")
    kicked.send("40{}")
    sid = str(kicked.receive())[len('40{"sid":"') : -2]
    assert_told(server, r"client \S+ is refused \[/\]", rf"client {sid} is connected")
    kicked.send('42["kick me"]')
    assert kicked.receive() == "41"
    assert_told(server, rf"disconnecting {sid}", rf"client {sid} is disconnected: server disconnect")
    kicked.send('42["say"]')
    kicked.send("40/nowhere,")
    assert str(kicked.receive()).startswith("44/nowhere")
    assert_told(
        server, r"received an event from session \S+, which is not", r"refused: invalid namespace \[/nowhere"
    )
    kicked.abort()
    assert server.get(target(transport="polling", EIO="4", sid="nobody")).status == 400
    assert_told(server, r"refused GET from 127\.0\.0\.1: 400 Session ID unknown")


def test_what_clients_send_cannot_forge_a_line(server: Server) -> None:
    event = r'42["a\r\nERROR forged \u001b[31m' + "x" * 5000 + '"]'
    client = WebSocket(server.port)
    client.receive()
    client.send('40{"a":"b\\nERROR forged"}')
    client.receive()
    client.send(event)
    client.send('42["fence"]')
    polling = Polling(server.port)
    polling.post("40")
    polling.post(event)
    server.get(target(transport="polling", EIO="4\r\nERROR forged"))
    lines = assert_told(
        server, r"received event 'a\\r\\nERROR forged \\x1b\[31mx", r"refused GET .*4\\r\\nERROR forged"
    )
    assert not [line for line in lines if line.startswith("ERROR forged") or len(line) > 1000]
    assert "\x1b[31mx" not in server.log_text()


def test_with_logging_configured_each_line_comes_once_from_there(tmp_path: Any) -> None:
    spec = AppSpec(app="logged", options=LOGGED, settings={"configured": True})
    with serving(THREADING, spec, tmp_path) as server:
        sid, engine_sid = chat(server, ["websocket"])
        lines = assert_told(server, rf"client {sid} is disconnected")
    assert [line for line in lines if f"client {sid} is connected" in line] == [
        f"configured:flask_socketio_core.server:INFO:client {sid} is connected [/]"
    ]
    opened = (
        f"configured:flask_socketio_core.engineio:INFO:{engine_sid}: opened over websocket from 127.0.0.1"
    )
    assert lines.count(opened) == 1
    assert "shutting down with" in server.log_text(), "the last lines are written before the end"


def test_off_nothing_is_told_although_logging_is_configured(tmp_path: Any) -> None:
    with serving(THREADING, AppSpec(app="logged", settings={"configured": True}), tmp_path) as server:
        chat(server, ["polling", "websocket"])
    assert "flask_socketio_core" not in server.log_text()
