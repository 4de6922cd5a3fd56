"""The seam of the broker: what a message queue promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ..common import descriptor_rules as rules
from .verdict import PART, Verdict

if TYPE_CHECKING:
    from .async_mode import AsyncMode

__all__ = [
    "MessageQueue",
    "QueueCapabilities",
    "QueueInfo",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueCapabilities:
    """What a message queue guarantees, as named capabilities.

    :param ordered: messages of one publisher with one key arrive in the order of publishing.
    :param durable: a message accepted by :meth:`MessageQueue.publish` survives a restart of the broker.
    :param replay: a listener that lost its connection resumes where it stopped.
    :param max_message_bytes: largest message in bytes; ``None`` for no limit of its own.
    :param needs_patched: standard-library modules that a green mode must have patched, because the client library
        blocks in them; checked when the queue is to serve clients.
    """

    ordered: bool = True
    durable: bool = False
    replay: bool = False
    max_message_bytes: int | None = None
    needs_patched: tuple[str, ...] = ("socket",)

    def __post_init__(self) -> None:
        rules.check(
            self,
            ordered=rules.yes_or_no,
            durable=rules.yes_or_no,
            replay=rules.yes_or_no,
            max_message_bytes=rules.size,
            needs_patched=rules.several(rules.name),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueInfo:
    """Describe one message queue.

    :param name: short name for the table.
    :param schemes: URL schemes it claims, lower case, without ``://``. A scheme ending in ``+*`` claims a prefix
        (``kombu+*`` claims ``kombu+redis``). An exact scheme beats a prefix, a prefix beats a catch-all.
    :param load: imports the queue and returns its class.
    :param catch_all: also offer it every scheme that nobody claims and that ``claims`` accepts.
    :param claims: for a catch-all or a claimed prefix, say without a heavy import whether a scheme is usable, and why
        not; ``None`` if it does not know the scheme at all.
    :param requires: as in :class:`AsyncModeInfo`.
    :param for_workers: URL by which the workers of one web server are joined where the application names no message
        queue, with ``{name}`` in it for what they have in common (``"host://{name}"``); for a queue that needs nothing
        besides them.
    :param install: the command that installs what is missing.
    :param summary: a few words for the table.
    """

    name: str
    schemes: tuple[str, ...]
    load: Callable[[], type[MessageQueue]]
    catch_all: bool = False
    claims: Callable[[str], Verdict | None] | None = None
    requires: tuple[str, ...] = ()
    for_workers: str = ""
    install: str = ""
    summary: str = ""

    def __post_init__(self) -> None:
        schemes, claims = rules.several(rules.scheme), rules.optional(rules.function)
        rules.check(self, **PART, schemes=schemes, catch_all=rules.yes_or_no, claims=claims)
        rules.check(self, for_workers=rules.text)
        if self.for_workers and "{name}" not in self.for_workers:
            rules.refuse(self, f"for_workers={self.for_workers!r}: expected a URL with {{name}} in it")
        if not self.schemes and not self.catch_all:
            rules.refuse(self, "schemes=(): expected at least one URL scheme, or catch_all=True")
        if self.claims and not self.catch_all and not any(name.endswith("+*") for name in self.schemes):
            rules.refuse(self, "claims= is asked only with catch_all=True or for a scheme that ends in '+*'")


class MessageQueue(ABC):
    """A bus that carries bytes from every publisher to every listener of one channel.

    Constructing one connects to nothing, starts nothing and never blocks. All methods are thread-safe under the
    selected async mode. Errors of the client library are wrapped in :class:`~flask_socketio_core.errors.QueueError`;
    :class:`flask_socketio_core.queues.ClientErrors` does that. What the broker refuses for good (a wrong password, a
    missing right) is a :class:`~flask_socketio_core.errors.QueueRefused`. No text of an error or a log line has the
    user name or password in it; the core masks them once more.
    Rooms, acks, retries and everything else that several servers say to each other is built on these few methods, in
    ``flask_socketio_core.cluster``. After a fork the child makes a new object; it neither uses nor closes the old one.
    """

    capabilities: ClassVar[QueueCapabilities]

    address: str = ""
    """Six hexadecimal digits in lower case, others for each object, with which other objects of the same channel reach
    its listeners alone (:meth:`publish_to`); empty if they cannot. Known from the start, since clients carry it in
    their sids: :func:`flask_socketio_core.queues.new_address` makes one."""

    on_failure: Callable[[bytes, str], None] | None = None
    """Set by the owner; called from any thread with a message and its key that :meth:`publish` had accepted, if the
    queue finds out later that the broker did not take it. The owner publishes it again, before newer ones, and sorts
    several by itself: they may be given back in any order. Does not block. Not called any more once :meth:`close` has
    returned: what is given back then is in the number that :meth:`flush` returned."""

    on_skip: Callable[[str], None] | None = None
    """Set by the owner; called by :meth:`listen` before its first item, with one sentence without credentials, when a
    queue with ``capabilities.replay`` cannot resume behind the last message that it yielded, because the broker has no
    longer what followed. Must not block."""

    def __init__(self, url: str, channel: str, *, mode: AsyncMode, options: Mapping[str, Any]) -> None:
        """Keep the settings.

        :param url: as the user gave it, password included; never logged as it is.
        :param channel: name that separates clusters which share a broker.
        :param mode: the selected async mode; for locks, events and the monkey-patch check.
        :param options: ``message_queue_options`` as the user gave them; unknown ones are refused.
        :raises UnknownOption: for an option that the queue does not know.
        """
        self.url = url
        self.channel = channel
        self.mode = mode
        self.options = dict(options)

    @property
    def max_message_bytes(self) -> int | None:
        """Largest message in bytes, ``None`` for no limit of its own: that of the capabilities.

        Read before each message, so a queue that learns it from its broker overrides this, with the smallest that it
        knows of until then.
        """
        return self.capabilities.max_message_bytes

    @abstractmethod
    def publish(self, message: bytes, *, key: str = "") -> None:
        """Hand one message to the broker, within the queue's time-out, also if that has stopped answering.

        With ``capabilities.durable`` the broker has it safely, or will be asked until it has, when this returns.

        :param message: at most :attr:`max_message_bytes` bytes.
        :param key: messages with one key keep their order; a queue without partitions ignores it.
        :raises QueueUnavailable: if the broker cannot be reached within the queue's time-out; the message may be
            published again.
        :raises MessageTooLarge: if the message can never be published.
        :raises QueueClosed: after :meth:`close`.
        """

    def publish_to_others(self, message: bytes, *, key: str = "") -> None:
        """Do as :meth:`publish`, with a message that the listeners of this object may go without.

        A queue that saves something by leaving them out overrides this; the others let them hear it. In order with
        what :meth:`publish` was given.
        """
        self.publish(message, key=key)

    def knows(self, address: str) -> bool:
        """Return whether somebody is known to listen who has an address; must not block or raise.

        Asked before each :meth:`publish_to`, with an address that need not be anybody's: clients can make up sids.
        """
        return False

    def publish_to(self, address: str, message: bytes, *, key: str = "") -> None:
        """Do as :meth:`publish_to_others`, with a message that only the listeners of one object need to hear.

        A queue that saves something by leaving out the others overrides this, and has an :attr:`address`. If nobody
        has that address any more, all hear it. In order with what the other two were given. What is published in this
        way must not be given back to :attr:`on_failure`.
        """
        self.publish_to_others(message, key=key)

    @abstractmethod
    def listen(self) -> Iterator[bytes]:
        """Subscribe, then yield each message published from now on, until :meth:`close`.

        Runs in a task of its own. The subscription exists when the iterator yields its first item, which is ``b""``;
        ``b""`` is also yielded now and then (twice a second) while the channel is quiet. A lost connection raises
        :class:`QueueUnavailable`; the caller calls ``listen`` again, and a queue with ``capabilities.replay`` then
        resumes behind the last message that it yielded, or calls :attr:`on_skip` if it cannot.

        May be called again while an older iterator of the same object still runs, as when that has gone deaf: both
        may yield what arrives meanwhile, and the older one is not asked for more.

        :raises QueueUnavailable: when the broker cannot be reached or the connection is lost.
        """

    @abstractmethod
    def ping(self) -> None:
        """Return if the broker answers now.

        :raises QueueUnavailable: if it does not answer within the queue's time-out.
        """

    def flush(self, timeout_s: float) -> int:
        """Wait until everything handed to :meth:`publish` is with the broker; return how many messages are not.

        Returns in time whatever the broker does. Those handed to :attr:`on_failure` are the owner's again and do not
        count.
        """
        return 0

    @abstractmethod
    def close(self) -> None:
        """End listeners and connections; may be repeated. Does not wait for unsent messages: :meth:`flush` does."""
