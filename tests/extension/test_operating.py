"""Clients are counted, listed, moved and kicked: without a message queue, and with one that no other server has."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask, request

from flask_socketio_core import SocketIO, SocketIOTestClient, user
from support.servers import wait_until


class Made:
    """An application with clients ``a``, ``b`` and ``c``, and what its disconnect handlers were told.

    :ivar sids: of the clients by name.
    """

    def __init__(self, queue: str | None) -> None:
        self.app = Flask(__name__)
        self.socketio = SocketIO(self.app, async_mode="threading", message_queue=queue)
        self.gone: list[tuple[str, Any]] = []
        self.socketio.on_event("connect", lambda: None)
        self.socketio.on_event("disconnect", self._note)
        self.socketio.on_event("disconnect", self._note, namespace="/chat")
        self.socketio.on_event("connect", lambda: None, namespace="/chat")
        self.clients = {name: self.socketio.test_client(self.app) for name in "abc"}
        self.sids = {name: self._sid(client) for name, client in self.clients.items()}

    def _sid(self, client: SocketIOTestClient) -> str:
        (found,) = self.socketio.server.clients_of(client.eio_sid)
        return found.sid

    def _note(self, reason: Any) -> None:
        name = {sid: name for name, sid in self.sids.items()}.get(request.sid, "?")  # type: ignore[attr-defined]
        self.gone.append((name, reason))

    def told(self, *expected: tuple[str, str]) -> bool:
        return wait_until(
            lambda: sorted((name, reason.detail) for name, reason in self.gone) == sorted(expected),
            timeout_s=10,
        )

    def rooms(self) -> str:
        """Return who is in which room, as ``"a:one,two b: c:"``."""
        server = self.socketio.server
        return " ".join(
            f"{name}:" + ",".join(sorted(set(server.rooms(sid)) - {sid})) for name, sid in self.sids.items()
        )


@pytest.fixture(params=[None, "memory://operating"], ids=["without a queue", "with a queue"])
def made(request: pytest.FixtureRequest) -> Iterator[Made]:
    made = Made(request.param)
    yield made
    made.socketio.close()


def test_clients_are_moved_at_once(made: Made) -> None:
    socketio, sids = made.socketio, made.sids
    socketio.move(to=[sids["a"], sids["b"]], enter=["one", "two"])
    assert made.rooms() == "a:one,two b:one,two c:"
    socketio.move(to="one", exclude=sids["b"], enter="three", leave=["one", "nobody's"])
    assert made.rooms() == "a:three,two b:one,two c:"
    socketio.move(to=None, exclude="three", enter="all", leave="two", local=True)
    assert made.rooms() == "a:three,two b:all,one c:all"
    socketio.move(to=[], enter="none")
    socketio.move(to="one", namespace="/chat", enter="none")
    assert "none" not in made.rooms()
    with pytest.raises(ValueError, match="it has the form of a sid"):
        socketio.move(to="one", enter=sids["a"])
    with pytest.raises(ValueError, match="only the clients of that user are in it"):
        socketio.move(to="all", enter=user(42))
    with pytest.raises(TypeError):
        socketio.move(enter="everybody must be asked for")  # type: ignore[call-arg]  # as asked


def test_a_selection_is_moved_and_kicked(made: Made) -> None:
    socketio, sids = made.socketio, made.sids
    pair = socketio.to(sids["a"], sids["b"])
    pair.move(enter=["one", "two"])
    pair.exclude(sids["a"]).local.move(leave="one")
    assert made.rooms() == "a:one,two b:two c:"
    socketio.exclude("one").kick(reason="banned", close=True)
    assert made.told(("b", "banned"), ("c", "banned"))


def test_one_client_in_too_many_rooms_is_told_and_holds_up_nobody(made: Made) -> None:
    most = made.socketio.binding_of(made.app).options.max_rooms
    made.socketio.move(to=made.sids["a"], enter=[f"room {number}" for number in range(most)])
    with pytest.raises(ValueError, match="max_rooms="):
        made.socketio.move(to=None, enter="one more")
    assert made.rooms().endswith("b:one more c:one more")


def test_clients_are_kicked_for_a_reason_that_their_disconnect_handlers_are_told(made: Made) -> None:
    socketio, sids = made.socketio, made.sids
    socketio.move(to=[sids["a"], sids["b"]], enter="room")
    socketio.kick(to="room", exclude=sids["a"], reason="banned")
    assert made.told(("b", "banned"))
    assert made.gone[0][1] == socketio.reason.SERVER_DISCONNECT
    assert made.clients["a"].is_connected() and not made.clients["b"].is_connected()
    socketio.kick(to=sids["a"], local=True)
    socketio.kick(to=None, reason=socketio.reason.REPLACED)
    assert made.told(("a", "kicked"), ("b", "banned"), ("c", "replaced"))
    for reason in ("shutdown", "x" * 201, ""):
        with pytest.raises(ValueError, match="is not why an application disconnects a client"):
            socketio.kick(to="room", reason=reason)


def test_a_connection_is_closed_with_all_namespaces_where_that_is_asked_for(made: Made) -> None:
    client = made.clients["a"]
    client.connect("/chat")
    server = made.socketio.server
    made.socketio.kick(to=made.sids["a"], reason="first")
    assert made.told(("a", "first"))
    assert client.is_connected("/chat") and server.clients_of(client.eio_sid)
    (there,) = server.clients_of(client.eio_sid)
    made.socketio.kick(to=there.sid, namespace="/chat", reason="all", close=True)
    assert made.told(("a", "first"), ("?", "all"))
    assert wait_until(lambda: client.eio_sid not in server._server.sessions, timeout_s=10)
    other = made.clients["b"]
    other.connect("/chat")
    made.socketio.kick(to=made.sids["b"], reason="both", close=True)
    assert made.told(("a", "first"), ("?", "all"), ("b", "both"), ("?", "both"))
    assert not other.is_connected() and not other.is_connected("/chat")


def test_a_user_is_kicked_or_revoked_with_all_clients_on_all_namespaces(made: Made) -> None:
    socketio, clients = made.socketio, made.clients
    for name, whom in (("a", 1), ("b", 1), ("c", 2)):
        clients[name].connect("/chat")
        for client in socketio.server.clients_of(clients[name].eio_sid):
            socketio.server.client(client.sid, client.namespace).user = whom
    with pytest.raises(TypeError, match="needs to know whom"):
        socketio.kick()
    socketio.kick(to=[])
    socketio.kick(user=1, exclude=made.sids["b"])
    assert made.told(("a", "kicked"))
    assert clients["a"].is_connected("/chat"), "of one namespace"
    there = socketio.server.clients_of(clients["c"].eio_sid)[1].sid
    socketio.kick(to=there, namespace="*")
    assert made.told(("a", "kicked"), ("?", "kicked"))
    del made.gone[:]
    socketio.kick(user=1, namespace="*", reason="banned")
    assert made.told(("b", "banned"), ("?", "banned"), ("?", "banned"))
    del made.gone[:]
    socketio.revoke(user=2)
    assert made.told(("c", "expired"))
    session = clients["c"].eio_sid
    assert wait_until(lambda: session not in socketio.server._server.sessions, timeout_s=10)


def test_a_handler_kicks_its_own_client_and_goes_on(made: Made) -> None:
    ended: list[str] = []

    @made.socketio.on("leave")
    def leave() -> None:
        made.socketio.kick(to=request.sid, reason="asked", close=True)  # type: ignore[attr-defined]  # ours
        ended.append("leave")

    client: SocketIOTestClient = made.clients["c"]
    client.emit("leave")
    assert made.told(("c", "asked")) and ended == ["leave"]


def test_clients_are_counted_and_told_of(made: Made) -> None:
    socketio, sids = made.socketio, made.sids
    socketio.move(to=[sids["a"], sids["b"]], enter=["one", ("two", 2)])
    client = socketio.server.client(sids["a"])
    client.user, client.data["name"] = 42, "Ada"
    assert (socketio.count(), socketio.count(to="one"), socketio.count(to="one", exclude=user(42))) == (
        3,
        2,
        1,
    )
    assert socketio.to("one").exclude(sids["b"]).count() == 1
    assert socketio.count(namespace="/chat") == 0
    made.clients["c"].connect("/chat")
    assert socketio.count(namespace="*") == 4
    assert sorted(one.namespace for one in socketio.who(namespace="*", exclude="one")) == ["/", "/chat"]
    here = socketio.servers.node
    assert socketio.count().by_node == {here: 3} and socketio.count(local=True).complete
    found = socketio.who()
    assert [one.sid for one in found] == sorted(sids.values()) and found.complete and found.missing == {}
    (ada,) = socketio.to(user(42)).who()
    assert (ada.sid, ada.user, ada.data, ada.node, ada.namespace) == (
        sids["a"],
        "42",
        {"name": "Ada"},
        here,
        "/",
    )
    assert set(ada.rooms) == {"one", ("two", 2)} and ada.data is not client.data
    assert (ada.address, ada.connected_at) == (client.environ.get("REMOTE_ADDR"), client.connected_at)
    first = socketio.who(limit=2)
    second = socketio.who(limit=2, after=first.next)
    assert first + second == found and second.next is None
    rooms = socketio.count_rooms()
    assert rooms == {"one": 2, ("two", 2): 2, user(42): 1} and rooms.complete
    assert socketio.count_rooms(namespace="/chat") == {}


def test_a_connect_handler_counts_its_own_client(made: Made) -> None:
    seen: list[int] = []
    made.socketio.on_event("connect", lambda: seen.append(made.socketio.count(to=None)), namespace="/count")
    made.socketio.test_client(made.app, namespace="/count")
    made.socketio.on_event("connect", lambda: seen.append(made.socketio.count(namespace="/count")), "/count")
    made.socketio.test_client(made.app, namespace="/count")
    assert seen == [3, 2]


def test_what_would_block_the_event_loop_says_what_to_write(made: Made) -> None:
    errors: list[str] = []

    @made.socketio.on("ask")
    async def ask() -> int:
        for call in (made.socketio.count, made.socketio.who, made.socketio.count_rooms):
            try:
                call()
            except RuntimeError as error:
                errors.append(str(error))
        return await asyncio.to_thread(made.socketio.count)

    assert made.clients["a"].emit("ask", callback=True) == 3
    assert [error.partition(" would")[0] for error in errors] == [
        "SocketIO.count()",
        "SocketIO.who()",
        "SocketIO.count_rooms()",
    ]


def test_of_two_applications_each_counts_its_own_clients() -> None:
    socketio = SocketIO(async_mode="threading")
    apps = [Flask("first"), Flask("second")]
    socketio.on_event("connect", lambda: None)
    for number, app in enumerate(apps):
        socketio.init_app(app, path=f"socket.io-{number}")
        for _ in range(number + 1):
            socketio.test_client(app)
    for number, app in enumerate(apps):
        with app.app_context():
            assert socketio.count() == number + 1
            socketio.close()
