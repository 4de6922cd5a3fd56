"""What a test asks of a process that emits, be it a server (see ``apps/cluster.py``) or a process that only sends."""

from __future__ import annotations

import ast
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from support.servers import Server

#: Seconds between two messages of traffic.
TRAFFIC_PAUSE_S = 0.01
_OF_THE_SERVER = ("enter_room", "leave_room", "disconnect")


class Operator:
    """Carry out operations by name, on a ``SocketIO`` object of either library.

    Those of ``SocketIO`` and of its ``server`` have their own names; the others are methods here.
    """

    def __init__(self, socketio: Any) -> None:
        self._socketio = socketio
        self._answers: list[Any] = []
        self._traffic: Traffic | None = None

    def do(self, name: str, *args: Any, **keywords: Any) -> Any:
        """Carry out one operation and return its result."""
        owner: Any = self._socketio
        if hasattr(self, name):
            owner = self
        elif name in _OF_THE_SERVER:
            owner = owner.server
        return getattr(owner, name)(*args, **keywords)

    def ask(self, event: str, *args: Any, to: str) -> None:
        """Emit with a callback; what it is called with is kept for :meth:`answers`."""
        self._socketio.emit(event, *args, to=to, callback=lambda *answer: self._answers.append(answer))

    def answers(self) -> list[Any]:
        """Return what the callbacks of :meth:`ask` were called with."""
        return list(self._answers)

    def ask_servers(self, topic: str, *args: Any, **keywords: Any) -> dict[str, Any]:
        """Ask the servers, and return their answers by id, and whether all have answered."""
        outcome = self._socketio.ask_servers(topic, *args, **keywords)
        return {**outcome.answers, **outcome.errors, "complete": outcome.complete}

    def ask_clients(self, event: str, *args: Any, **keywords: Any) -> tuple[dict[str, Any], dict[str, str]]:
        """Call clients, and return their answers, and who is missing."""
        found = self._socketio.call_all(event, *args, **keywords)
        assert not found.servers and not found.cut_off, found
        return dict(found.answers), dict(found.missing)

    def tell_servers(self, topic: str, *args: Any) -> str:
        """Tell the other servers something and our id, which is returned."""
        node: str = self._socketio.servers.node
        self._socketio.tell_servers(topic, *args, node)
        return node

    def who(self, **keywords: Any) -> list[tuple[Any, ...]]:
        """Return the sid, transport, address and rooms of clients, and nothing at all if a server is missing."""
        found = self._socketio.who(**keywords)
        return [(one.sid, one.transport, one.address, one.rooms) for one in found if found.complete]

    def count_rooms(self, **keywords: Any) -> dict[str, int]:
        """Return how many clients are in each room, and nothing at all if a server is missing."""
        found = self._socketio.count_rooms(**keywords)
        return dict(found) if found.complete else {}

    def pour(self, event: str, count: int, to: str) -> None:
        """Emit so many numbered messages one right after the other."""
        for number in range(count):
            self._socketio.emit(event, number, to=to)

    def begin_traffic(self, event: str, to: str | None = None) -> None:
        """Emit numbered messages at a steady pace from a background task."""
        self._traffic = Traffic(self._socketio, event, to)
        self._socketio.start_background_task(self._traffic.run)

    def end_traffic(self) -> tuple[int, float]:
        """Return how many messages were emitted, and the seconds that the slowest emit took."""
        assert self._traffic is not None
        return self._traffic.end()


class Traffic:
    """Numbered messages, until told to stop."""

    def __init__(self, socketio: Any, event: str, to: str | None) -> None:
        self._socketio = socketio
        self._event = event
        self._to = to
        self._count = 0
        self._slowest_s = 0.0
        self._wanted = True
        self._ended = False

    def run(self) -> None:
        while self._wanted:
            started = time.monotonic()
            self._socketio.emit(self._event, self._count, to=self._to)
            self._slowest_s = max(self._slowest_s, time.monotonic() - started)
            self._count += 1
            self._socketio.sleep(TRAFFIC_PAUSE_S)
        self._ended = True

    def end(self) -> tuple[int, float]:
        self._wanted = False
        deadline = time.monotonic() + 30
        while not self._ended:
            assert time.monotonic() < deadline, "an emit does not return"
            self._socketio.sleep(TRAFFIC_PAUSE_S)
        return self._count, self._slowest_s


class Remote:
    """The operator of a server process.

    :param server: it serves ``support.apps.cluster``.
    """

    def __init__(self, server: Server) -> None:
        self._server = server

    def do(self, name: str, *args: Any, **keywords: Any) -> Any:
        """Carry out one operation there and return its result."""
        answer = self._server.post("/do", repr((name, args, keywords)), timeout_s=120)
        assert answer.status == 200, (name, answer.body, self._server.log_text()[-4000:])
        return ast.literal_eval(answer.body.decode())
