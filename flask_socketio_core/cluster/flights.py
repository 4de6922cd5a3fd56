"""Events of this server that are on their way: delivered here, perhaps, and not yet numbered for the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..contracts import AsyncMode

POLL_S = 0.001


class Flight:
    """One event; its number is known once it has its place among the messages to the other servers.

    :ivar node: this server.
    """

    __slots__ = ("node", "seq")

    def __init__(self, node: str) -> None:
        self.node = node
        self.seq: int | None = None


class Flights:
    """The events that are on their way. Thread-safe: adding to a set and taking out of it is atomic."""

    def __init__(self, mode: AsyncMode, clock: Callable[[], float]) -> None:
        self._mode = mode
        self._clock = clock
        self._now: set[Flight] = set()

    def begin(self, node: str) -> Flight:
        """Note an event before it is delivered to anybody."""
        flight = Flight(node)
        self._now.add(flight)
        return flight

    def end(self, flight: Flight) -> None:
        """Note that it was delivered here and has its number."""
        self._now.discard(flight)

    def under_way(self) -> frozenset[Flight]:
        """Return those that have begun and have no number."""
        while True:
            try:
                return frozenset(flight for flight in tuple(self._now) if flight.seq is None)
            except RuntimeError:  # it has changed in the meantime
                continue

    def wait(self, flights: frozenset[Flight], timeout_s: float) -> bool:
        """Wait until some are delivered and have their numbers, or will have none; ``False`` if it takes too long.

        :param timeout_s: how long to wait, seconds.
        """
        until = self._clock() + timeout_s
        while any(flight.seq is None and flight in self._now for flight in flights):
            if self._clock() > until:
                return False
            self._mode.sleep(POLL_S)
        return True
