"""permessage-deflate on real servers, spoken by wsproto.

Source: RFC 7692.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Event, Message, Request, TextMessage
from wsproto.extensions import PerMessageDeflate

from support.servers import Server, StartServer
from support.wire import remember
from support.wire.engine import TIMEOUT_S, Polling, target
from support.wire.frames import INVALID_DATA, PROTOCOL_ERROR, TEXT, TOO_BIG, frame
from support.wire.http import HOST

LONG = "compress me " * 1000


class WsprotoClient:
    """A client that offers compression.

    :param query: more fields of the request's query.
    """

    def __init__(self, port: int, **query: str) -> None:
        self._socket = socket.create_connection((HOST, port), timeout=TIMEOUT_S)
        remember(self)
        self.received = 0  # bytes
        self.deflate = PerMessageDeflate()
        self._connection = WSConnection(ConnectionType.CLIENT)
        self._events: list[Event] = []
        self.send(
            Request(host=HOST, target=target(transport="websocket", **query), extensions=[self.deflate])
        )
        accepted = self._next()
        assert isinstance(accepted, AcceptConnection), accepted
        self.agreed = bool(accepted.extensions)

    def send(self, event: Event) -> int:
        """Send an event and return how many bytes it took."""
        data = self._connection.send(event)
        self._socket.sendall(data)
        return len(data)

    def send_raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._socket.sendall(data)

    def say(self, text: str) -> int:
        """Send a text and return how many bytes it took."""
        return self.send(TextMessage(text))

    def read(self) -> str:
        """Read a whole text."""
        text = ""
        while True:
            event = self._next()
            assert isinstance(event, TextMessage), event
            text += event.data
            if event.message_finished:
                return text

    def close_code(self) -> int:
        """Read to the close frame and return its code."""
        while not isinstance(event := self._next(), CloseConnection):
            assert isinstance(event, Message), event
        return event.code

    def abort(self) -> None:
        """Drop the connection."""
        self._socket.close()

    def _next(self) -> Event:
        while not self._events:
            data = self._socket.recv(65_536)
            self.received += len(data)
            self._connection.receive_data(data or None)
            self._events = list(self._connection.events())
        return self._events.pop(0)


def connected(server: Server) -> WsprotoClient:
    """Open a WebSocket that is in the default namespace."""
    client = WsprotoClient(server.port)
    assert client.read().startswith("0{")
    client.say("40")
    assert client.read().startswith("40{")
    return client


def assert_short_both_ways(client: WsprotoClient) -> None:
    """Assert that a long message and its answer take few bytes."""
    before = client.received
    assert client.say(f'42["message","{LONG}"]') < 500
    assert json.loads(client.read()[2:]) == ["message-back", LONG]
    assert client.received - before < 500


@pytest.fixture
def compressing(start: StartServer) -> Server:
    """Give a server that compresses WebSocket messages."""
    return start(websocket_compression=True)


@pytest.fixture
def client(compressing: Server) -> Iterator[WsprotoClient]:
    """Give a client that has agreed on compression with its server."""
    opened = connected(compressing)
    assert opened.agreed
    yield opened
    opened.abort()


def test_nothing_is_negotiated_by_default(server: Server) -> None:
    client = connected(server)
    assert not client.agreed
    assert client.say(f'42["message","{LONG}"]') > len(LONG)
    assert json.loads(client.read()[2:]) == ["message-back", LONG]
    assert client.received > len(LONG)


def test_messages_are_compressed_both_ways(client: WsprotoClient) -> None:
    for _ in range(3):
        assert_short_both_ways(client)


def test_a_short_message_is_not_compressed(client: WsprotoClient) -> None:
    before = client.received
    client.say('42["message","' + "x" * 500 + '"]')
    assert client.read() == '42["message-back","' + "x" * 500 + '"]'
    assert client.received - before > 500


@pytest.mark.usefixtures("client")  # it agreed, or the test is skipped
def test_a_session_that_was_upgraded_is_compressed_as_well(compressing: Server) -> None:
    session = Polling(compressing.port)
    session.post("40")
    session.receive()
    client = WsprotoClient(compressing.port, sid=session.sid)
    client.say("2probe")
    assert client.read() == "3probe"
    client.say("5")
    assert_short_both_ways(client)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        pytest.param(frame(TEXT, b"\xff\xff", rsv=4), INVALID_DATA, id="no DEFLATE"),
        pytest.param(frame(0x9, b"", rsv=4), PROTOCOL_ERROR, id="compressed ping"),
        pytest.param(frame(TEXT, b"", rsv=2), PROTOCOL_ERROR, id="another reserved bit"),
    ],
)
def test_what_breaks_the_rules_ends_the_connection_with_its_code(
    compressing: Server, client: WsprotoClient, sent: bytes, code: int
) -> None:
    client.send_raw(sent)
    assert client.close_code() == code
    compressing.wait_journal("disconnect")


def test_a_message_that_grows_beyond_the_limit_ends_the_connection(client: WsprotoClient) -> None:
    assert client.say("4" * 50_000_000) < 1_000_000
    assert client.close_code() == TOO_BIG
