"""What the servers of an application know of their clients together, as far as they have answered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

__all__ = ["ClientInfo", "Clients", "Count", "RoomCounts"]

_FoundT = TypeVar("_FoundT", bound="_Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientInfo:
    """One client on one namespace, as its server tells of it.

    :param rooms: its rooms, without that of its own sid.
    :param user: its ``user``.
    :param data: its ``data``; ``None`` if that cannot be told, which its server has logged.
    :param transport: ``"polling"`` or ``"websocket"``.
    :param address: the WSGI server's ``REMOTE_ADDR``, or the one that ``ProxyFix`` has put in its place.
    :param connected_at: when it asked to join the namespace, seconds since the epoch by its server's clock.
    :param node: id of its server.
    """

    sid: str
    namespace: str
    rooms: tuple[Any, ...]
    user: str | None
    data: dict[str, Any] | None
    transport: str
    address: str | None
    connected_at: float
    node: str


class _Found:
    missing: Mapping[str, str] = MappingProxyType({})
    """Servers whose clients are not in it, or not all of them, by id: ``"silent"``, ``"left"``, ``"unable"`` (an older
    version), or in one line what went wrong there."""

    cut_off: bool = False
    """Whether this process did not hear the others, so that there may be some that it does not know."""

    @property
    def complete(self) -> bool:
        """Whether every server that is there has answered, as far as can be known.

        Processes of python-socketio do not say that they are there, and their clients are not in it.
        """
        return not (self.missing or self.cut_off)

    def noting(self: _FoundT, missing: Mapping[str, str], *, cut_off: bool) -> _FoundT:
        """Say of whom it is not; returns itself."""
        self.missing, self.cut_off = MappingProxyType(dict(missing)), cut_off
        return self


class Count(_Found, int):
    """How many there are: a number like any other, that also says whether somebody is missing from it."""

    by_node: Mapping[str, int] = MappingProxyType({})
    """How many of them are at each server that has answered, by its id."""

    @classmethod
    def of(cls, by_node: Mapping[str, int]) -> Count:
        """Return the sum."""
        count = cls(sum(by_node.values()))
        count.by_node = MappingProxyType(dict(by_node))
        return count


class Clients(_Found, tuple[ClientInfo, ...]):
    """Clients in the order of their servers' ids and their sids.

    :ivar next: for ``after=``, to go on behind the last of them; ``None`` if there are no more. What follows a full
        page may be an empty one.
    """

    next: str | None = None

    @classmethod
    def of(cls, clients: Iterable[ClientInfo], following: str | None) -> Clients:
        """Return a page of them."""
        page = cls(clients)
        page.next = following
        return page


class RoomCounts(_Found, dict[Any, int]):
    """How many clients are in each room that has some, by its name."""
