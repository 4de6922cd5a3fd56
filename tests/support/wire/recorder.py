"""A raw Socket.IO client that writes down everything that arrives.

Nothing runs in the background: the client reads while it waits for something. :meth:`Recorder.fence` makes the server
answer after everything it had queued before, so that a transcript is complete without a sleep.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable
from typing import Any, Protocol

from support.wire import packets
from support.wire.engine import TIMEOUT_S, Closed, Polling, WebSocket, parse_open
from support.wire.packets import Packet

#: The event that every application under test answers at once with an empty ack.
FENCE = "fence"


class Transport(Protocol):
    """What carries Engine.IO packets."""

    def send(self, *messages: str | bytes) -> None:
        """Send Engine.IO packets."""

    def receive(self, timeout_s: float) -> str | bytes:
        """Return the next Engine.IO packet."""

    def abort(self) -> None:
        """Go away without a word."""


class _OverWebSocket:
    def __init__(self, port: int, path: str, query: dict[str, str], headers: dict[str, str]) -> None:
        self._socket = WebSocket(port, path=path, query=query, headers=headers)
        self.engine_sid = parse_open(self._socket.receive()).sid

    def send(self, *messages: str | bytes) -> None:
        for message in messages:
            self._socket.send(message)

    def receive(self, timeout_s: float) -> str | bytes:
        return self._socket.receive(timeout_s=timeout_s)

    def abort(self) -> None:
        self._socket.abort()


class _OverPolling:
    def __init__(self, port: int, path: str, query: dict[str, str], headers: dict[str, str]) -> None:
        self._session = Polling(port, path=path, query=query, headers=headers)
        self._received: list[str | bytes] = []
        self.engine_sid = self._session.sid

    def send(self, *messages: str | bytes) -> None:
        answer = self._session.post(*messages)
        if answer.status != 200:
            raise Closed

    def receive(self, timeout_s: float) -> str | bytes:
        if not self._received:
            self._received = self._session.receive(timeout_s=timeout_s)
        return self._received.pop(0)

    def abort(self) -> None:
        """Close the session: a polling client has no connection to drop."""
        self._session.post("1")


class Recorder:
    """One client, its connection, and its transcript in :attr:`packets`.

    :attr:`sids` has the session ids by the namespaces that the client is in, :attr:`all_sids` all it ever had.
    """

    def __init__(
        self,
        port: int,
        *,
        transport: str = "websocket",
        path: str = "/socket.io/",
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        opener = _OverPolling if transport == "polling" else _OverWebSocket
        opened = opener(port, path, query or {}, headers or {})
        self.engine_sid = opened.engine_sid
        self.packets: list[Packet] = []
        self.sids: dict[str, str] = {}
        self.all_sids: list[tuple[str, str]] = []
        self.closed = False
        self._transport: Transport = opened
        self._partial: Packet | None = None
        self._ids = itertools.count(1)

    # -- sending

    def connect(self, namespace: str = "/", auth: Any = None) -> Packet:
        """Ask for a namespace and return the answer, CONNECT or CONNECT_ERROR."""
        self.send(packets.CONNECT, auth, namespace=namespace)
        return self.read_until(
            lambda p: p.namespace == namespace and p.type in (packets.CONNECT, packets.CONNECT_ERROR)
        )

    def emit(self, event: str, *args: Any, namespace: str = "/") -> None:
        """Send an event and ask for no ack."""
        self.send(packets.EVENT, [event, *args], namespace=namespace)

    def call(self, event: str, *args: Any, namespace: str = "/") -> Any:
        """Send an event, wait for its ack and return the ack's arguments as a list."""
        number = next(self._ids)
        self.send(packets.EVENT, [event, *args], namespace=namespace, id=number)
        return self.read_until(lambda p: is_ack(p, namespace, number)).data

    def ack(self, packet: Packet, *args: Any) -> None:
        """Answer an event of the server."""
        self.send(packets.ACK, list(args), namespace=packet.namespace, id=packet.id)

    def disconnect(self, namespace: str = "/") -> None:
        """Leave a namespace."""
        self.send(packets.DISCONNECT, namespace=namespace)
        self.sids.pop(namespace, None)

    def send(
        self, packet_type: int, data: Any = None, *, namespace: str = "/", id: int | None = None
    ) -> None:
        """Send one packet."""
        messages = packets.encode(packet_type, data, namespace=namespace, id=id)
        self.send_raw(f"4{messages[0]!s}", *messages[1:])

    def send_raw(self, *messages: str | bytes) -> None:
        """Send Engine.IO packets as they are."""
        self._transport.send(*messages)

    # -- reading

    def fence(self, namespace: str = "/") -> None:
        """Read everything that the server had queued for this client when the fence got there."""
        number = next(self._ids)
        self.send(packets.EVENT, [FENCE], namespace=namespace, id=number)
        answer = self.read_until(lambda p: is_ack(p, namespace, number))
        self.packets.remove(answer)

    def wait_event(self, event: str, namespace: str = "/") -> Packet:
        """Read until an event arrives, and return it."""
        return self.read_until(lambda p: p.event == event and p.namespace == namespace)

    def read_until(self, wanted: Callable[[Packet], bool], *, timeout_s: float = TIMEOUT_S) -> Packet:
        """Record packets until one is wanted, and return that one.

        :raises TimeoutError: when it does not come; the text shows what did.
        :raises Closed: when the server ends the connection first.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            packet = self.read(deadline)
            if packet is not None and wanted(packet):
                return packet

    def wait_closed(self, *, timeout_s: float = TIMEOUT_S) -> None:
        """Record packets until the server ends the connection.

        :raises TimeoutError: when it does not.
        """
        deadline = time.monotonic() + timeout_s
        try:
            while True:
                self.read(deadline)
        except Closed:
            return

    def read(self, deadline: float) -> Packet | None:
        """Record one packet and return it; ``None`` if something else came (a ping, half a packet)."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"the packet did not come; these did: {[describe(p) for p in self.packets]}")
        try:
            message = self._transport.receive(left)
        except Closed:
            self.closed = True
            raise
        return self._message(message)

    def _message(self, message: str | bytes) -> Packet | None:
        if isinstance(message, bytes):
            assert self._partial is not None, f"an attachment without its packet: {message!r}"
            self._partial.attach(message)
            return self._finish(self._partial)
        if message == "2":
            self.send_raw("3")
        elif message == "1":
            self.closed = True
            raise Closed
        elif message.startswith("4"):
            return self._finish(packets.decode(message[1:]))
        return None

    def _finish(self, packet: Packet) -> Packet | None:
        self._partial = None if packet.complete else packet
        if not packet.complete:
            return None
        if packet.type == packets.CONNECT:
            self.sids[packet.namespace] = packet.data["sid"]
            self.all_sids.append((packet.namespace, packet.data["sid"]))
        elif packet.type == packets.DISCONNECT:
            self.sids.pop(packet.namespace, None)
        self.packets.append(packet)
        return packet

    # -- the end

    def abort(self) -> None:
        """Drop the connection."""
        if not self.closed:
            self.closed = True
            self._transport.abort()


def is_ack(packet: Packet, namespace: str, number: int) -> bool:
    """Say whether a packet acknowledges that event."""
    return packet.type in (packets.ACK, packets.BINARY_ACK) and (packet.namespace, packet.id) == (
        namespace,
        number,
    )


def describe(packet: Packet) -> str:
    """Write a packet as one line of a transcript."""
    number = "" if packet.id is None else f" #{packet.id}"
    data = "" if packet.data is None else " " + json.dumps(packet.data, sort_keys=True, default=_hex)
    return f"{packet.name} {packet.namespace}{number}{data}"


def _hex(value: bytes) -> str:
    return f"bytes:{value.hex()}"
