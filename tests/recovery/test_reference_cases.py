"""What the reference server's own tests of connection state recovery pin down, and where we mean something else.

Source: socket.io, ``packages/socket.io/test/connection-state-recovery.ts``, seven cases.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from support.recovering import load
from support.servers import THREADING, AppSpec, Server, serving, wait_until
from support.wire.engine import Polling
from support.wire.http import request


def joined(
    server: Server, auth: Any = None, missed: int = 0
) -> tuple[Polling, dict[str, Any], list[list[Any]]]:
    """Return a connection that is in the default namespace, its CONNECT and the events that come with it.

    In front of it with the reference server, behind it with us: what comes first would not move the client's offset.

    :param missed: so many events are waited for: they may come with the next polls.
    """
    connection = Polling(server.port)
    connection.post(f"40{json.dumps(auth) if auth else ''}")
    while not (packets := list(map(str, connection.receive())))[0].startswith("40"):
        assert not any(packet.startswith(("40", "42")) for packet in packets)
    connect, *others = packets
    while len(events := [json.loads(packet[2:]) for packet in others if packet[:2] == "42"]) < missed:
        others += map(str, connection.receive())
    return connection, json.loads(connect[2:]), events


def next_event(connection: Polling) -> list[Any]:
    while True:
        for packet in map(str, connection.receive()):
            if packet.startswith("42"):
                event: list[Any] = json.loads(packet[2:])
                return event


def lost(server: Server, connection: Polling) -> None:
    """Lose a connection, and wait until that was noticed."""
    connection.post("1")
    server.wait_journal("disconnect")


def test_a_session_and_what_it_has_missed_are_restored(server: Server) -> None:
    connection, connect, _ = joined(server)
    server.post("/do/emit?to=all&number=1")
    name, number, offset = next_event(connection)
    assert (name, number) == ("number", 1)
    lost(server, connection)
    server.post("/do/emit?to=all&number=2")
    server.post(f"/do/emit?to={connect['sid']}&number=3")
    server.post("/do/emit?to=another&number=4")
    server.post("/do/emit?number=5")
    _, again, events = joined(server, {"pid": connect["pid"], "offset": offset}, missed=3)
    assert again == connect
    assert [event[:-1] for event in events] == [["number", 2], ["number", 3], ["number", 5]]
    assert all(isinstance(event[-1], str) for event in events)


def test_rooms_and_data_are_restored(server: Server) -> None:
    connection, connect, _ = joined(server)
    sid = connect["sid"]
    server.post(f"/do/enter?sid={sid}&room=room")
    connection.post('42["keep","ann"]')
    assert wait_until(lambda: json.loads(server.get(f"/of/{sid}").body)["user"] == "ann", timeout_s=5)
    before = json.loads(server.get(f"/of/{sid}").body)
    assert before == {"rooms": [sid, "all", "of ann", "room"], "data": {"name": "ann"}, "user": "ann"}
    lost(server, connection)
    _, again, _ = joined(server, {"pid": connect["pid"]})
    assert again["sid"] == sid
    assert json.loads(server.get(f"/of/{sid}").body) == before
    assert server.wait_journal("connect", "connect")[-1] == ["connect", sid, True, 0, None, "ann", "ann"]


def test_no_middleware_is_skipped(server: Server) -> None:
    """The reference server skips its middlewares here by default; our connect handler always runs."""
    connection, connect, _ = joined(server, {"token": 1})
    lost(server, connection)
    joined(server, {"pid": connect["pid"], "token": 2})
    calls = [entry for entry in server.journal() if entry[0] == "connect"]
    assert [(recovered, auth) for _, _, recovered, _, auth, *_ in calls] == [
        (False, {"token": 1}),
        (True, {"token": 2}),
    ]


def test_a_handler_can_refuse_who_is_back(server: Server) -> None:
    """As a middleware of the reference server, with ``skipMiddlewares: false``."""
    connection, connect, _ = joined(server)
    lost(server, connection)
    server.post(f"/do/refuse?sid={connect['sid']}")
    refused = Polling(server.port)
    refused.post(f"40{json.dumps({'pid': connect['pid']})}")
    assert refused.receive() == ['44{"message":"no longer welcome"}']
    _, again, _ = joined(server, {"pid": connect["pid"]})
    assert again["sid"] != connect["sid"]
    assert again["pid"] != connect["pid"]


def test_an_unknown_session_begins_anew(server: Server) -> None:
    _, connect, events = joined(server, {"pid": "unknown", "offset": "unknown"})
    assert connect["pid"] != "unknown"
    assert not events
    assert [entry[2] for entry in server.journal() if entry[0] == "connect"] == [False]


def test_it_is_off_by_default_and_costs_nothing_then(tmp_path: Path) -> None:
    """Two cases of the reference server: no pid, and its adapter is left alone; our events have no offset."""
    with serving(THREADING, AppSpec(app="recovery"), tmp_path) as server:
        connection, connect, _ = joined(server, {"pid": "of the application"})
        assert list(connect) == ["sid"]
        server.post("/do/emit?to=all&number=1")
        assert next_event(connection) == ["number", 1]
        assert load(server) is None
        assert server.journal()[0][4] == {"pid": "of the application"}
        assert request(server.port, "GET", "/ready").status == 200
