"""Real servers in processes of their own, a process that only sends, and real clients."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flask_socketio_core import SocketIO
from support.clients import python_client
from support.nodes import Bus, wait_until
from support.operations import Operator, Remote
from support.servers import AppSpec, Server, ServerKind, serving

OUTSIDE = "outside"
#: A room that every client is in.
EVERYONE = "everyone"


class Person:
    """A real client that notes what it hears and answers questions."""

    def __init__(self, server: Server, *rooms: str, user: str | None = None) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self.has_left = False
        self.client = python_client()
        self._sockets: list[Any] = []
        self.client.on("connect", lambda: self._sockets.append(self.client.eio.ws))
        self.client.on("question", lambda *args: ("answer", *args))
        self.client.on("*", lambda *event: self.heard.append(event))
        self.client.on("disconnect", self._leave)
        auth = user and {"user": user}
        self.client.reconnection = user is None  # who is let in no longer would try again
        self.client.connect(server.url, auth=auth, transports=["websocket"], wait_timeout=10)
        self.client.call("join", (EVERYONE, *rooms), timeout=10)

    @property
    def sid(self) -> str:
        sid: str = self.client.get_sid()
        return sid

    def numbers(self, event: str) -> list[Any]:
        """Return the first argument of each event of a name."""
        return [item[1] for item in list(self.heard) if item[0] == event]

    def close(self) -> None:
        self.client.shutdown()
        for socket in self._sockets:
            socket.shutdown()  # python-engineio leaves it open when the server has closed the connection

    def _leave(self, *_reason: object) -> None:
        self.has_left = True


@dataclass(frozen=True, slots=True)
class Sent:
    """What a sender did: how many numbers it emitted, from 0 on, and how long the slowest emit took."""

    count: int
    slowest_s: float


class Stage:
    """One server of each kind and a process that only sends, all on one channel.

    :ivar servers: by the name of their kind.
    :ivar people: one client per server, by the same name.
    :ivar senders: what operates each server, and under ``OUTSIDE`` the process that only sends.
    """

    def __init__(self, outside: SocketIO) -> None:
        self.servers: dict[str, Server] = {}
        self.people: dict[str, Person] = {}
        self.senders: dict[str, Remote | Operator] = {OUTSIDE: Operator(outside)}
        self._busy: dict[str, Remote | Operator] = {}
        self._marks = 0

    def add(self, name: str, server: Server) -> Person:
        """Take one more server and a client of it into the play."""
        self.people[name] = person = Person(server)
        self.servers[name], self.senders[name] = server, Remote(server)
        return person

    def begin_traffic(self) -> None:
        """Let each sender tell everyone numbers, in events of its own name; what was heard before is forgotten."""
        for person in self.people.values():
            person.heard.clear()
        self._busy = dict(self.senders)
        for name, sender in self._busy.items():
            sender.do("begin_traffic", name, to=EVERYONE)

    def end_traffic(self) -> dict[str, Sent]:
        """Return what became of it, by sender."""
        return {name: Sent(*sender.do("end_traffic")) for name, sender in self._busy.items()}

    def health(self, name: str) -> dict[str, Any]:
        """Return what a server says of its connection to the others."""
        state: dict[str, Any] = json.loads(self.servers[name].get("/health").body)
        return state

    def wait_sent(self, name: str) -> None:
        """Wait until nothing of a server waits for the broker."""
        wait_until(lambda: not self.health(name)["waiting"], f"empty buffer of {name}")

    def become_one(self, timeout_s: float = 15) -> None:
        """Wait until everybody is heard by everybody: a server joins at its first request."""
        unheard = dict(self.senders)

        def heard(name: str) -> bool:
            self._marks += 1
            event = f"are you there {self._marks}"
            self.senders[name].do("emit", event)
            with contextlib.suppress(AssertionError):
                self._wait_for(event, 1, timeout_s=0.3)
                return True
            return False

        def nobody_is_left() -> bool:
            for name in [name for name in unheard if heard(name)]:
                del unheard[name]
            return not unheard

        wait_until(nobody_is_left, "server that hears everybody", timeout_s)

    def settle(self, *rooms: str) -> None:
        """Return when everybody has heard all that was sent to these rooms until now.

        The marks travel behind it, also where order is kept by the first room only.
        """
        self._marks += 1
        event = f"mark {self._marks}"
        for sender in self.senders.values():
            for room in rooms or (EVERYONE,):
                sender.do("emit", event, to=[room, EVERYONE])
        self._wait_for(event, len(self.senders) * max(len(rooms), 1))

    def heard(self, *events: str) -> dict[str, list[tuple[Any, ...]]]:
        """Return by name of the client what it heard of some events, sorted."""
        return {
            name: sorted((item for item in list(person.heard) if item[0] in events), key=repr)
            for name, person in self.people.items()
        }

    def _wait_for(self, event: str, count: int, timeout_s: float = 15) -> None:
        for name, person in self.people.items():
            wait_until(
                lambda person=person: len([item for item in person.heard if item[0] == event]) >= count,  # type: ignore[misc]
                f"{event!r} at the client of {name}",
                timeout_s,
            )


@contextlib.contextmanager
def playing(
    bus: Bus,
    kinds: Sequence[ServerKind],
    directory: Path,
    *,
    address: Callable[[int], str] = lambda number: "",
) -> Iterator[Stage]:
    """Set the stage.

    :param address: the broker's URL for the server of a number, where it is not the bus's.
    """
    with contextlib.ExitStack() as stack:
        stage = Stage(stack.enter_context(emitting(bus)))
        for number, kind in enumerate(kinds):
            server = stack.enter_context(serving(kind, cluster_app(bus, address(number)), directory))
            stack.callback(stage.add(kind.name, server).close)
        stage.become_one()
        yield stage


@contextlib.contextmanager
def emitting(bus: Bus) -> Iterator[SocketIO]:
    """Make a process that only sends, or rather one's object."""
    socketio = SocketIO(message_queue=bus.url, channel=bus.channel, async_mode="threading")
    yield socketio
    socketio.close()


def cluster_app(bus: Bus, url: str = "") -> AppSpec:
    """Return the application that a server of the cluster serves."""
    options = {
        "message_queue": url or bus.url,
        "channel": bus.channel,
        "message_queue_options": {"heartbeat_interval_s": 0.5},
        # python-socketio's client leaves when it had nothing to answer for 5 s more than the longer of the two.
        "ping_interval": 5,
        "ping_timeout": 30,
    }
    return AppSpec(app="cluster", options=options)


def available(*kinds: ServerKind) -> list[ServerKind]:
    """Return the kinds of servers that can run here; the test is skipped without any."""
    found = [kind for kind in kinds if kind.missing() is None]
    if not found:
        pytest.skip("; ".join(str(kind.missing()) for kind in kinds))
    return found
