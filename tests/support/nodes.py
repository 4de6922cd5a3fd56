"""Servers of one cluster inside the test process: the real engine and the real queue, and no sockets to clients."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from socketio.packet import Packet

from flask_socketio_core.cluster.clients import ClientsHere, Finding
from flask_socketio_core.cluster.cluster import Cluster
from flask_socketio_core.cluster.gaps import Gap
from flask_socketio_core.cluster.servers import ApplicationServers
from flask_socketio_core.cluster.topics import CLIENTS, Topics
from flask_socketio_core.common import options
from flask_socketio_core.contracts import MessageQueue
from flask_socketio_core.contracts.servers import Servers
from flask_socketio_core.server.server import Server
from flask_socketio_core.testing.threads import ThreadMode

from .engine import RecordingApplication, WokenTransport

#: Seconds after which something that has to happen did not.
PATIENCE_S = 15.0


def wait_until(
    condition: Callable[[], object], what: str | Callable[[], str], timeout_s: float = PATIENCE_S
) -> None:
    """Return when a condition holds.

    :param what: what is waited for, for the text of the failure; or what tells it at that time.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"no {what if isinstance(what, str) else what()} within {timeout_s:g} s")
        time.sleep(0.005)


@dataclass(frozen=True)
class Bus:
    """A queue and where it is.

    :param kind: name of the kind of queue, where tests are parametrised by it.
    """

    queue_class: type[MessageQueue]
    url: str
    channel: str
    options: dict[str, Any] = field(default_factory=dict)
    kind: str = ""


class Member:
    """A client of a node, with what it received. It acknowledges what asks for it with ``answer``."""

    def __init__(self, node: Node, namespace: str) -> None:
        self.namespace = namespace
        self.answer: tuple[Any, ...] | None = ("ok",)
        self.events: list[list[Any]] = []
        self.left = False
        self._transport = WokenTransport()
        self._session = node.server.eio.add_session({}, self._transport)
        self._partial: Any = None
        self._session.receive("40" if namespace == "/" else f"40{namespace},")
        self.sid = ""
        wait_until(self._joined, "welcome")

    def _joined(self) -> bool:
        self.receive()
        return bool(self.sid)

    def receive(self) -> list[list[Any]]:
        """Take what has arrived and return all events so far."""
        for packet in self._session.take_packets(self._transport):
            if isinstance(packet, bytes):
                if self._partial.add_attachment(packet):
                    self._take(self._partial)
            elif packet == "2":
                self._session.receive("3")
            elif packet.startswith("4"):
                decoded = Packet(encoded_packet=packet[1:])
                if decoded.attachment_count:
                    self._partial = decoded
                else:
                    self._take(decoded)
        return self.events

    def _take(self, packet: Any) -> None:
        if packet.packet_type == 0:
            self.sid = packet.data["sid"]
        elif packet.packet_type == 1:
            self.left = True
        elif packet.packet_type in (2, 5):
            self.events.append(packet.data)
            if packet.id is not None and self.answer is not None:
                space = "" if self.namespace == "/" else f"{self.namespace},"
                self._session.receive(f"43{space}{packet.id}{json.dumps(list(self.answer))}")

    def wait_for(self, count: int, timeout_s: float = PATIENCE_S) -> list[list[Any]]:
        """Wait for that many events and return all of them."""
        wait_until(
            lambda: len(self.receive()) >= count,
            lambda: f"{count} events at {self.sid}, only {len(self.events)} came",
            timeout_s,
        )
        return self.events

    def leave(self) -> None:
        """Close the connection from the client's side."""
        self._session.receive("41")


class Node:
    """One server of the cluster.

    :param recovery: for how long clients may be away, seconds.
    """

    def __init__(self, bus: Bus, *, recovery: float | None = None, **options_: Any) -> None:
        self.bus = bus
        self.mode = ThreadMode()
        self.states: list[tuple[bool, str]] = []
        self.gaps: list[Gap] = []
        self.told_servers: list[tuple[str, bool]] = []
        self.application = RecordingApplication()
        self.server = Server(self.application, options.build({"recovery": recovery}), self.mode)
        topics = Topics()
        self.here = ClientsHere(self.server, lambda: self.cluster.node)
        self._topics = topics
        self.servers: Servers = ApplicationServers(topics, lambda: self.cluster)
        self.cluster = Cluster(
            bus.queue_class,
            bus.url,
            bus.channel,
            mode=self.mode,
            options={"heartbeat_interval_s": 0.5, **bus.options, **options_},
            server=self.server,
            on_state=lambda up, detail: self.states.append((up, detail)),
            on_gap=self.gaps.append,
            on_server=lambda node, up: self.told_servers.append((node, up)),
            topics=topics,
        )

        if self.server.recoveries is not None:
            self.cluster.recover(self.server.recoveries)
        self.finding = Finding(self.cluster, self.here)

    def tell_of_clients(self) -> Node:
        """Answer what others ask about the clients of this node."""
        self._topics.add(CLIENTS, lambda payload, node: self.here.answer(payload))
        return self

    def start(self, *, wait: bool = True) -> Node:
        """Join the cluster, and wait until this node hears itself."""
        self.cluster.start()
        if wait:
            wait_until(lambda: self.cluster.health().lag_s is not None, "own heartbeat")
        return self

    def connect(self, namespace: str = "/") -> Member:
        """Connect a client."""
        return Member(self, namespace)

    def has_peer(self) -> bool:
        """Say whether this node knows another one."""
        return bool(self.cluster.health().peers)

    def close(self) -> None:
        self.cluster.close(timeout_s=1.0)
        self.server.shutdown(0.1)


def in_threads(work: Callable[[int], object], count: int = 4) -> None:
    """Do something in several threads at once, each with its number, and return when all have done it."""
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def emitter(bus: Bus, **options_: Any) -> Cluster:
    """Return a process that only sends."""
    return Cluster(
        bus.queue_class, bus.url, bus.channel, mode=ThreadMode(), options={**bus.options, **options_}
    )
