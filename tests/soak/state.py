"""What a server holds, before and after: when all clients have left, nothing of them is there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from support.servers import Server

NOTHING_OF = (
    "sessions",
    "clients",
    "rooms",
    "timed",
    "acks",
    "unfinished",
    "pending_bytes",
    "outbox_bytes",
    "farewells",
)
"""What must be zero without clients."""

MB = 1_000_000
WORKERS = 8
"""Threads or greenlets that a pool may have gained: it adds and drops them as it likes, and keeps 100 greenlets."""
KEPT_GREENLETS = 100
MORE_DESCRIPTORS = 2
"""A message queue may have one connection more or less."""
MORE_BLOCKS = 30_000
"""Blocks of Python's memory, 1 to 3 MB: caches, and what frees itself later."""
MORE_MALLOC_BYTES = 2 * MB
"""What is larger than such a block."""
MORE_RESIDENT_BYTES = 16 * MB
"""What the C library keeps of what was in use at some time."""
POOLED = ("_Worker", "greenlet")
MORE_OBJECTS = {"socket": 5, "Timer": 10}
"""kafka-python keeps some sockets that it has closed, however often its broker restarts; an event loop keeps a timer
that was cancelled until its time has come."""


@dataclass(frozen=True, slots=True)
class State:
    """A reading of a server.

    :param held: what the engine, the cluster and the process hold.
    :param objects: of some classes, by their names; empty if they were not counted.
    """

    held: dict[str, Any]
    objects: dict[str, int]

    @property
    def health(self) -> dict[str, Any]:
        """How the server's connection to the message queue is."""
        health: dict[str, Any] = self.held["health"]
        return health

    @property
    def losses(self) -> list[int | None]:
        """Of each gap so far, how many messages the application was told are lost."""
        losses: list[int | None] = self.held["gaps"]
        return losses

    @property
    def timeouts(self) -> int:
        """How many calls to clients were not answered in time."""
        count: int = self.held["counts"].get("timeouts", 0)
        return count

    @property
    def left(self) -> list[str]:
        """What is there that only clients need."""
        return [f"{name}: {self.held[name]}" for name in NOTHING_OF if self.held[name]]


def read(server: Server, *, objects: bool = False) -> State:
    """Look into a server.

    :param objects: count objects, too, which stops it for a moment.
    """
    answer = server.get("/state?objects" if objects else "/state", timeout_s=60)
    if answer.status != 200:
        raise AssertionError(
            f"/state was answered {answer.status}; the log ends:\n{server.log_text()[-3000:]}"
        )
    held: dict[str, Any] = json.loads(answer.body)
    return State(held, held.pop("objects", {}))


def growth(start: State, end: State) -> list[str]:
    """Return what there is more of, without clients, than at the start, beyond what is allowed."""
    return [
        *end.left,
        *_beyond(start.objects, end.objects, _allowed_objects(end.objects)),
        *_beyond(
            start.held,
            end.held,
            {
                "threads": WORKERS,
                "descriptors": MORE_DESCRIPTORS,
                "blocks": MORE_BLOCKS,
                "malloc_bytes": MORE_MALLOC_BYTES,
                "resident_bytes": MORE_RESIDENT_BYTES,
            },
        ),
    ]


def _allowed_objects(objects: Mapping[str, int]) -> dict[str, int]:
    return {name: KEPT_GREENLETS if name in POOLED else MORE_OBJECTS.get(name, 0) for name in objects}


def _beyond(start: Mapping[str, int], end: Mapping[str, int], allowed: Mapping[str, int]) -> Iterable[str]:
    for name, more in allowed.items():
        if end[name] > start[name] + more:
            yield f"{name}: {end[name]} after {start[name]}"
