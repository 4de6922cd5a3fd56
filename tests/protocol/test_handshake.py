"""Opening a session.

Source: engine.io-protocol v4, "Handshake", "HTTP long-polling" and "WebSocket".
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import websocket

from protocol.conftest import assert_websocket_refused
from support.servers import AppSpec, Server, ServerKind, serving
from support.wire.engine import Polling, WebSocket, parse_open, target
from support.wire.http import request

if TYPE_CHECKING:
    from support.servers import StartServer

FIELDS = {"sid", "upgrades", "pingInterval", "pingTimeout", "maxPayload"}


def test_open_packet_over_polling_has_exactly_the_documented_fields(server: Server) -> None:
    fields = Polling(server.port).handshake.fields
    assert set(fields) == FIELDS
    assert fields["upgrades"] == ["websocket"]
    assert (fields["pingInterval"], fields["pingTimeout"], fields["maxPayload"]) == (
        25_000,
        20_000,
        1_000_000,
    )


def test_open_packet_over_websocket_offers_no_upgrade(server: Server) -> None:
    client = WebSocket(server.port)
    fields = parse_open(client.receive()).fields
    client.abort()
    assert set(fields) == FIELDS
    assert fields["upgrades"] == []


def test_open_packet_is_the_whole_first_response(server: Server) -> None:
    opened = Polling(server.port).opened
    assert opened.headers["content-type"].lower() == "text/plain; charset=utf-8"
    assert "\x1e" not in opened.text


def test_intervals_below_one_second_are_announced_in_milliseconds(hasty: Server) -> None:
    fields = Polling(hasty.port).handshake.fields
    assert (fields["pingInterval"], fields["pingTimeout"]) == (300, 200)


@pytest.mark.one_kind
def test_grace_period_is_part_of_the_announced_interval(start: StartServer) -> None:
    fields = Polling(start(ping_interval=[20, 2.5]).port).handshake.fields
    assert fields["pingInterval"] == 22_500


def test_session_ids_are_long_and_never_repeat(server: Server) -> None:
    sids = {Polling(server.port).sid for _ in range(20)}
    assert len(sids) == 20
    assert min(map(len, sids)) >= 16


@pytest.mark.parametrize("query", [{"EIO": ""}, {"EIO": "abc"}, {"EIO": "5"}, {"EIO": "2"}])
def test_another_protocol_version_is_refused(server: Server, query: dict[str, str]) -> None:
    assert server.get(target(transport="polling", **query)).status == 400
    assert_websocket_refused(server, query=query)


def test_client_of_protocol_3_is_told_what_it_needs(server: Server) -> None:
    answer = server.get(target(transport="polling", EIO="3"))
    assert answer.status == 400
    assert "this client speaks Engine.IO protocol 3" in answer.text
    assert "the server speaks 4" in answer.text
    assert "socket.io-client 3.x or 4.x" in answer.text


@pytest.mark.parametrize("transport", ["", "abc", "webtransport"])
def test_missing_or_unknown_transport_is_refused(server: Server, transport: str) -> None:
    assert server.get(target(transport=transport)).status == 400
    assert_websocket_refused(server, query={"transport": transport})


def test_websocket_transport_without_upgrade_headers_is_refused(server: Server) -> None:
    assert server.get(target(transport="websocket")).status == 400


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_only_get_opens_a_session(server: Server, method: str) -> None:
    assert request(server.port, method, target(transport="polling")).status == 400


@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
def test_unknown_session_is_refused(server: Server, method: str) -> None:
    answer = request(server.port, method, target(transport="polling", sid="unknown"), body="")
    assert answer.status == 400


def test_websocket_of_an_unknown_session_is_refused(server: Server) -> None:
    assert_websocket_refused(server, sid="unknown")


def test_put_to_a_session_is_refused(server: Server) -> None:
    session = Polling(server.port)
    assert request(server.port, "PUT", session.target, body="40").status == 400


@pytest.mark.one_kind
def test_upgrades_can_be_switched_off(start: StartServer) -> None:
    assert Polling(start(allow_upgrades=False).port).handshake.fields["upgrades"] == []


@pytest.mark.one_kind
def test_polling_alone_offers_and_accepts_no_websocket(start: StartServer) -> None:
    server = start(transports=["polling"])
    assert Polling(server.port).handshake.fields["upgrades"] == []
    assert_websocket_refused(server)


@pytest.mark.one_kind
def test_websocket_alone_accepts_no_polling(start: StartServer) -> None:
    server = start(transports=["websocket"])
    assert server.get(target(transport="polling")).status == 400
    client = WebSocket(server.port)
    assert parse_open(client.receive()).sid
    client.abort()


def test_another_path_belongs_to_flask(server: Server) -> None:
    assert server.get("/somewhere/").status == 404
    assert server.get("/socket.iox/?EIO=4&transport=polling").status == 404


def test_an_application_may_be_the_endpoint_as_a_whole(kind: ServerKind, tmp_path: Path) -> None:
    mounts = {"/whole": {"options": {"path": "/"}}}
    with serving(kind, AppSpec(app="origins", settings={"mounts": mounts}), tmp_path) as server:
        for path in ("/whole/", "/whole/any/where/"):
            assert parse_open(server.get(target(path, transport="polling")).text).sid
            client = WebSocket(server.port, path=path)
            assert parse_open(client.receive()).sid
            client.abort()
            assert_websocket_refused(server, path=path, query={"EIO": "3"})


@pytest.mark.one_kind
def test_cookie_option_carries_the_session_id(start: StartServer) -> None:
    session = Polling(start(cookie="io").port)
    name, _, rest = session.opened.headers["set-cookie"].partition("=")
    assert name == "io"
    assert rest.split(";")[0] == session.sid


@pytest.mark.one_kind
def test_connection_beyond_the_limit_is_told_to_come_back(start: StartServer) -> None:
    server = start(max_connections=1)
    session = Polling(server.port)
    answer = server.get(target(transport="polling"))
    session.post("1")
    assert answer.status == 503


def test_upgrades_beyond_the_limit_are_refused(start: StartServer) -> None:
    # One session may ask for many, each of which holds a descriptor until it is answered or times out.
    server = start(max_connections=2)
    session = Polling(server.port)
    tried = [WebSocket(server.port, sid=session.sid) for _ in range(2)]
    try:
        for client in tried:
            client.ping()
        with pytest.raises(websocket.WebSocketBadStatusException) as refused:
            WebSocket(server.port, sid=session.sid)
        assert refused.value.status_code == 503
    finally:
        for client in tried:
            client.abort()
        session.post("1")
