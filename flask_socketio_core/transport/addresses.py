"""How many connections and handshakes the clients of one address may have. Clock passed in, no I/O.

An address is the WSGI server's ``REMOTE_ADDR``, or the one that ``ProxyFix`` has put in its place. Of IPv6 the first 64
bits count: a client that has one address there has all of the rest.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..contracts.clients import address_of
from .bucket import TokenBucket

if TYPE_CHECKING:
    from ..contracts import Lock

PER_S = 1 / 60
"""Handshakes are counted per minute."""

RETRY_S = 10
"""When to try again if an address has its connections, seconds: some of them may have left."""

MOST_ADDRESSES = 10_000
"""So many addresses have their handshakes counted: those that came last, about 3 MB."""


class TooMany(Exception):
    """An address has what it may have.

    :param text: says what, with the option's name.
    :param kind: of connections or handshakes.
    :param retry_s: when to try again, seconds.
    """

    def __init__(self, text: str, kind: str, retry_s: int) -> None:
        super().__init__(text)
        self.kind = kind
        self.retry_s = retry_s


class Place:
    """What one connection takes of its address's share."""

    __slots__ = ("_addresses", "address", "left")

    def __init__(self, addresses: Addresses, address: str) -> None:
        self._addresses = addresses
        self.address = address
        self.left = False

    def leave(self) -> None:
        """Give it back; a second time nothing happens."""
        self._addresses.give_back(self)


class Addresses:
    """The count of a process. Thread-safe.

    :param lock: guards the counts, for a few instructions.
    :param clock: monotonic clock, seconds.
    :param most_connections: of one address; ``None`` for any number.
    :param most_handshakes: of one address per minute, and so many at once; ``None`` for any number.
    """

    def __init__(
        self,
        lock: Lock,
        clock: Callable[[], float],
        most_connections: int | None,
        most_handshakes: int | None,
    ) -> None:
        self._lock = lock
        self._clock = clock
        self._most_connections = most_connections
        self._most_handshakes = most_handshakes
        self._connections: Counter[str] = Counter()
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def check_handshake(self, environ: Mapping[str, Any]) -> None:
        """Count a handshake.

        :raises TooMany: if there were too many before.
        """
        most = self._most_handshakes
        if most is None or (address := address_of(environ)) is None:
            return
        now_s = self._clock()
        with self._lock:
            bucket = self._buckets.get(address)
            if bucket is None:
                bucket = self._buckets[address] = TokenBucket(most * PER_S, most, now_s)
                if len(self._buckets) > MOST_ADDRESSES:
                    self._buckets.popitem(last=False)
            self._buckets.move_to_end(address)
            wait_s = bucket.wait_s(now_s)
            if not wait_s:
                bucket.take(1, now_s)
                return
        text = f"too many handshakes of one address, the server allows {most} per minute (max_handshakes_per_address)"
        raise TooMany(text, "handshakes", math.ceil(wait_s))

    def enter(self, environ: Mapping[str, Any]) -> Place | None:
        """Count a connection, until its place is left; ``None`` if it is not counted.

        :raises TooMany: if there are too many.
        """
        most = self._most_connections
        if most is None or (address := address_of(environ)) is None:
            return None
        with self._lock:
            if self._connections[address] < most:
                self._connections[address] += 1
                return Place(self, address)
        text = f"too many connections of one address, the server allows {most} (max_connections_per_address)"
        raise TooMany(text, "connections", RETRY_S)

    def give_back(self, place: Place) -> None:
        """Count a connection no longer."""
        with self._lock:
            if place.left:
                return
            place.left = True
            self._connections[place.address] -= 1
            if not self._connections[place.address]:
                del self._connections[place.address]
