"""What goes to the broker: one message at a time, in order, kept for a while when the broker is away.

The task that emits publishes, so that the message is with the broker when ``emit()`` returns. While one task publishes,
others leave their messages with it; no lock is held meanwhile. When the broker is away, messages wait in a bounded
buffer and a task of its own tries again, so that only one emit per outage waits for a time-out. While it is there, the
same buffer is filled by tasks that emit faster than one can publish: they wait for room, and nothing is dropped.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING

from ..common.tracebacks import log_error
from ..errors import MessageTooLarge, QueueClosed, QueueUnavailable
from .envelope import SIGNATURE_BYTES, STAMP_BYTES, number_of
from .signing import unsigned

if TYPE_CHECKING:
    import logging

    from ..contracts import AsyncMode, MessageQueue
    from .flights import Flight
    from .signing import Signer

#: Seconds between two attempts to reach the broker: grows from the first to the second, halved or doubled by chance.
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0
#: Seconds that a queue which keeps nothing is given after its return, so that the other servers listen again before
#: they are told what they missed: a listener's longest pause, and as much again.
SETTLE_S = 3.0
#: Messages of others that one emit publishes before it hands over to a worker.
HELPFULNESS = 100
#: Seconds that an emit waits for room in the buffer while the broker is there: as long as a publish may take by
#: default. Who finds no room in that time is followed by others that do not wait, until the buffer is empty again.
PATIENCE_S = 2.0
#: Seconds between two looks for room: some tens of messages are published meanwhile.
ROOM_POLL_S = 0.005


_Kind = tuple[type, type]


@dataclass(slots=True)
class _Message:
    payload: bytes
    key: str
    written_at: float
    seq: int
    numbered: bool = True
    address: str = ""

    @property
    def place(self) -> tuple[int, bool]:
        """Its place in the order: what has no number for all follows the message whose number it repeats.

        Of several with the same place the one that was taken out first goes in first.
        """
        return self.seq, not self.numbered or bool(self.address)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much waits for a broker that is away.

    :param max_age_s: seconds after which a message is dropped.
    """

    max_messages: int
    max_bytes: int
    max_age_s: float


class BusOutbox:
    """Publish in order; buffer, retry and count during an outage.

    :param stamp: makes the payload from an encoded message, its sequence number, and the address for which it alone is.
    :param signer: signs the payload when the queue gets it; ``None`` to sign nothing.
    :param on_outage: called when the broker is away, with the cause, and again when the cause is of another kind.
    :param on_drop: called now and then during an outage, with the number of messages that it has cost so far.
    :param on_recovery: called once when it is back, with seconds away, messages sent late, messages lost.
    :param on_overrun: called with the number of messages lost although the broker is there, because it was too slow.
    """

    def __init__(
        self,
        queue: MessageQueue,
        mode: AsyncMode,
        limits: Limits,
        stamp: Callable[[bytes, int, str], bytes],
        *,
        clock: Callable[[], float],
        logger: logging.Logger,
        on_outage: Callable[[BaseException], object],
        on_drop: Callable[[int], object],
        on_recovery: Callable[[float, int, int], object],
        on_overrun: Callable[[int], object],
        signer: Signer | None = None,
    ) -> None:
        # Fewer than 30 attributes: CPython 3.11 looks up more in another way, which costs an emit 1 µs.
        self._queue = queue
        self._mode = mode
        self._limits = limits
        self._stamp = stamp
        self._clock = clock
        self._logger = logger
        self._on_outage = on_outage
        self._on_drop = on_drop
        self._on_recovery = on_recovery
        self._on_overrun = on_overrun
        self._signer = signer
        self._lock = mode.create_lock()
        self._wake = mode.create_event()
        self._waiting: deque[_Message] = deque()
        self._bytes = 0
        self._seq = 0
        # By address; also of one that is away, whose listener hears the next numbers when it is back.
        self._seq_to: dict[str, int] = {}
        self._publishing = False
        self._held: _Message | None = None  # taken out of the buffer, and on its way
        self._closed = False
        self._pausing = False
        self._overrun = False  # somebody has waited for room in vain
        self._down_since: float | None = None
        self._takes_none = False  # the broker has answered since, and has taken no message
        self._told: _Kind = (type(None), type(None))  # the cause of the outage that was told last
        self._publishing_since: float | None = None  # when publish() was called that has not returned
        self._lost_now = 0
        self._late_now = 0
        self.sent = 0
        self.lost = 0
        queue.on_failure = self._take_back

    @property
    def down(self) -> bool:
        """Whether the broker is away, as far as we know."""
        return self._down_since is not None

    @property
    def wants_trial(self) -> bool:
        """Whether only a message can tell that the outage is over, and none waits."""
        return self.down and self._takes_none and not self._not_sent()

    def hangs_for(self, now_s: float) -> float:
        """Return for how many seconds the queue's ``publish`` has not returned; 0 if it has."""
        since = self._publishing_since
        return 0.0 if since is None else now_s - since

    @property
    def waiting(self) -> tuple[int, int]:
        """Messages and bytes that wait, those on their way included; signs of life do not count."""
        sizes = [len(message.payload) for message in self._not_sent() if message.numbered]
        return len(sizes), sum(sizes)

    @property
    def seq(self) -> int:
        """Sequence number of the last message."""
        return self._seq

    def sent_to(self) -> dict[str, int]:
        """Return the number of the last message to each address that is known."""
        return {address: seq for address, seq in self._seq_to.copy().items() if self._queue.knows(address)}

    def check(self, encoded: bytes) -> None:
        """Refuse a message that cannot be put.

        :raises MessageTooLarge: if the queue can never carry it.
        :raises QueueClosed: after :meth:`close`.
        """
        limit = self._queue.max_message_bytes
        if limit is not None and len(encoded) + STAMP_BYTES + SIGNATURE_BYTES > limit:
            raise MessageTooLarge(
                f"message of {len(encoded)} bytes exceeds the message queue's {limit} bytes"
            )
        if self._closed:
            raise QueueClosed("the connection to the message queue was closed")

    def put(
        self,
        encoded: bytes,
        key: str,
        *,
        numbered: bool = True,
        address: str = "",
        flight: Flight | None = None,
    ) -> None:
        """Publish a message, or keep it while the broker is away.

        Blocks for the queue's time-out at most: for the first message of an outage, and for room in the buffer while
        the broker is there.

        :param numbered: ``False`` for a sign of life, which carries the number of the last message instead of one of
            its own, and is no loss when it is dropped.
        :param address: of the only server that needs to hear it, if there is one; as long as the queue knows it, the
            message is numbered among those to that address.
        :param flight: is told the number, before anybody can hear the message.
        :raises QueueClosed: after :meth:`close`.
        """
        if self._publishing:
            self._await_room()
        if address and not self._queue.knows(address):
            address = ""
        with self._lock:
            if self._closed:
                raise QueueClosed("the connection to the message queue was closed")
            if address:
                seq = self._seq
                own = self._seq_to[address] = self._seq_to.get(address, 0) + 1
                payload = self._stamp(encoded, own, address)
            else:
                self._seq = seq = self._seq + numbered
                payload = self._stamp(encoded, seq, "")
            if flight is not None:
                flight.seq = seq
            message = _Message(payload, key, self._clock(), seq, numbered, address)
            mine = not self._publishing and self._down_since is None
            at_once = mine and not self._waiting
            if at_once:
                self._held = message
            else:
                self._append(message)
            self._publishing = self._publishing or mine
        if mine:
            self._publish_some(HELPFULNESS, ours=not numbered, first=message if at_once else None)

    def look_again(self) -> None:
        """Try now whether the broker is back, if that is waited for: our listener hears it."""
        if self._pausing:  # not while it is asked already, or the others are given time to listen again
            self._wake.set()

    def flush(self, timeout_s: float) -> int:
        """Wait until everything is with the broker; return how many messages are not."""
        deadline = self._clock() + timeout_s
        while True:
            while self._not_sent() and self._clock() < deadline:
                self._wake.set()  # each time, for there are two pauses: until the broker is asked, and after its return
                self._mode.sleep(0.01)
            left = self._queue.flush(max(deadline - self._clock(), 0))
            if self._clock() >= deadline or not (left or self._not_sent()):
                return left + self.waiting[0]
            self._mode.sleep(0.01)

    def close(self) -> None:
        """Take no more messages and end the retry task; what waits is dropped."""
        with self._lock:
            self._closed = True
            self._waiting.clear()
            self._bytes = 0
        self._wake.set()

    def _not_sent(self) -> list[_Message]:
        with self._lock:
            return [*self._waiting] if self._held is None else [self._held, *self._waiting]

    def _await_room(self) -> None:
        """Wait until the task that publishes has caught up with those that emit."""
        if not self._behind():
            return
        deadline = self._clock() + PATIENCE_S
        while self._behind():
            if self._clock() >= deadline:
                self._overrun = True
                return
            self._mode.sleep(ROOM_POLL_S)

    def _behind(self) -> bool:
        """Return whether the buffer is full although the broker is there, as far as we know."""
        full = len(self._waiting) >= self._limits.max_messages or self._bytes >= self._limits.max_bytes
        return full and self._publishing and not self._overrun and self._down_since is None

    # ----------------------------------------------------------------------------------------------- publishing

    def _publish_some(self, most: int | None, *, ours: bool, first: _Message | None = None) -> None:
        """Publish what waits. Only who has set ``_publishing`` may call this.

        :param first: is held already.
        :param ours: this task is none of the application's, so that a green library's Timeout is the queue's.
        """
        done = 0
        message = first or self._next()
        while message is not None:
            if done == most:
                self._hand_over(message)
                return
            try:
                error = self._try(message, ours=ours)
            except BaseException:  # a greenlet's Timeout, Ctrl-C: what waits must not stay
                self._hand_over(message)
                raise
            if error is not None:
                self._broker_is_away(message, error)
                return
            done += 1
            message = self._next()

    def _hand_over(self, message: _Message) -> None:
        """Let a worker go on with a message and what waits behind it."""
        self._put_back(message)
        self._mode.spawn(lambda: self._publish_some(None, ours=True))

    def _next(self) -> _Message | None:
        with self._lock:
            self._held = None
            if self._waiting:
                return self._take_oldest()
            self._publishing = self._overrun = False
            lost, self._lost_now = self._lost_now, 0
        if lost:
            self._on_overrun(lost)
        return None

    def _try(self, message: _Message, *, ours: bool) -> BaseException | None:
        """Publish one message and return the error after which it can be tried again."""
        self._publishing_since = self._clock()
        try:
            payload = message.payload if self._signer is None else self._signer.sign(message.payload)
            if message.address:
                self._queue.publish_to(message.address, payload, key=message.key)
            else:
                # Of what it sends itself, a server needs to hear its signs of life only: they show that it is not deaf.
                publish = self._queue.publish_to_others if message.numbered else self._queue.publish
                publish(payload, key=message.key)
        except QueueUnavailable as error:
            return error
        except (QueueClosed, MessageTooLarge) as error:
            with self._lock:
                self.lost += message.numbered
            self._logger.error("a message could not be published and is lost: %s", error)
            return None
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a queue's fault must neither reach emit() nor end the retries
            if not (ours or isinstance(error, Exception)):
                raise
            if self._down_since is None:  # not for each attempt of an outage
                log_error(self._logger, error, "unexpected error of the message queue's publish()")
            return error
        finally:
            self._publishing_since = None
        self.sent += 1
        return None

    def _broker_is_away(self, message: _Message, error: BaseException) -> None:
        self._put_back(message)
        with self._lock:
            self._publishing = False
            first = self._note_outage()
        if first:
            self._begin_retrying(error)

    def _note_outage(self) -> bool:
        """Return whether an outage begins. With the lock held."""
        if self._down_since is not None or self._closed:
            return False
        self._down_since = self._clock()
        self._overrun = self._takes_none = False
        self._drop_what_does_not_fit()
        self._wake.clear()
        return True

    def _begin_retrying(self, error: BaseException) -> None:
        self._tell(error)
        self._mode.start_task(self._retry)

    def _tell(self, error: BaseException) -> None:
        self._told = _kind(error)
        self._on_outage(error)

    def _retry(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._closed:
            self._pausing = True
            self._pause(pause_s * random.uniform(0.5, 2))
            self._pausing = False
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
            with self._lock:
                self._drop_old()
                lost = self._lost_now
            if lost:
                self._on_drop(lost)
            error = self._ask()
            if error is not None:
                if type(error) is not self._told[0] and isinstance(error, QueueUnavailable):
                    self._tell(error)  # it is away for another reason now
                continue
            if not self._queue.capabilities.replay:
                self._pause(SETTLE_S)
            if self._publish_late():
                return

    def _pause(self, seconds: float) -> None:
        """Wait, unless the end of the process or :meth:`flush` is in a hurry."""
        self._wake.wait(seconds)
        self._wake.clear()

    def _publish_late(self) -> bool:
        """Publish what waits, oldest first; return whether the outage is over."""
        while not self._closed:
            with self._lock:
                self._held = None
                message = self._take_oldest() if self._waiting else None
            if message is None:
                if self._takes_none:  # it is there for a ping only: out of memory, or read-only
                    return False
                if self._declare_over():
                    return True
            elif (error := self._try(message, ours=True)) is None:
                self._takes_none = False
                self._late_now += message.numbered
            else:
                self._put_back(message)
                if not self._takes_none and _kind(error) != self._told:
                    self._tell(error)
                self._takes_none = True
                return False
        return True

    def _ask(self) -> BaseException | None:
        """Ask the broker itself, for all that waited may have been dropped for its age; return what kept it away."""
        try:
            self._queue.ping()
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001  # whatever it is, the broker is not back
            return error
        return None

    def _declare_over(self) -> bool:
        """End the outage, unless a message came in meanwhile that later ones would overtake."""
        with self._lock:
            if self._waiting:
                return False
            since, self._down_since = self._down_since, None
            late, lost = self._late_now, self._lost_now
            self._late_now = self._lost_now = 0
        if since is not None:
            self._on_recovery(self._clock() - since, late, lost)
        return True

    # ------------------------------------------------------------------------------------------------ the buffer

    def _append(self, message: _Message) -> None:
        """Keep a message, within the limits. With the lock held."""
        self._waiting.append(message)
        self._bytes += len(message.payload)
        self._drop_what_does_not_fit()

    def _insert(self, message: _Message) -> None:
        """Keep a message that was on its way already, at its place among those that wait. With the lock held."""
        self._waiting.insert(bisect_left(self._waiting, message.place, key=attrgetter("place")), message)
        self._bytes += len(message.payload)

    def _drop_what_does_not_fit(self) -> None:
        """Drop the oldest beyond the limits, unless a task publishes them now. With the lock held."""
        if self._down_since is None and not self._overrun:
            return
        while len(self._waiting) > self._limits.max_messages or self._bytes > self._limits.max_bytes:
            self._drop_oldest()

    def _take_oldest(self) -> _Message:
        """Take a message out of the buffer to publish it. With the lock held."""
        self._held = message = self._waiting.popleft()
        self._bytes -= len(message.payload)
        return message

    def _put_back(self, message: _Message) -> None:
        with self._lock:
            self._held = None
            if not self._closed:
                self._insert(message)

    def _take_back(self, payload: bytes, key: str) -> None:
        """Keep a message that the queue had accepted and could not deliver; called from any thread.

        It is an outage unless somebody publishes at this moment, who goes on with what was given back, and finds out
        himself if that fails.
        """
        with self._lock:
            if self._closed:
                return
            self.sent -= 1
            if self._signer is not None:
                payload = unsigned(payload)
            self._insert(_Message(payload, key, self._clock(), number_of(payload)))
            self._drop_what_does_not_fit()
            first = not self._publishing and self._note_outage()
        if first:
            self._begin_retrying(QueueUnavailable("the broker did not take a message that was sent"))

    def _drop_old(self) -> None:
        oldest_allowed = self._clock() - self._limits.max_age_s
        trials: list[_Message] = []
        while self._waiting and self._waiting[0].written_at < oldest_allowed:
            if self._takes_none and not trials and not self._waiting[0].numbered:
                trials.append(self._waiting.popleft())  # a sign of life, by which the broker is tried
            else:
                self._drop_oldest()
        self._waiting.extendleft(trials)

    def _drop_oldest(self) -> None:
        message = self._waiting.popleft()
        self._bytes -= len(message.payload)
        self.lost += message.numbered
        self._lost_now += message.numbered


def _kind(error: BaseException) -> _Kind:
    return type(error), type(error.__cause__)
