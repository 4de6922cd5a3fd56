"""What the page is told of one server every two seconds."""

from __future__ import annotations

import os
import platform
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask_socketio_core import SocketIO


class Happened:
    """How often things happened in each second, until they are told.

    :param clock: seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: Counter[tuple[int, str, str | None]] = Counter()

    def note(self, kind: str, sub_kind: str | None = None, count: int = 1) -> None:
        """Count something."""
        key = int(self._clock()) * 1000, kind, sub_kind
        with self._lock:
            self._counts[key] += count

    def take(self) -> list[dict[str, Any]]:
        """Return what the page calls aggregated events, since the last time."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
        return [
            {"timestamp": at, "type": kind, "count": count} | ({"subType": sub_kind} if sub_kind else {})
            for (at, kind, sub_kind), count in counts.items()
        ]


class Stats:
    """Figures of this process.

    :param namespace: of the page.
    :param show_admins: count the page's own connections.
    """

    def __init__(self, socketio: SocketIO, namespace: str, *, show_admins: bool) -> None:
        self._socketio = socketio
        self._namespace = namespace
        self._show_admins = show_admins
        self._since_s = time.monotonic()
        self.happened = Happened()

    def read(self) -> dict[str, Any]:
        """Return them, with what has happened since the last time."""
        load = self._socketio.load()
        connections, clients = dict(load.connections), {"/": 0, **load.clients}
        if not self._show_admins:
            clients.pop(self._namespace, None)
            for transport in self._admins():
                connections[transport] = max(connections.get(transport, 0) - 1, 0)
        return {
            "serverId": self._socketio.servers.node,
            "hostname": platform.node(),
            "pid": os.getpid(),
            "uptime": time.monotonic() - self._since_s,
            "clientsCount": sum(connections.values()),
            "pollingClientsCount": connections.get("polling", 0),
            "aggregatedEvents": self.happened.take(),
            "namespaces": [{"name": name, "socketsCount": count} for name, count in sorted(clients.items())],
        }

    def _admins(self) -> list[str]:
        """Return the transports of pages, each of which has a connection for itself."""
        server = self._socketio.server
        found = []
        for sid, _ in list(server.manager.get_participants(self._namespace, None)):
            try:
                found.append(server.transport(sid, self._namespace))
            except KeyError:
                continue  # it has left
        return found
