"""The optional seam of the store: what keeps small values for a while, for all servers of an application."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from ..common import descriptor_rules as rules
from .verdict import PART

if TYPE_CHECKING:
    from .async_mode import AsyncMode

__all__ = [
    "MAX_KEY_BYTES",
    "Position",
    "Store",
    "StoreCapabilities",
    "StoreInfo",
    "Stretch",
]

MAX_KEY_BYTES = 256
"""Longest name of a key or a stream, bytes of UTF-8. The core makes shorter ones of whatever a user chose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCapabilities:
    """What a store guarantees, as named capabilities.

    :param shared: what one process puts, every process with the same URL and channel finds.
    :param durable: what was put survives a restart of what keeps it.
    :param max_value_bytes: largest value in bytes; ``None`` for no limit of its own.
    :param needs_patched: as in :class:`~flask_socketio_core.contracts.QueueCapabilities`.
    """

    shared: bool = True
    durable: bool = False
    max_value_bytes: int | None = None
    needs_patched: tuple[str, ...] = ("socket",)

    def __post_init__(self) -> None:
        rules.check(
            self,
            shared=rules.yes_or_no,
            durable=rules.yes_or_no,
            max_value_bytes=rules.size,
            needs_patched=rules.several(rules.name),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreInfo:
    """Describe one store.

    :param name: short name for the table.
    :param schemes: URL schemes it claims, lower case, without ``://``. A scheme ending in ``+*`` claims a prefix; an
        exact scheme beats it.
    :param load: imports the store and returns its class.
    :param requires: as in :class:`AsyncModeInfo`.
    :param install: the command that installs what is missing.
    :param summary: a few words for the table.
    """

    name: str
    schemes: tuple[str, ...]
    load: Callable[[], type[Store]]
    requires: tuple[str, ...] = ()
    install: str = ""
    summary: str = ""

    def __post_init__(self) -> None:
        rules.check(self, **PART, schemes=rules.several(rules.scheme))
        if not self.schemes:
            rules.refuse(self, "schemes=(): expected at least one URL scheme")


class Position(NamedTuple):
    """Where a value stands in a stream.

    :param epoch: names this life of the stream. A stream that was lost, or of which everything had expired, begins
        another one, so that an old position is never taken for one of new values. One that was restored from an older
        copy goes on in its epoch: who has to know that compares a value, as offsets of a history do.
    :param number: counts the values of the epoch, from 1 and without gaps.
    """

    epoch: str
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """What was read of a stream: values that follow each other without gaps.

    :param epoch: that of the stream; empty if there is no stream.
    :param first: number of the first value here, or that which the next value would have.
    :param values: in the order in which they were appended.
    :param top: number of the newest value of the stream; 0 if there is no stream.
    :param complete: nothing is missing before the first one: with ``after``, that this is where the values behind it
        begin; without, that these are all that were asked for, or all that there ever were.
    """

    epoch: str = ""
    first: int = 1
    values: tuple[bytes, ...] = ()
    top: int = 0
    complete: bool = True


class Store(ABC):
    """Keep small values under keys, and the newest values of streams, each for a limited time.

    Constructing one connects to nothing, starts nothing and never blocks. The methods may block for as long as the
    store's time-out allows, never on the hub; all are thread-safe under the selected async mode. Errors of the client
    library are wrapped in :class:`~flask_socketio_core.errors.StoreError`;
    :class:`flask_socketio_core.contracts.stores.ClientErrors` does that. What refuses for good (a wrong password, a
    missing right) is a :class:`~flask_socketio_core.errors.StoreRefused`. No text of an error or a log line has the
    user name or password in it; the core masks them once more. After a fork the child makes a new object; it neither
    uses nor closes the old one.

    Keys and streams are names of their own: one does not hide the other. A name has 1 to 256 bytes.
    Times to live are seconds, greater than 0; what they say has ended is not returned any more, whatever clock the
    store goes by. A store may give things up before that, the oldest first, if it has no room: who uses it loses a
    convenience then, no data that exists nowhere else.

    A command whose answer is lost with the connection may have been carried out. So :meth:`put` and :meth:`add` are
    written so that they can be repeated, what :meth:`take` was to return may be gone, and a value may be in a stream
    twice.
    """

    capabilities: ClassVar[StoreCapabilities]

    def __init__(self, url: str, channel: str, *, mode: AsyncMode, options: Mapping[str, Any]) -> None:
        """Keep the settings.

        :param url: as the user gave it, password included; never logged as it is.
        :param channel: name that separates applications which share a store.
        :param mode: the selected async mode; for locks and events.
        :param options: ``store_options`` as the user gave them; unknown ones are refused.
        :raises UnknownOption: for an option that the store does not know.
        """
        self.url = url
        self.channel = channel
        self.mode = mode
        self.options = dict(options)

    @abstractmethod
    def put(self, key: str, value: bytes, *, ttl_s: float) -> None:
        """Keep a value under a key, in the place of what was there.

        :raises ValueTooLarge: if it can never be kept.
        :raises StoreUnavailable: if the store cannot be reached within its time-out; so do all methods.
        :raises StoreClosed: after :meth:`close`; so do all methods.
        """

    @abstractmethod
    def take(self, key: str) -> bytes | None:
        """Return what is kept under a key and forget it, in one step: of several who take it, one gets it.

        :returns: ``None`` if there is nothing.
        """

    @abstractmethod
    def add(self, key: str, value: bytes, *, ttl_s: float) -> bytes | None:
        """Keep a value under a key if nothing is there, in one step: of several who add one, one has kept it.

        :returns: ``None`` if the value is kept now; else what is there, which stays as it is. A value that equals the
            one that is there counts as kept, with the time to live that it had: whoever has to know that it was the
            first adds a value that nobody else has.
        :raises ValueTooLarge: as :meth:`put`.
        """

    @abstractmethod
    def append(self, stream: str, value: bytes, *, size: int, max_bytes: int, ttl_s: float) -> Position:
        """Put a value at the end of a stream, and give up its oldest ones that do not fit any more.

        Whoever appends to a stream uses one size, number of bytes and time to live.

        :param size: most values to keep.
        :param max_bytes: most bytes of all values together; a value that is larger is given up at once.
        :param ttl_s: how long this value is kept, and the stream from now on.
        :returns: where it stands. Numbers go on where values are given up.
        :raises ValueTooLarge: as :meth:`put`.
        """

    @abstractmethod
    def read(self, stream: str, *, after: Position | None = None, limit: int) -> Stretch:
        """Return values of a stream in their order.

        :param after: the oldest of those behind it; ``None`` for the newest there are. If it is of another epoch, or
            more has been given up, from the oldest there is, and the answer is not complete.
        :param limit: most values to return.
        """

    @abstractmethod
    def ping(self) -> None:
        """Return if the store answers now.

        :raises StoreUnavailable: if it does not answer within its time-out.
        """

    @abstractmethod
    def close(self) -> None:
        """End all connections; may be repeated."""
