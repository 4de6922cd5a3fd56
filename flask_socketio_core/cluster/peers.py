"""Who else is on the bus: which nodes live, which messages were heard before, how many were lost. Pure: no clock.

A message that is missing is a loss once its sender's sign of life says so: it carries the number of the last message
sent, so that the last ones before a silence are counted, too. A process that only sends gives no sign of life, so what
it loses is not counted. Who sends to this process alone is one more sender, with numbers of its own, which the sign of
life of its node carries, too.

Messages are noted by the task that listens, and by the one whose place it took; another one forgets who is silent.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .envelope import is_to_one, node_of, sender_to

if TYPE_CHECKING:
    from ..contracts import Lock

#: Most senders remembered. A sender that is forgotten can repeat itself unnoticed, so this is generous.
MAX_SENDERS = 10_000
#: Most missing messages tracked per sender; what goes beyond is counted as lost at once.
MAX_MISSING = 10_000
#: Most nodes known at a time; more are heard, but not watched. Anyone who may publish can make them up.
MAX_NODES = 1_000
#: Seconds after which a silent node makes room for a new one, whatever interval it has promised: three of the default.
PATIENCE_S = 15.0
#: Seconds after which a message that another process has heard is taken not to have been sent to us, for we had begun
#: to listen when that heard it.
ARRIVED_S = 0.75
#: Seconds by which that process may have heard it late.
HEARD_LATE_S = 5.0
#: Silent intervals after which a node is taken for dead.
MISSED_INTERVALS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A server that said it is there.

    :param node: its id on the bus, another one after each start.
    :param async_mode: name of its async mode.
    :param version: version of its flask-socketio-core.
    :param silent_s: seconds since it was last heard.
    :param protocol: what it understands of what servers say to each other, the higher the more; 0 if it did not say.
    :param topics: what it can be asked and told about (``SocketIO.servers``).
    """

    node: str
    async_mode: str
    version: str
    silent_s: float
    protocol: int = 0
    topics: tuple[str, ...] = ()


@dataclass(slots=True)
class _Sender:
    highest: int
    heard_at: float
    missing: set[int] = field(default_factory=set)
    doubtful: set[int] = field(default_factory=set)  # were missing at an earlier heartbeat already
    doubted_at: float = -math.inf
    beyond: int = 0  # too many to be tracked, and counted already
    gap_heard: int = 0  # the highest that was heard of those, which come in order if they come after all
    gap_end: int = 0  # the last of them
    gap_lost: int = 0  # how many of them are counted as lost
    settled_at: float | None = None  # the last heartbeat at which nothing was missing
    given_up: set[int] = field(default_factory=set)  # counted as lost; some come after all
    first: int = 0  # the first that was heard; earlier ones may be on their way
    early: set[int] = field(default_factory=set)  # such earlier ones that have come
    news: int = 0  # count of the newest sign of life that was signed


@dataclass(slots=True)
class _Node:
    async_mode: str
    version: str
    interval_s: float
    heard_at: float
    protocol: int
    topics: tuple[str, ...]


class Peers:
    """Keep account of senders and nodes.

    :param lock: held for a few instructions.
    :param in_order: what a sender publishes arrives in that order or never, so that what is missing at its heartbeat
        is lost. Otherwise it has time until a later one, half an interval at least.
    :param address: of what is sent to this process alone.
    """

    def __init__(self, lock: Lock, *, in_order: bool = False, address: str = "") -> None:
        self._lock = lock
        self._in_order = in_order
        self._address = address
        self._senders: OrderedDict[str, _Sender] = OrderedDict()
        self._nodes: OrderedDict[str, _Node] = OrderedDict()  # in the order in which they were heard
        self.lost = 0
        self.duplicates = 0
        self._displaced_at = -math.inf  # when one that is remembered no longer was heard last

    def is_new(self, node: str, seq: int, now_s: float) -> bool:
        """Return whether a message was not heard before, and note it."""
        with self._lock:
            return self._note(node, seq, now_s)

    def is_news(self, node: str, seq: int, count: int, now_s: float) -> bool:
        """Return whether a signed sign of life is newer than all that were heard of its sender, and note it.

        :param count: of its signature.
        """
        with self._lock:
            sender = self._senders.get(node) or self._remember(node, seq, now_s, first=seq + 1)
            if count > sender.news:
                sender.news = count
                return True
            self.duplicates += 1
            return False

    def heard(self, now_s: float, within_s: float) -> dict[str, tuple[int, list[int], int, float]]:
        """Return what was heard of each sender that has not been silent for long.

        :param now_s: clock reading, seconds.
        :param within_s: how long that is, seconds.
        :returns: by its id, the highest number, those below that are missing, the number that was heard first, and
            for how long it has been silent, seconds.
        """
        with self._lock:
            return {
                node: (
                    sender.highest,
                    sorted(sender.missing | sender.given_up),
                    sender.first,
                    max(now_s - sender.heard_at, 0.0),
                )
                for node, sender in self._senders.items()
                if now_s - sender.heard_at <= within_s and not is_to_one(node)
            }

    def covers(self, heard: Mapping[str, Any], own: str, listening_s: float, waited_s: float = 0.0) -> bool:
        """Return whether everything was heard here that was heard elsewhere, as :meth:`heard` tells it.

        Of a sender that was never heard here it is everything if it was heard elsewhere not long after this process had
        begun to listen, and nothing has come of it since that was told: what was heard was sent before, as by one that
        ended at that moment, and was only heard late.

        :param own: this process, which need not hear itself.
        :param listening_s: how long this process had listened when it was told; what was heard before is not for its
            clients.
        :param waited_s: how long ago it was told.
        """
        with self._lock:
            return all(
                self._covers(node, listening_s, waited_s, *told)
                for node, told in heard.items()
                if node != own
            )

    def _covers(
        self,
        node: str,
        listening_s: float,
        waited_s: float,
        highest: int,
        missing: Iterable[int],
        first: int,
        silent_s: float,
    ) -> bool:
        sender = self._senders.get(node)
        if sender is None:
            late_s = listening_s - silent_s
            return late_s <= 0 or (late_s <= HEARD_LATE_S and waited_s >= ARRIVED_S)
        if sender.highest < highest:
            return False
        return all(number > highest or number < first for number in sender.missing.difference(missing))

    def may_be_forgotten(self, node: str, sent_at: float) -> bool:
        """Return whether a message may have been heard from a sender that is remembered no longer.

        :param sent_at: a reading of the clock, at the earliest.
        """
        return sent_at <= self._displaced_at and node not in self._senders

    def _note(self, node: str, seq: int, now_s: float) -> bool:
        sender = self._senders.get(node)
        if sender is None:
            if not is_to_one(node):
                self._remember(node, seq, now_s, first=seq)
                return True
            if node != sender_to(node_of(node), self._address):
                return True  # it was meant for somebody else, whose numbers it has
            sender = self._begin_to_us(node, now_s)
        sender.heard_at = now_s
        self._senders.move_to_end(node)
        if seq > sender.highest:
            if seq > sender.highest + 1:
                self._miss(sender, seq - 1)
            sender.highest = seq
            return True
        if seq in sender.missing:
            sender.missing.discard(seq)
            sender.doubtful.discard(seq)
            return True
        if seq in sender.given_up:
            sender.given_up.discard(seq)
            self.lost -= 1
            return True
        if sender.gap_heard < seq <= sender.gap_end:
            # A sender of one forged number goes on with its own.
            sender.gap_heard = seq
            sender.gap_lost -= 1
            self.lost -= 1
            return True
        if seq < sender.first and seq not in sender.early:
            if len(sender.early) == MAX_MISSING:
                self._begin_before(sender, seq)
            sender.early.add(seq)
            return True
        self.duplicates += 1
        return False

    def _begin_before(self, sender: _Sender, seq: int) -> None:
        """Take the first number that was heard for forged, since too many come that are lower."""
        self._go_back(sender, seq)
        sender.first = seq
        sender.early = {number for number in sender.early if seq - MAX_MISSING // 2 < number < seq}

    def _remember(self, node: str, seq: int, now_s: float, *, first: int) -> _Sender:
        sender = self._senders[node] = _Sender(seq, now_s, first=first)
        if len(self._senders) > MAX_SENDERS:
            self._displace()
        return sender

    def _displace(self) -> None:
        """Forget the sender that has been silent for longest, but none that is watched, however many are made up."""
        while (oldest := next(iter(self._senders))) in self._nodes:
            self._senders.move_to_end(oldest)
        self._displaced_at = max(self._displaced_at, self._senders.pop(oldest).heard_at)

    def _miss(self, sender: _Sender, last: int) -> None:
        """Miss all messages up to a number that have not come yet."""
        first = sender.highest + 1
        beyond = last - first + 1 - (MAX_MISSING - len(sender.missing))
        if beyond > 0:
            self.lost += beyond
            sender.beyond += beyond
            if not sender.gap_lost:
                sender.gap_heard = sender.highest
            first += beyond
            sender.gap_end = first - 1
            sender.gap_lost += beyond
        sender.missing.update(range(first, last + 1))
        sender.highest = max(sender.highest, last)

    def _begin_to_us(self, sender: str, now_s: float) -> _Sender:
        """Remember a sender to this process alone; nobody has sent to its address before it was there."""
        return self._remember(sender, 0, now_s, first=1)

    def on_heartbeat(self, node: str, details: dict[str, Any], seq: int, now_s: float) -> int:
        """Note that a node lives and return how many more of its messages are taken for lost.

        :param seq: number of the last message that it has sent.
        """
        interval_s = _interval(details.get("interval"))
        state = _Node(
            str(details.get("async_mode", "?")),
            str(details.get("version", "?")),
            interval_s,
            now_s,
            details.get("protocol") or 0,
            tuple(details.get("topics") or ()),
        )
        with self._lock:
            if node in self._nodes or self._has_room(now_s):
                self._nodes[node] = state
                self._nodes.move_to_end(node)
            return self._account(node, details, seq, now_s, interval_s / 2)

    def _has_room(self, now_s: float) -> bool:
        """Return whether one more node can be watched; one that is silent for long makes room, whatever it promised."""
        if len(self._nodes) < MAX_NODES:
            return True
        silent, state = next(iter(self._nodes.items()))
        if now_s - state.heard_at <= PATIENCE_S:
            return False
        del self._nodes[silent]
        return True

    def _account(
        self, node: str, details: Mapping[str, Any], seq: int, now_s: float, patience_s: float
    ) -> int:
        sender = self._senders.get(node) or self._remember(node, seq, now_s, first=seq + 1)
        count = self._compare(node, sender, seq, now_s, patience_s)
        sent_to_us = (details.get("to") or {}).get(self._address)
        if sent_to_us is not None:
            name = sender_to(node, self._address)
            to_us = self._senders.get(name) or self._begin_to_us(name, now_s)
            count += self._compare(name, to_us, sent_to_us, now_s, patience_s)
            if to_us.missing:
                return count
        if not sender.missing:
            sender.settled_at = now_s
        return count

    def _compare(self, name: str, sender: _Sender, seq: int, now_s: float, patience_s: float) -> int:
        """Compare what was heard of a sender with the number of the last message that it has sent."""
        sender.heard_at = now_s
        self._senders.move_to_end(name)
        if seq + MAX_MISSING < sender.highest:
            self._go_back(sender, seq)
        self._miss(sender, seq)
        lost: set[int] = set()
        if self._in_order:
            lost = set(sender.missing)
        elif now_s - sender.doubted_at >= patience_s:
            lost = sender.missing & sender.doubtful
            sender.doubtful, sender.doubted_at = sender.missing - lost, now_s
        return self._give_up(sender, lost)

    def _go_back(self, sender: _Sender, seq: int) -> None:
        """Believe a sign of life rather than a number that lies too far ahead: forged, or of another count."""
        forged = {number for number in sender.given_up if number > seq}
        self.lost -= len(forged) + sender.gap_lost
        sender.given_up -= forged
        sender.missing = {number for number in sender.missing if number <= seq}
        sender.doubtful &= sender.missing
        sender.beyond = sender.gap_end = sender.gap_heard = sender.gap_lost = 0
        sender.highest = seq

    def settled_at(self, node: str) -> float | None:
        """Return when a node's heartbeat was heard last behind which nothing was missing; ``None`` if never."""
        sender = self._senders.get(node)
        return None if sender is None else sender.settled_at

    def _give_up(self, sender: _Sender, lost: set[int]) -> int:
        """Take messages for lost and return how many that are, with those that could not be tracked."""
        self.lost += len(lost)
        sender.missing -= lost
        sender.given_up |= lost
        if len(sender.given_up) > MAX_MISSING:
            sender.given_up = set(sorted(sender.given_up)[-MAX_MISSING:])
        beyond, sender.beyond = sender.beyond, 0
        return len(lost) + beyond

    def on_bye(self, node: str, details: Mapping[str, Any], seq: int, now_s: float) -> int:
        """Forget a node that said it ends and return how many more of its messages are taken for lost."""
        with self._lock:
            self._nodes.pop(node, None)
            return self._account(node, details, seq, now_s, 0.0)  # what it has sent is good only once, still

    def forget_silent(self, now_s: float) -> dict[str, int]:
        """Forget nodes that have been silent for too long.

        :returns: their ids, and how many messages of each are taken for lost with it.
        """
        with self._lock:
            dead = [
                node
                for node, state in self._nodes.items()
                if now_s - state.heard_at > MISSED_INTERVALS * state.interval_s
            ]
            return {node: self._drop(node) for node in dead}

    def _drop(self, node: str) -> int:
        self._nodes.pop(node, None)
        senders = map(self._senders.get, {node, sender_to(node, self._address)})
        return sum(self._give_up(sender, set(sender.missing)) for sender in senders if sender is not None)

    def excuse_silence(self, now_s: float) -> None:
        """Start counting silence anew: it was us who could not hear."""
        with self._lock:
            for state in self._nodes.values():
                state.heard_at = now_s

    def alive(self, now_s: float) -> tuple[Peer, ...]:
        """Return the nodes that live."""
        with self._lock:
            nodes = sorted(self._nodes.items())
        return tuple(
            Peer(
                node=node,
                async_mode=state.async_mode,
                version=state.version,
                silent_s=now_s - state.heard_at,
                protocol=state.protocol,
                topics=state.topics,
            )
            for node, state in nodes
        )

    def __contains__(self, node: str) -> bool:
        return node in self._nodes


def _interval(value: Any) -> float:
    """Return a node's interval, or the default's if it says none that can be."""
    valid = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 3600
    return float(value) if valid else 5.0
