"""Who observes is told what happens on the wire, in every mode and on both transports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import socketio

from support.servers import MODE_KINDS, AppSpec, Server, kind_params, serving, wait_until
from support.wire.engine import Polling, WebSocket, target

ROUTES = {
    "websocket": ["websocket"],
    "polling": ["polling"],
    "upgraded": ["polling", "websocket"],
}


@pytest.fixture(scope="module", params=kind_params(*MODE_KINDS))
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    spec = AppSpec(app="observed", options={"async_handlers": "ordered", "outbox_max_bytes": 1_000_000})
    with serving(request.param, spec, tmp_path_factory.mktemp("observed")) as server:
        yield server


@pytest.fixture
def server(running: Server) -> Server:
    running.begin_test()
    return running


class Visit:
    """A client that comes and does a few things before it goes; what the observers were told is kept."""

    def __init__(self, server: Server, transports: list[str]) -> None:
        self.client: Any = socketio.Client(reconnection=False, handle_sigint=False)
        self.client.on("said", lambda text: "heard")
        spaces = ["/", "/second"]
        self.client.connect(
            server.url, transports=transports, namespaces=spaces, wait_timeout=10, retry=False
        )
        try:
            self.engine_sid = self.client.eio.sid
            self.sid = self.client.get_sid()
            self.second = self.client.get_sid("/second")
            self.client.call("join", "kitchen", timeout=10)
            self.client.call("join", "hall", timeout=10)
            self.client.call("part", "hall", timeout=10)
            self.client.emit("say", ("kitchen", "hello"))
            self.client.emit("fail")
            self.map = self.client.call("map", timeout=10)
            server.wait_journal("ack", timeout_s=10)
        finally:
            # What disconnect() does; but its writer ends behind a POST that it has begun, without what comes next.
            for packet in ("1", "1/second,"):
                self.client.eio.send(packet)
            self.client.eio.queue.join()
            self.client.eio.disconnect()
        gone = ["session_closed", "disconnected", "disconnected", "room_left", "room_left"]
        self.journal = server.wait_journal(*gone, timeout_s=10)

    def told(self, hook: str) -> list[dict[str, Any]]:
        return [facts for name, facts in self.journal if name == hook]

    def names(self, *hooks: str) -> list[str]:
        return [name for name, _ in self.journal if name in hooks]


@pytest.mark.parametrize("route", ROUTES)
def test_a_visit_is_told_from_its_first_request_to_its_end(server: Server, route: str) -> None:
    visit = Visit(server, ROUTES[route])
    first, last = ROUTES[route][0], ROUTES[route][-1]

    (opened,), (closed,) = visit.told("session_opened"), visit.told("session_closed")
    assert opened.pop("environ")["PATH_INFO"] == "/socket.io/"
    assert opened == {"engine_sid": visit.engine_sid, "transport": first, "address": "127.0.0.1"}
    assert closed.pop("reason") in ("client disconnect", "transport close")
    assert closed.pop("detail") == ""
    assert closed == {"engine_sid": visit.engine_sid, "transport": last, "address": "127.0.0.1"}
    changed = {"engine_sid": visit.engine_sid, "transport": "websocket", "before": "polling"}
    assert visit.told("transport_changed") == [changed] * (first != last)
    order = ["session_opened", *["transport_changed"] * (first != last), "session_closed"]
    assert visit.names("session_opened", "transport_changed", "session_closed") == order

    entered = [(facts["sid"], facts["room"]) for facts in visit.told("room_entered")]
    left = [(facts["sid"], facts["room"]) for facts in visit.told("room_left")]
    assert entered == [(visit.sid, "kitchen"), (visit.sid, "hall")], "each once"
    assert left == [(visit.sid, "hall"), (visit.sid, "kitchen")], "the second as the client left"

    (delivered,) = visit.told("delivered")
    assert delivered.pop("size_bytes") == len('421["said","hello"]') + 2
    assert delivered == {"event": "said", "namespace": "/", "to": {"tuple": ["kitchen"]}, "recipients": 1}

    (ack,) = visit.told("ack")
    assert 0 < ack.pop("latency_s") < 10
    assert ack == {"sid": visit.sid, "namespace": "/", "event": "said"}

    assert visit.map[0] == visit.engine_sid
    assert sorted(visit.map[1]) == sorted([[visit.sid, "/"], [visit.second, "/second"]])


def test_an_event_says_how_long_it_waited_and_how_long_a_failed_handler_took(server: Server) -> None:
    websocket = joined(server)
    for packet in ('42["fail",1]', '42["join","hall"]', "1"):
        websocket.send(packet)
    journal = server.wait_journal("event_error", "disconnected", timeout_s=10)
    (failed,) = [facts for name, facts in journal if name == "event_error"]
    assert (failed["event"], failed["error"]) == ("fail", {"exception": "ValueError", "text": "as asked"})
    assert 0.9 < failed["duration_s"] < 10
    waits = {facts["event"]: facts["waited_s"] for name, facts in journal if name == "event_before"}
    assert waits["join"] > 0.1, "it came while the one before slept"
    assert {"connect", "disconnect"} <= waits.keys()
    assert min(waits.values()) >= 0 and max(waits.values()) < 10


@pytest.mark.parametrize(
    ("query", "status", "code", "message"),
    [
        ({"transport": "pigeon"}, 400, 0, "Transport unknown"),
        ({"transport": "polling", "sid": "nobody"}, 400, 1, "Session ID unknown"),
        ({"transport": "websocket"}, 400, 3, "the WebSocket transport needs the header 'Upgrade: websocket'"),
        ({"transport": "polling", "EIO": "7"}, 400, 5, "Engine.IO protocol 7"),
    ],
)
def test_a_refused_request_is_told_with_what_the_client_is_told(
    server: Server, query: dict[str, str], status: int, code: int, message: str
) -> None:
    assert server.get(target(**query)).status == status
    ((name, refused),) = server.wait_journal("refused")
    assert (name, refused["status"], refused["code"]) == ("refused", status, code)
    assert message in refused["message"]
    assert "transport=" in refused["environ"]["QUERY_STRING"]


def test_many_that_come_and_go_are_each_told_once_and_in_order(server: Server) -> None:
    for number in range(10):
        polling = Polling(server.port)
        websocket = WebSocket(server.port, sid=polling.sid)
        websocket.send("2probe")
        assert websocket.receive() == "3probe"
        websocket.send("5")
        websocket.send("40")
        assert str(websocket.receive()).startswith("40")
        if number % 2:
            websocket.send("1")
        websocket.abort()

    def closed() -> bool:
        return [name for name, _ in server.journal()].count("session_closed") == 10

    assert wait_until(closed, timeout_s=10), server.journal()
    by_sid: dict[str, list[str]] = {}
    for name, facts in server.journal():
        if "engine_sid" in facts:
            by_sid.setdefault(facts["engine_sid"], []).append(name)
    assert list(by_sid.values()) == [["session_opened", "transport_changed", "session_closed"]] * 10


def joined(server: Server) -> WebSocket:
    """Return a client that is let in."""
    websocket = WebSocket(server.port)
    websocket.send("40")
    assert str(websocket.receive()).startswith("0") and str(websocket.receive()).startswith("40")
    return websocket


def why(server: Server) -> list[tuple[str, str, str]]:
    """Return what is told of the end of a client and of its session, in alphabetical order."""
    names = ("disconnected", "session_closed")
    journal = server.wait_journal(*names, timeout_s=10)
    return sorted((name, facts["reason"], facts["detail"]) for name, facts in journal if name in names)


@pytest.mark.parametrize("reason", ["KICKED", "REPLACED", "EXPIRED"])
def test_why_the_application_disconnected_a_client_is_told_to_observers_and_not_to_it(
    server: Server, reason: str
) -> None:
    websocket = joined(server)
    websocket.send(f'42["kick me","{reason}"]')
    assert websocket.receive() == "41"
    websocket.send("1")
    assert why(server) == [
        ("disconnected", "server disconnect", reason.lower()),
        ("session_closed", "client disconnect", ""),
    ]


def test_a_client_that_does_not_read_is_told_apart_from_one_that_breaks_the_protocol(server: Server) -> None:
    websocket = joined(server)
    websocket.send('42["flood me"]')
    assert why(server) == [
        ("disconnected", "transport error", "overflow"),
        ("session_closed", "transport error", "overflow"),
    ]
    websocket.abort()
    server.reset()
    joined(server).send("9")  # no packet
    assert why(server) == [
        ("disconnected", "transport error", "violation"),
        ("session_closed", "transport error", "violation"),
    ]


def added(headers: Mapping[str, str]) -> tuple[str, str]:
    return headers["x-first"], headers["x-method"]


def test_headers_are_added_to_each_response_of_a_polling_session(server: Server) -> None:
    polling = Polling(server.port)
    assert added(polling.opened.headers) == ("True", "GET")
    assert polling.opened.headers["content-length"] == str(len(polling.opened.body)), "no plugin's"
    posted = polling.post("40")
    assert (posted.text, added(posted.headers)) == ("ok", ("False", "POST"))
    assert added(polling.get().headers) == ("False", "GET")
    refused = server.get(target(transport="pigeon"))
    assert (refused.status, added(refused.headers)) == (400, ("False", "GET"))


def test_headers_are_added_to_the_101_of_a_websocket(server: Server) -> None:
    assert added(WebSocket(server.port).headers) == ("True", "GET")
    polling = Polling(server.port)
    assert added(WebSocket(server.port, sid=polling.sid).headers) == ("False", "GET")


def test_a_header_that_may_not_be_added_is_told_in_the_log(server: Server) -> None:
    Polling(server.port)
    assert "adds a header that is left out: Content-Length is the server's own" in server.log_text()
