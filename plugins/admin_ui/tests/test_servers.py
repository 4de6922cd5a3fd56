"""Real servers and clients: two on Redis, of which one is killed. The browser's test has those with threads."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from flask_socketio_core.selection import Plugins
from support.brokers import Broker
from support.servers import GEVENT_BUILTIN, AppSpec, Server, ServerKind, kind_params, serving
from support.wire.engine import WebSocket, parse_open

pytestmark = pytest.mark.timeout(150)

PATIENCE_S = 30.0


class Client:
    """A client on one namespace, that answers pings while it receives."""

    def __init__(self, server: Server, namespace: str = "/", auth: Any = None, **more: Any) -> None:
        self.prefix = "" if namespace == "/" else f"{namespace},"
        self.heard: list[list[Any]] = []
        self.socket = WebSocket(server.port, timeout_s=PATIENCE_S, **more)
        self.engine_sid = parse_open(self.socket.receive()).sid
        self.socket.send(f"40{self.prefix}{'' if auth is None else json.dumps(auth)}")
        self.answer = str(self._receive())
        self.sid = (
            json.loads(self.answer.removeprefix(f"40{self.prefix}"))["sid"] if self.answer[1] == "0" else ""
        )

    def _receive(self) -> str | bytes:
        while (packet := self.socket.receive()) == "2":
            self.socket.send("3")
        return packet

    def emit(self, *event: Any) -> None:
        self.socket.send(f"42{self.prefix}{json.dumps(event)}")

    def hear(self, event: str, wanted: Callable[..., object] = lambda *args: True) -> list[Any]:
        """Receive until an event is heard, and return its arguments."""
        while True:
            for place, (name, *args) in enumerate(self.heard):
                if name == event and wanted(*args):
                    del self.heard[: place + 1]
                    return args
            packet = str(self._receive())
            assert packet.startswith(f"42{self.prefix}"), packet
            self.heard.append(json.loads(packet.removeprefix(f"42{self.prefix}")))


def admin(server: Server, **auth: Any) -> Client:
    return Client(server, "/admin", auth or {"username": "ann", "password": "secret"})


def test_the_plugin_is_listed_as_usable() -> None:
    listed = {plugin.name: plugin.status for plugin in Plugins().describe().plugins}
    assert listed["admin-ui"] == "ok"


@pytest.mark.parametrize("kind", kind_params(GEVENT_BUILTIN))
def test_one_page_shows_and_moves_the_clients_of_all_servers(
    kind: ServerKind, redis_broker: Broker, tmp_path: Path
) -> None:
    options = {
        "message_queue": redis_broker.url,
        "channel": f"admin-{uuid.uuid4().hex}",
        "message_queue_options": {"heartbeat_interval_s": 0.5},
    }
    spec = AppSpec(app="administered", options=options, settings={"SOCKETIO_ADMIN_UI_MODE": "development"})
    with ExitStack() as stack:
        first = stack.enter_context(serving(kind, spec, tmp_path))
        second = stack.enter_context(serving(kind, spec, tmp_path))
        there = Client(second, headers={"Cookie": "session=hidden"}, query={"token": "hidden", "room": "7"})
        there.emit("enter", "club")
        refused = admin(first, sessionId="made up")
        assert refused.answer == '44/admin,{"message":"invalid credentials"}'

        page = admin(first)
        (session,) = page.hear("session")
        assert "ALL_EVENTS" in page.hear("config")[0]["supportedFeatures"]
        (sockets,) = page.hear("all_sockets", lambda sockets: there.sid in str(sockets))
        (socket,) = [each for each in sockets if each["id"] == there.sid]
        assert socket["nsp"] == "/" and socket["transport"] == "websocket"
        assert sorted(socket["rooms"]) == sorted([there.sid, "club"])
        assert socket["clientId"] == there.engine_sid[:12]
        assert socket["handshake"]["query"] == {
            "EIO": "4",
            "transport": "websocket",
            "token": "***",
            "room": "7",
        }
        assert socket["handshake"]["headers"]["cookie"] == "***"
        assert "hidden" not in str(sockets) and there.engine_sid not in str(sockets)
        assert "/admin" not in {each["nsp"] for each in sockets}
        pids = {first.worker_pid, second.worker_pid}
        while pids:
            pids.discard(page.hear("server_stats")[0]["pid"])

        # What happens at the other server.
        here = Client(first)
        page.hear("socket_connected", lambda socket, at: socket["id"] == here.sid)
        late = Client(second)
        page.hear("socket_connected", lambda socket, at: socket["id"] == late.sid and at.endswith("Z"))
        late.emit("enter", "bar")
        page.hear(
            "event_received", lambda nsp, sid, args, at: [nsp, sid, args] == ["/", late.sid, ["enter", "bar"]]
        )
        page.hear("room_joined", lambda nsp, room, sid, at: (nsp, room, sid) == ("/", "bar", late.sid))

        # The page of another server, with the same login: it is told what this one does.
        other = admin(second, sessionId=session)
        other.hear("all_sockets", lambda sockets: here.sid in str(sockets))
        page.emit("emit", "/", late.sid, "news", {"password": "hidden", "text": "shown"})
        late.hear("news", lambda news: news["text"] == "shown")
        sent = ["news", {"password": "***", "text": "shown"}]
        other.hear("event_sent", lambda nsp, whom, args, at: [nsp, whom, args] == ["/", late.sid, sent])
        page.emit("join", "/", "moved", "club")
        other.hear("room_joined", lambda nsp, room, sid, at: (room, sid) == ("moved", there.sid))
        page.emit("leave", "/", "moved")
        page.hear("room_left", lambda nsp, room, sid, at: (room, sid) == ("moved", there.sid))
        page.emit("_disconnect", "/", True, late.sid)
        page.hear(
            "socket_disconnected",
            lambda nsp, sid, why, at: (sid, why) == (late.sid, "server disconnect (kicked)"),
        )
        assert second.wait_journal("left", timeout_s=PATIENCE_S) == [["left", "server disconnect"]]

        # What a killed server had is shown no longer, and what comes to a new one is.
        second.process.kill()
        second.process.wait()
        (left,) = page.hear("all_sockets", lambda sockets: there.sid not in str(sockets))
        assert [each["id"] for each in left] == [here.sid]
        third = stack.enter_context(serving(kind, spec, tmp_path))
        new = Client(third)
        page.hear("all_sockets", lambda sockets: new.sid in str(sockets))
