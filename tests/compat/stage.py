"""Plays an act against one server and writes the transcript down in a form that two libraries can agree on."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, overload

from support.servers import Server
from support.wire.engine import Closed
from support.wire.packets import ACK, BINARY_ACK, BINARY_EVENT, CONNECT, EVENT, Packet
from support.wire.recorder import Recorder, describe

_plays = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Transcript:
    """What happened in an act, with session ids replaced by the names of their owners.

    :param clients: for each client by name, one line per packet, in order.
    :param journal: what the handlers noted, in order.
    :param notes: what the act itself looked at.
    """

    clients: dict[str, list[str]] = field(default_factory=dict)
    journal: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Stage:
    """One server and the clients of one act.

    :param path: where the server serves Socket.IO.
    """

    def __init__(self, server: Server, *, path: str = "/socket.io/") -> None:
        self.server = server
        self.tag = f"act{next(_plays)}"
        self._path = path
        self._clients: dict[str, Recorder] = {}
        self._notes: list[Any] = []

    def client(
        self,
        name: str = "A",
        *,
        transport: str = "websocket",
        connect: str | None = "/",
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Recorder:
        """Add a client.

        :param connect: namespace to connect to at once, without auth; ``None`` for none.
        """
        client = Recorder(
            self.server.port,
            transport=transport,
            path=self._path,
            query={"who": f"{self.tag}-{name}", **(query or {})},
            headers=headers,
        )
        self._clients[name] = client
        if connect is not None:
            client.connect(connect)
        return client

    def room(self, name: str) -> str:
        """Make a room name that no other act uses; the transcript shows it without the tag."""
        return f"{name} of {self.tag}"

    def note(self, value: Any) -> None:
        """Put something that the act looked at into the transcript."""
        self._notes.append(value)

    def settle(self, *, namespace: str = "/") -> None:
        """Read what was sent to every client that is in a namespace."""
        for client in self._clients.values():
            if namespace in client.sids and not client.closed:
                with contextlib.suppress(Closed):
                    client.fence(namespace)

    def wait(self, *names: str) -> None:
        """Wait until the handlers of this act noted these names."""
        self.server.wait_journal(*names)

    def transcript(self) -> Transcript:
        """Return what happened so far."""
        mine = [
            entry
            for entry in self.server.journal()
            # Every client of an act says who it is; one that does not has been left over by another test.
            if entry[1].startswith(f"{self.tag}-")
            or (entry[1] == "" and "disconnect" not in (entry[0], *entry[2:]))
        ]
        return Transcript(
            clients={
                name: [self._plain(line) for line in _lines(c.packets)] for name, c in self._clients.items()
            },
            journal=[self._plain(json.dumps(entry, sort_keys=True)) for entry in mine],
            notes=[self._plain(json.dumps(value, sort_keys=True)) for value in self._notes],
        )

    def close(self) -> None:
        """Drop all clients."""
        for client in self._clients.values():
            with contextlib.suppress(OSError, Closed):
                client.abort()

    def _plain(self, text: str) -> str:
        for name, client in self._clients.items():
            text = text.replace(client.engine_sid, f"<engine {name}>")
            for number, (namespace, sid) in enumerate(client.all_sids):
                text = text.replace(sid, f"<{name} in {namespace}, {number}>")
        return text.replace(f" of {self.tag}", "").replace(f"{self.tag}-", "")


def _lines(received: list[Packet]) -> Iterator[str]:
    """Describe packets; the server's ack ids are opaque, so they are numbered in the order they appear."""
    ids: dict[int, int] = {}
    for packet in received:
        if packet.id is not None and packet.type in (EVENT, BINARY_EVENT):
            ids.setdefault(packet.id, len(ids) + 1)
            yield describe(
                Packet(type=packet.type, namespace=packet.namespace, id=ids[packet.id], data=packet.data)
            )
        elif packet.type in (ACK, BINARY_ACK):
            yield describe(packet)
        elif packet.type == CONNECT:
            yield describe(Packet(type=CONNECT, namespace=packet.namespace, data=packet.data))
        else:
            yield describe(packet)


Play = Callable[[Stage], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One small scenario.

    :param variant: name of the server variant it needs, a key of :data:`VARIANTS`.
    :param play: what the clients do.
    """

    name: str
    variant: str
    play: Play


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One set-up of the scenario application."""

    options: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    path: str = "/socket.io/"


#: The set-ups of the scenario application, each a server of its own.
VARIANTS: dict[str, Variant] = {
    "default": Variant(),
    "always connect": Variant(options={"always_connect": True}),
    "in order": Variant(options={"async_handlers": False}),
    "no default error handler": Variant(settings={"default_error_handler": False}),
    "any namespace": Variant(options={"namespaces": "*"}, settings={"catch_all_namespace": True}),
    "flask sessions": Variant(options={"manage_session": False}),
    "server-side sessions": Variant(options={"manage_session": False}, settings={"sessions": "server-side"}),
    "factory": Variant(
        options={"path": "/ws/io", "cookie": "io"}, settings={"factory": True}, path="/ws/io/"
    ),
    "custom json": Variant(settings={"json": "custom"}),
    "short pings": Variant(options={"ping_interval": 0.2, "ping_timeout": 0.3}),
}

ACTS: list[Act] = []


@overload
def act(play: Play) -> Play: ...
@overload
def act(*, variant: str) -> Callable[[Play], Play]: ...
def act(play: Play | None = None, *, variant: str = "default") -> Play | Callable[[Play], Play]:
    """Register a function as an act; usable with and without arguments."""

    def register(function: Play) -> Play:
        assert variant in VARIANTS, f"no such variant: {variant}"
        ACTS.append(Act(name=function.__name__, variant=variant, play=function))
        return function

    return register if play is None else register(play)
