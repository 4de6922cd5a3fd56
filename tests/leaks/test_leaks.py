"""What clients leave behind who come, join rooms and drop out in every way there is: nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flask_socketio_core.testing.rawclient import CLOSE, TEXT, RawClient, handshake, masked
from support.servers import MODE_KINDS, AppSpec, Server, kind_params, serving, wait_until
from support.wire.engine import Polling

OPTIONS = {"ping_interval": 1, "ping_timeout": 1, "connect_timeout": 1, "upgrade_timeout": 1}
WARM_UP = 24
"""Cycles before the count, in which pools get their first workers."""
WORKERS = 6
"""How many threads or greenlets a pool may have gained since: it adds and drops them as it likes."""

JOIN = '421["join","room {}"]'


@pytest.fixture(scope="module", params=kind_params(*MODE_KINDS))
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(
        request.param, AppSpec(app="leaks", options=OPTIONS), tmp_path_factory.mktemp("leaks")
    ) as server:
        yield server


def open_websocket(port: int, sid: str | None = None) -> RawClient:
    client = RawClient(port)
    path = "/socket.io/?EIO=4&transport=websocket" + (f"&sid={sid}" if sid else "")
    client.send(handshake(path))
    assert client.read_head().startswith("HTTP/1.1 101 ")
    return client


def say(client: RawClient, text: str) -> None:
    client.send(masked(TEXT, text.encode()))


def await_text(client: RawClient, start: str) -> None:
    while not client.read_frame()[1].startswith(start.encode()):
        pass


def joined_websocket(port: int, number: int) -> RawClient:
    client = open_websocket(port)
    say(client, "40")
    await_text(client, "40")
    say(client, JOIN.format(number))
    await_text(client, "431")
    say(client, '42["ask"]')  # whose answer never comes
    return client


def drop_websocket(port: int, number: int) -> None:
    with joined_websocket(port, number) as client:
        way = number % 5
        if way == 0:
            client.reset()
        elif way == 1:
            say(client, "1")
        elif way == 2:
            say(client, "41")
        elif way == 3:
            client.send(masked(CLOSE, b"\x03\xe8"))
        else:
            client.send(b"\x81\xff\x00")  # in the middle of a frame


def drop_polling(port: int, number: int) -> None:
    session = Polling(port)
    for packet, answer in (("40", "40"), (JOIN.format(number), "431")):
        session.post(packet)
        while not any(str(received).startswith(answer) for received in session.receive()):
            pass
    way = number % 5
    if way == 0:
        session.post("1")
    elif way == 1:
        session.post("41")
    elif way == 2:
        session.post("7")  # a violation
    elif way == 3:
        with open_websocket(port, session.sid) as client:  # an upgrade that stops half-way
            say(client, "2probe")
            await_text(client, "3probe")
    # and the last one is never heard of again


@pytest.mark.parametrize("drop", [drop_websocket, drop_polling])
@pytest.mark.timeout(60)
def test_clients_that_dropped_out_leave_nothing(server: Server, drop: Callable[[int, int], None]) -> None:
    def state() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(server.get("/state").body)
        return found

    def is_empty() -> bool:
        found = state()
        return bool(found["rooms"] == 0 and found["objects"]["Session"] == 0)

    for number in range(WARM_UP):
        drop(server.port, number)
    assert wait_until(is_empty, timeout_s=10, interval_s=0.2), state()
    before = state()
    for number in range(500):
        drop(server.port, number)

    def differences() -> list[str]:
        now = state()
        allowed = {"greenlet": WORKERS, "_Worker": WORKERS}
        found = [
            f"{name}: {count} after {before['objects'][name]}"
            for name, count in now["objects"].items()
            if count > before["objects"][name] + allowed.get(name, 0)
        ]
        for name, more in (("rooms", 0), ("threads", WORKERS), ("descriptors", 0)):
            if now[name] > before[name] + more:
                found.append(f"{name}: {now[name]} after {before[name]}")
        return found

    assert wait_until(lambda: not differences(), timeout_s=10, interval_s=0.2), differences()
