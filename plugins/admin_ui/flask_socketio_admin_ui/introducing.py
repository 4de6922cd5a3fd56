"""What the pages of one server are told first in development mode, all clients of all servers, and in which order.

What happens while the servers are asked is told after that, so that nobody who has left meanwhile stays in the list.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask_socketio_core.contracts.servers import Servers

    from .showing import Told

ASK_S = 5.0
COUNTED_S = 6.0
"""Seconds within which each server has told how many it has; before that there may seem to be few."""
AGAIN = 0.9
"""Share of the most clients at which all are shown again, after there were too many; else it could flap."""


class Introducing:
    """Tell the pages of this server who is there.

    :param topic: on which servers answer with a part of their clients.
    :param most: most clients that are shown.
    :param tell: tells the pages.
    :param on_crowd: called when there are too many to show, or no longer.
    """

    def __init__(
        self,
        servers: Servers,
        topic: str,
        most: int,
        tell: Callable[[Told], None],
        on_crowd: Callable[[], None],
    ) -> None:
        self._servers = servers
        self._topic = topic
        self._most = most
        self._tell = tell
        self._on_crowd = on_crowd
        self._lock = threading.Lock()
        self._asking = self._again = False
        self._held: Told = []
        self._counts: dict[str, int] = {}
        self._again_at_s = 0.0
        self.crowded = False

    def begin(self) -> bool:
        """Return whether the caller is to :meth:`run` it, in a task; if that is going on, it is done once more."""
        with self._lock:
            self._again = self._asking
            if self._asking:
                return False
            self._asking = True
            return True

    def run(self) -> None:
        """Ask the servers, tell the pages, and then what has happened meanwhile."""
        try:
            sockets = self._all()
        except BaseException:
            self._end(())
            raise
        if len(sockets) > self._most:
            self._end(())
            self._set_crowded(True)
            return
        self._tell([["all_sockets", sockets]])
        self._end(sockets)

    def _end(self, sockets: Any) -> None:
        there = {(socket["nsp"], room, socket["id"]) for socket in sockets for room in socket["rooms"]}
        while True:
            with self._lock:
                held, self._held = self._held, []
                self._asking = bool(held)
            if not held:
                return
            # The page would have a client twice in a room that it has entered meanwhile.
            self._tell([each for each in held if each[0] != "room_joined" or tuple(each[1:4]) not in there])

    def takes_again(self) -> bool:
        """Return whether it is to be done once more."""
        with self._lock:
            again, self._again = self._again, False
        return again

    def _all(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        answers = self._servers.ask(self._topic, {"sockets": None}, timeout_s=ASK_S).answers
        for gone in self._counts.keys() - answers.keys():
            self.forget(gone)
        for node, answer in answers.items():
            found += answer["sockets"]
            while answer["next"] is not None and len(found) <= self._most:
                one = self._servers.ask(self._topic, {"sockets": answer["next"]}, timeout_s=ASK_S, node=node)
                if node not in one.answers:
                    break
                answer = one.answers[node]
                found += answer["sockets"]
        return found

    def tell(self, told: Told) -> None:
        """Tell the pages what has happened, in its turn."""
        with self._lock:
            if self._asking:
                self._held += [each for each in told if each[0] != "server_stats"]
                told = [each for each in told if each[0] == "server_stats"]
        self._tell(told)

    def count(self, node: str, stats: dict[str, Any]) -> None:
        """Note how many clients a server has, by what it tells, and whether all together are too many."""
        self._counts[node] = sum(each["socketsCount"] for each in stats["namespaces"])
        number = sum(self._counts.values())
        if number > self._most:
            self._set_crowded(True)
        elif number <= self._most * AGAIN and time.monotonic() >= self._again_at_s:
            self._set_crowded(False)

    def forget(self, node: str) -> None:
        """Note that a server is there no longer."""
        self._counts.pop(node, None)

    def _set_crowded(self, crowded: bool) -> None:
        if crowded != self.crowded:
            self.crowded = crowded
            self._again_at_s = time.monotonic() + COUNTED_S
            self._on_crowd()
