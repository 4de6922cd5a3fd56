"""What a scrape of a real server says after a visit of real clients, in every mode."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import socketio

from support.scrapes import scrape, wait_for
from support.servers import MODE_KINDS, AppSpec, Server, kind_params, serving
from support.wire.engine import Polling, WebSocket

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module", params=kind_params(*MODE_KINDS))
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = {"SOCKETIO_PROMETHEUS_SOCKET_IO_NAMES": True}
    spec = AppSpec(
        app="measured",
        options={"message_queue": "memory://metrics", "recovery": 60},
        settings=settings,
    )
    with serving(request.param, spec, tmp_path_factory.mktemp("measured")) as server:
        yield server


def test_a_visit_is_in_the_scrape(server: Server) -> None:
    polling = Polling(server.port)
    client: Any = socketio.Client(reconnection=False, handle_sigint=False)
    client.on("said", lambda text: "heard")
    client.connect(server.url, namespaces=["/", "/second"], retry=False)
    try:
        open_now = {
            ("socketio_connections", "polling"): 1.0,
            ("socketio_connections", "websocket"): 1.0,
            ("socketio_clients", "/"): 1.0,
            ("socketio_clients", "/second"): 1.0,
            ("socket_io_connected", ""): 2.0,
        }
        found = wait_for(server, open_now)
        assert found.get("socketio_max_workers") == 1000
        assert found.get("socketio_bus_up") == 1
        assert found.get("socketio_upgrades_total") == 1

        client.call("say", "hello", timeout=10)
        assert client.call("reject", timeout=10) == "no"
        assert client.call("made up", timeout=10) == "made up"
        client.emit("fail")
        client.emit("wait", 0.3)
        found = wait_for(server, {("socketio_busy_workers", ""): 1.0, ("socketio_rooms", "/"): 1.0})
        assert found.get("socketio_waiting_handlers") == 0
        found = wait_for(
            server, {("socketio_ack_latency_seconds_count", ""): 1.0, ("socketio_events_total", "wait"): 1.0}
        )
    finally:
        client.disconnect()

    outcomes = {
        (event, outcome): found.get("socketio_events_total", event=event, outcome=outcome)
        for event in ("say", "reject", "fail", "other")
        for outcome in ("ok", "rejected", "error")
    }
    assert {key for key, count in outcomes.items() if count} == {
        ("say", "ok"),
        ("reject", "rejected"),
        ("fail", "error"),
        ("other", "ok"),
    }
    assert "made up" not in found.labels("socketio_events_total", "event")
    assert 0.29 < found.get("socketio_event_duration_seconds_sum", event="wait") < 10
    assert found.get("socketio_event_wait_seconds_count", event="say") == 1
    assert found.get("socketio_recipients_sum", event="said", namespace="/") == 1
    said = len('421["said","hello"]') + 2
    assert found.get("socketio_sent_bytes_total", event="said") == said
    assert found.get("socket_io_transmit_bytes", event="said", namespace="/") == said
    assert found.get("socket_io_recieve_bytes", event="say", namespace="/") == len("hello")
    assert found.get("socket_io_errors_total") == 1

    polling.post("1")
    gone = {
        ("socketio_connections", ""): 0.0,
        ("socketio_clients", ""): 0.0,
        ("socketio_rooms", ""): 0.0,
        ("socketio_connections_closed_total", ""): 2.0,
        ("socketio_clients_disconnected_total", ""): 2.0,
        ("socket_io_disconnect_total", ""): 2.0,
    }
    reasons = wait_for(server, gone).labels("socketio_connections_closed_total", "reason")
    assert "client disconnect" in reasons <= {"client disconnect", "transport close"}


def test_what_is_refused_and_what_is_not_acknowledged_is_counted(server: Server) -> None:
    before = scrape(server)
    server.get("/socket.io/?EIO=4&transport=polling&sid=nobody")
    websocket = WebSocket(server.port)
    websocket.receive()
    websocket.send("40/nowhere,")
    assert str(websocket.receive()).startswith("44/nowhere,")
    websocket.send("40")
    websocket.receive()
    websocket.send('42["ask"]')
    found = wait_for(
        server,
        {
            ("socketio_refused_clients_total", "other"): 1.0,
            ("socketio_expired_acks_total", "unanswered"): 1.0,
        },
    )
    counted = [one.get("socketio_refused_requests_total", status="400", code="1") for one in (before, found)]
    assert counted[1] == counted[0] + 1
    websocket.abort()


def test_a_client_that_does_not_read_is_in_the_outbox(server: Server) -> None:
    websocket = WebSocket(server.port)
    websocket.receive()
    websocket.send("40")
    websocket.receive()
    deaf = Polling(server.port)
    deaf.post("40")
    deaf.receive()
    deaf.post('42["say","' + "x" * 1000 + '"]')
    found = wait_for(server, {("socketio_outbox_connections", ""): 1.0})
    assert found.get("socketio_outbox_packets") >= 1
    assert found.get("socketio_outbox_bytes") > 1000
    deaf.receive()
    wait_for(server, {("socketio_outbox_connections", ""): 0.0, ("socketio_outbox_bytes", ""): 0.0})
    websocket.abort()


def test_who_comes_back_and_who_cannot_is_counted(server: Server) -> None:
    def join(auth: str = "") -> tuple[Polling, Any]:
        connection = Polling(server.port)
        connection.post(f"40{auth}")
        return connection, json.loads(str(connection.receive()[0])[2:])

    first, told = join()
    first.post("1")
    wait_for(server, {("socketio_recovery_lost_clients", ""): 1.0})
    second, again = join(json.dumps({"pid": told["pid"]}))
    third, other = join('{"pid":"never heard of"}')
    assert again == told
    assert other["pid"] != told["pid"]
    found = wait_for(server, {("socketio_recovery_lost_clients", ""): 0.0})
    assert found.get("socketio_recovery_recovered_clients_total") == 1
    assert found.get("socketio_recovery_failed_clients_total", reason="unknown") == 1
    second.post("1")
    third.post("1")
    wait_for(server, {("socketio_recovery_lost_clients", ""): 2.0})
