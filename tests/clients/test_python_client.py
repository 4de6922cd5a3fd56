"""python-socketio's client over every kind of server."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import socketio

from support.clients import python_client
from support.servers import Server, ServerKind, wait_until
from support.wire.http import request

TIMEOUT_S = 5.0
# A client that left without a word is missed after the ping interval and time-out of these servers, 5 s together.
MISSED_S = 15.0

#: Transports to ask for, and the one that carries the events in the end.
TRANSPORTS = {"polling": ["polling"], "websocket": ["websocket"], "upgrade": ["polling", "websocket"]}
BINARY = (b"\x00\xff", b"01", b'4"', b"b9", b"", bytes(range(256)))


class PythonClient:
    """A client whose events wait in a queue."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.inner: Any = python_client()
        self.events: queue.Queue[tuple[Any, ...]] = queue.Queue()
        self.errors: queue.Queue[Any] = queue.Queue()
        self.inner.on("*", lambda event, *args: self.events.put((event, *args)))
        self.inner.on("connect_error", self.errors.put)

    def connect(self, transport: str = "upgrade", **kwargs: Any) -> PythonClient:
        """Connect and wait until the namespace is joined."""
        self.inner.connect(
            self.server.url, transports=TRANSPORTS[transport], wait_timeout=TIMEOUT_S, retry=False, **kwargs
        )
        return self

    def call(self, event: str, *args: Any, namespace: str = "/") -> Any:
        """Emit and wait for the acknowledgement."""
        return self.inner.call(event, args, namespace=namespace, timeout=TIMEOUT_S)

    def next_event(self) -> tuple[Any, ...]:
        """Return the next event, name first."""
        return self.events.get(timeout=TIMEOUT_S)

    def close(self) -> None:
        """Leave."""
        with contextlib.suppress(socketio.exceptions.SocketIOError):
            self.inner.shutdown()


OpenClient = Callable[[], PythonClient]


@pytest.fixture
def open_client(server: Server) -> Iterator[OpenClient]:
    """Make clients that are closed at the end."""
    opened: list[PythonClient] = []

    def make() -> PythonClient:
        opened.append(PythonClient(server))
        return opened[-1]

    yield make
    for client in opened:
        client.close()


@pytest.fixture(params=sorted(TRANSPORTS))
def transport(request: pytest.FixtureRequest) -> str:
    """Give each way to connect in turn."""
    found: str = request.param
    return found


def test_transport_is_the_one_asked_for(open_client: OpenClient, transport: str) -> None:
    client = open_client().connect(transport)
    expected = "polling" if transport == "polling" else "websocket"
    assert client.inner.transport() == expected
    assert client.call("transport") == expected


def test_text_survives(open_client: OpenClient, transport: str) -> None:
    client = open_client().connect(transport)
    sent: tuple[Any, ...] = ("naïve ☃ 𝄞", 1.5, None, True, {"a": [{}]})
    assert client.call("echo", *sent) == sent


@pytest.mark.parametrize("data", BINARY)
def test_binary_survives(open_client: OpenClient, transport: str, data: bytes) -> None:
    client = open_client().connect(transport)
    assert client.call("echo", data, {"deep": [data]}) == (data, {"deep": [data]})
    client.inner.emit("echo by event", (data, "and text"))
    assert client.next_event() == ("echoed", data, "and text")


def test_big_message_survives(open_client: OpenClient, transport: str) -> None:
    client = open_client().connect(transport)
    assert client.call("echo", "x" * 700_000) == "x" * 700_000


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        ({"enter": "never"}, {"message": "Connection rejected by server"}),
        ({"enter": "explain"}, {"message": "no entry", "data": {"code": 401}}),
        ({"enter": "and leave"}, {"message": "Connection rejected by server"}),
    ],
)
def test_refusal_reaches_the_client(
    open_client: OpenClient, transport: str, auth: dict[str, str], expected: dict[str, Any]
) -> None:
    client = open_client()
    with pytest.raises(
        socketio.exceptions.ConnectionError, match=r"namespaces failed to connect"
    ):  # no time-out
        client.connect(transport, auth=auth)
    assert client.errors.get(timeout=TIMEOUT_S) == expected


def test_client_acknowledges_an_event(server: Server, open_client: OpenClient, transport: str) -> None:
    client = open_client().connect(transport)
    client.inner.on("question", lambda *args: ("answer", *args))
    client.call("ask me", 1, b"0")
    entries = server.wait_journal("answer")
    assert ["answer", ["answer", 1, {"bytes": "30"}]] in entries


def test_server_calls_the_client(open_client: OpenClient, transport: str) -> None:
    client = open_client().connect(transport)
    client.inner.on("question", lambda *args: [*args, b"more"])
    assert client.call("call me", "how") == ["how", b"more"]


def test_rooms(open_client: OpenClient) -> None:
    speaker, member, stranger = (open_client().connect(t) for t in ("websocket", "polling", "upgrade"))
    member.call("join", "python room")
    speaker.call("say", "python room", "hello")
    assert member.next_event() == ("said", "hello")
    member.call("leave", "python room")
    speaker.call("say", "python room", "anyone?")
    for client in (member, stranger):
        client.call("echo")
        assert client.events.empty()


def test_namespaces(open_client: OpenClient, transport: str) -> None:
    client = open_client().connect(transport, namespaces=["/", "/private"], auth={"token": "secret"})
    assert client.call("echo", 1, namespace="/private") == ["private", 1]
    assert client.call("echo", 1) == 1
    client.inner.disconnect()


def test_broadcast_from_a_view_reaches_every_transport(server: Server, open_client: OpenClient) -> None:
    clients = [open_client().connect(transport) for transport in TRANSPORTS]
    server.get("/announce/python")
    assert [client.next_event() for client in clients] == [("announced", "python")] * 3


def test_every_event_arrives_once_and_in_order(open_client: OpenClient, transport: str) -> None:
    client = open_client().connect(transport)
    numbers: list[int] = []
    client.inner.on("number", numbers.append)
    client.inner.emit("count", 200)
    assert wait_until(lambda: len(numbers) == 200, timeout_s=TIMEOUT_S)
    assert numbers == list(range(200))


def test_session_is_kept_and_starts_with_the_cookies(
    server: Server, open_client: OpenClient, transport: str
) -> None:
    answer = request(server.port, "GET", "/login/ann")
    cookie = answer.headers["set-cookie"].split(";")[0]
    client = open_client().connect(transport, headers={"Cookie": cookie}, auth={"who": "python"})
    client.call("remember", "kept")
    assert client.call("recall") == ["kept", {"who": "python"}, "ann"]


def test_client_leaves_with_its_reason(server: Server, open_client: OpenClient, transport: str) -> None:
    label = f"left {transport}"
    client = open_client().connect(transport)
    client.call("remember", label)
    client.inner.disconnect()

    def reasons() -> list[str]:
        return [entry[1] for entry in server.journal() if entry[0] == "disconnect" and entry[2] == label]

    assert wait_until(lambda: reasons() != [], timeout_s=MISSED_S)
    # This client sends its DISCONNECT packet only if its writer has nothing else to do at that moment.
    otherwise = "ping timeout" if transport == "polling" else "transport close"
    assert reasons() in (["client disconnect"], [otherwise])


def test_server_disconnects_the_client(server: Server, open_client: OpenClient, transport: str) -> None:
    client = open_client().connect(transport)
    gone = threading.Event()
    client.inner.on("disconnect", lambda *_: gone.set())
    client.call("remember", f"kicked {transport}")
    client.inner.emit("kick me")
    assert gone.wait(TIMEOUT_S)
    kicked = ["disconnect", "server disconnect", f"kicked {transport}"]
    assert wait_until(lambda: kicked in server.journal(), timeout_s=TIMEOUT_S)


@pytest.mark.timeout(4 * MISSED_S, func_only=True)
def test_clients_leave_nothing_behind(server: Server, kind: ServerKind) -> None:
    def visit(count: int) -> None:
        clients = [PythonClient(server).connect(name) for _ in range(count) for name in TRANSPORTS]
        for number, client in enumerate(clients):
            client.call("join", "crowd")
            client.inner.emit("kick me") if number % 2 else client.inner.disconnect()
        for client in clients:
            client.inner.eio.wait()  # the Socket.IO client's own wait() sleeps a second on top
            client.close()

    visit(2)  # the first visitors make what is kept: a selector, a pool, an import
    assert wait_until(lambda: len(server.journal()) >= 6, timeout_s=MISSED_S)
    before = server.usage()
    visit(4)
    left = before

    def back() -> bool:
        nonlocal left
        left = server.usage()
        return left.fds <= before.fds and left.threads <= before.threads

    assert wait_until(back, timeout_s=MISSED_S, interval_s=0.1), (
        f"{kind.name} held {before} before and {left} after"
    )
