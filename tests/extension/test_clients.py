"""What an application keeps with a client, and why the client left."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from flask import Flask, request

from flask_socketio_core import Namespace, SocketIO, SocketIOTestClient, disconnect
from flask_socketio_core.cluster.memory import MemoryQueue
from flask_socketio_core.contracts.clients import Client
from flask_socketio_core.errors import InvalidData
from support.servers import wait_until

Made = tuple[Flask, SocketIO, list[Any]]


@pytest.fixture
def made() -> Made:
    """Make an application that notes why clients leave."""
    app = Flask(__name__)
    socketio = SocketIO(app, async_mode="threading")
    reasons: list[Any] = []
    socketio.on_event("disconnect", reasons.append)
    return app, socketio, reasons


def only_client(socketio: SocketIO, one: SocketIOTestClient) -> Client:
    (client,) = socketio.server.clients_of(one.eio_sid)
    return client


def client_of_request() -> Client:
    found: Client = request.client  # type: ignore[attr-defined]  # ours
    return found


def test_what_is_kept_with_a_client_is_there_in_its_later_events_and_hooks(made: Made) -> None:
    app, socketio, _ = made
    seen: list[Any] = []
    begun = time.time()

    @socketio.on("connect")
    def connect() -> None:
        client = client_of_request()
        client.user = 7
        client.data["name"] = "Ada"

    @socketio.on("whoami")
    def whoami() -> Any:
        client = client_of_request()
        assert client.sid == request.sid  # type: ignore[attr-defined]  # ours
        return client.data

    @socketio.observe
    def socketio_disconnected(client: Client) -> None:
        seen.append((client.data, client.user, client.connected_at))

    with socketio.test_client(app) as one:
        assert one.emit("whoami", callback=True) == {"name": "Ada"}
        found = only_client(socketio, one)
        assert socketio.server.client(found.sid) is found
        assert (found.data, found.user) == ({"name": "Ada"}, "7")
        assert found.connected_at == pytest.approx(begun, abs=10)
        with socketio.test_client(app) as other:
            assert other.emit("whoami", callback=True) == {"name": "Ada"}
            assert only_client(socketio, other).data is not found.data
    assert seen[-1] == ({"name": "Ada"}, "7", found.connected_at)


def test_data_that_is_set_is_copied_and_must_be_json(made: Made) -> None:
    app, socketio, _ = made
    socketio.on_event("connect", lambda: None)
    with socketio.test_client(app) as one:
        client = only_client(socketio, one)
        assert (client.data, client.user) == ({}, None)
        given = {"roles": ["admin"]}
        client.data = given
        assert client.data == given and client.data is not given
        with pytest.raises(
            InvalidData, match=r'data of client .* cannot be sent: data\["at"\] is of type set'
        ):
            client.data = {"at": {1}}
        with pytest.raises(InvalidData, match="JSON has no such number"):
            client.data = {"at": float("nan")}
        with pytest.raises(TypeError, match="the data of a client is a dictionary, not of type list"):
            client.data = [1]  # type: ignore[assignment]  # as asked
        assert client.data == given


def test_data_that_cannot_travel_is_an_error_where_it_is_asked_for(made: Made) -> None:
    app, socketio, _ = made
    socketio.on_event("connect", lambda: None)
    socketio.servers.on_topic("who", lambda payload, node: socketio.server.client(payload).data)
    with socketio.test_client(app) as one:
        client = only_client(socketio, one)
        client.data["name"] = "Ada"
        assert list(socketio.servers.ask("who", client.sid, timeout_s=5).answers.values()) == [
            {"name": "Ada"}
        ]
        client.data["at"] = {1}
        (error,) = socketio.servers.ask("who", client.sid, timeout_s=5).errors.values()
        assert "type set" in error


def test_an_engine_io_sid_is_mapped_to_its_clients_and_back(made: Made) -> None:
    app, socketio, _ = made
    socketio.on_event("connect", lambda: None)
    socketio.on_event("connect", lambda: None, namespace="/chat")
    with socketio.test_client(app) as one:
        one.connect("/chat")
        engine_sid = one.eio_sid
        clients = socketio.server.clients_of(engine_sid)
        assert all(socketio.server.client(client.sid, client.namespace) is client for client in clients)
        assert sorted(client.namespace for client in clients) == ["/", "/chat"]
        assert {client.engine_sid for client in clients} == {engine_sid}
    assert wait_until(lambda: not socketio.server.clients_of(engine_sid), timeout_s=10)
    assert socketio.server.clients_of("nobody") == []
    with pytest.raises(KeyError, match="is not connected"):
        socketio.server.client("nobody")


class Leaving(Namespace):
    def on_leave(self) -> None:
        disconnect()

    def on_expire(self) -> None:
        disconnect(reason=SocketIO.reason.EXPIRED)

    def on_replace(self) -> None:
        self.server.disconnect(
            request.sid,  # type: ignore[attr-defined]  # ours
            reason=self.server.reason.REPLACED,
        )


@pytest.mark.parametrize(
    ("event", "detail"), [("leave", "kicked"), ("expire", "expired"), ("replace", "replaced")]
)
def test_a_disconnect_handler_is_told_why_the_application_disconnected(
    made: Made, event: str, detail: str
) -> None:
    app, socketio, reasons = made
    hooks: list[str] = []

    @socketio.observe
    def socketio_disconnected(reason: Any) -> None:
        hooks.append(reason.detail)

    socketio.on_namespace(Leaving("/"))
    socketio.test_client(app).emit(event)
    assert reasons == ["server disconnect"] == [SocketIO.reason.SERVER_DISCONNECT]
    assert [reason.detail for reason in reasons] == hooks == [detail]


def test_a_process_that_ends_tells_the_disconnect_handlers_and_the_observers(made: Made) -> None:
    app, socketio, reasons = made

    @socketio.observe
    def socketio_session_closed(reason: Any) -> None:
        socketio.sleep(0.05)
        reasons.append(reason)

    for _ in range(3):
        socketio.test_client(app)
    socketio.close()
    assert [(reason, reason.detail) for reason in reasons] == [("server disconnect", "shutdown")] * 6


def test_a_connection_that_the_application_closes_is_told_as_kicked(made: Made) -> None:
    app, socketio, reasons = made
    one = socketio.test_client(app)
    socketio.server.eio.disconnect(one.eio_sid)
    assert wait_until(lambda: bool(reasons), timeout_s=10)
    assert [(reason, reason.detail) for reason in reasons] == [("server disconnect", "kicked")]


def test_another_server_tells_why_it_disconnected_a_client() -> None:
    servers: list[SocketIO] = []
    reasons: list[Any] = []
    clients = []
    for name in ("first", "second"):
        app = Flask(name)
        socketio = SocketIO(app, async_mode="threading", message_queue="memory://reasons")
        socketio.on_event("disconnect", reasons.append)
        servers.append(socketio)
        clients.append(socketio.test_client(app))
        binding = socketio.binding_of(app)
        assert binding.cluster is not None and binding.cluster.await_subscription(10)
    try:
        sid = only_client(servers[1], clients[1]).sid
        servers[0].server.disconnect(sid, reason=SocketIO.reason.REPLACED)
        assert wait_until(lambda: bool(reasons), timeout_s=10)
        assert [(reason, reason.detail) for reason in reasons] == [("server disconnect", "replaced")]
    finally:
        for socketio in servers:
            socketio.close()


def test_clients_that_come_together_miss_nothing_that_others_send(monkeypatch: pytest.MonkeyPatch) -> None:
    subscribe = MemoryQueue._subscribe
    hears = threading.Event()

    def subscribe_late(queue: MemoryQueue) -> Any:
        time.sleep(0.4)
        inbox = subscribe(queue)
        hears.set()
        return inbox

    monkeypatch.setattr(MemoryQueue, "_subscribe", subscribe_late)
    app = Flask("together")
    socketio = SocketIO(app, async_mode="threading", message_queue="memory://together")
    heard: list[bool] = []

    def come() -> None:
        answer = app.test_client().get("/socket.io/?EIO=4&transport=polling")
        heard.append(answer.status_code == 200 and hears.is_set())

    coming = [threading.Thread(target=come) for _ in range(5)]
    try:
        for thread in coming:
            thread.start()
        for thread in coming:
            thread.join(10)
        assert heard == [True] * 5
    finally:
        socketio.close()
