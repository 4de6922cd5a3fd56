"""One process's connection to the bus: its identity, its outbox, its listener, and what it knows of the others.

Everything here belongs to the process that made it. After a fork the child makes a link of its own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol

from ..common.quoting import MOST_SENTENCE, printable
from ..common.repeats import Repeats
from ..common.sids import ADDRESS_DIGITS, is_address
from ..common.tracebacks import log_error
from ..contracts.backoff import Paced
from ..errors import QueueClosed, QueueRefused, QueueUnavailable
from .acks import PendingAcks, Unanswered
from .asking import Asking
from .envelope import (
    PROTOCOL,
    Malformed,
    Message,
    Wire,
    addressed,
    first_sid,
    node_of,
    sender_to,
    sent_by,
    stamp,
)
from .gaps import Gap, Gaps
from .listener import Listener
from .outbox import BusOutbox, Limits
from .peers import MISSED_INTERVALS, Peer, Peers
from .signing import CLOCK_SKEW_S, Unauthentic, unsigned

if TYPE_CHECKING:
    from ..contracts import AsyncMode, Handle, MessageQueue
    from ..contracts.clients import RecoveryLoad
    from ..contracts.histories import HistoryLoad, OnceLoad
    from ..contracts.urls import Secrets
    from .asking import Context
    from .signing import Signature, Signer
    from .topics import Topics

#: Seconds after a gap that the other servers have, or four intervals if that is longer, to say what they have sent. A
#: sender may pause for 4 s (the outbox's longest pause, doubled by chance), ask the broker for 4 (a time-out on an old
#: and on a new connection), and let the others settle for 3; then it sends what has waited, and behind it a heartbeat.
CONFIRM_S = 20.0
#: Seconds that a process which only sends waits for its first subscription before it asks for an acknowledgement.
SUBSCRIBE_S = 10.0
#: Seconds that the other servers are given to say that they are there, once they were asked: they answer ``APART_S``
#: later at the latest. Besides, twice the time that our own message takes to come back.
MEET_S = 0.3
#: Seconds that a listener may go without any sign before it is taken for stuck; queues give one twice a second.
STUCK_S = 30.0
#: Seconds that a publish may take before that is told; queues give up after 2 to 4 by default.
HANGING_S = 10.0
#: Lines in a minute that say one thing about other servers, of which a cluster may have dozens.
SERVER_LINES = 20
#: Seconds between two answers to those who ask who is there, and between two times that losses are told: both take a
#: worker, and anyone who may publish can cause them at any rate.
APART_S = 0.1
#: Seconds between two looks for servers that died, of a process that has no heartbeats of its own and waits for others.
WATCH_S = 1.0
#: Seconds beyond its time that the end of a queue is waited for; a process that was told to end has few.
END_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BusHealth:
    """How the connection to the message queue is.

    :param up: ``True`` if messages are sent and, where this process listens, heard.
    :param detail: one sentence without credentials; empty if all is well.
    :param refused: the broker answers and refuses this process (:class:`~flask_socketio_core.errors.QueueRefused`): it
        does not pass by itself.
    :param node: this process's id on the bus.
    :param peers: the other servers, with id, async mode, version, topics, and the seconds since each was last heard.
        In a process that only sends: those that it has heard of since it first waited for an answer.
    :param waiting: messages that wait for the broker.
    :param waiting_bytes: their size in bytes.
    :param sent: messages published.
    :param lost_sent: messages of ours that were given up.
    :param received: messages heard from others.
    :param unreadable: messages that were not passed on: what is none, has parts of wrong types, or could not have been
        read by clients.
    :param unauthentic: messages that were not heard for their signature: without one, with one of another secret, or
        too old. Always 0 without ``secret``.
    :param lost_received: messages of other servers that never arrived. What processes that only send have lost is not
        known, so it is not in it.
    :param duplicates: messages that came again and were dropped: sent twice after an outage, or replayed.
    :param gaps: times that this server was cut off from the others and heard them again.
    :param gaps_s: their length together, seconds.
    :param lag_s: seconds that our last heartbeat took to come back, or has been under way if that is longer; ``None``
        before the first.
    :param recovery: what is kept for clients that may come back, what was forgotten, and how many could not and why, as
        in ``SocketIO.load()``; ``None`` without the option ``recovery``.
    :param history: what is kept of rooms with a history, and what is not although it should be; likewise, and ``None``
        without one.
    :param once: what has come of events that are handled once; likewise, and ``None`` before the first.
    """

    up: bool
    detail: str
    refused: bool
    node: str
    peers: tuple[Peer, ...]
    waiting: int
    waiting_bytes: int
    sent: int
    lost_sent: int
    received: int
    unreadable: int
    unauthentic: int
    lost_received: int
    duplicates: int
    gaps: int
    gaps_s: float
    lag_s: float | None
    recovery: RecoveryLoad | None = None
    history: HistoryLoad | None = None
    once: OnceLoad | None = None


class MessageObservers(Protocol):
    """Whom to tell of messages."""

    observes_bus_messages: bool

    def bus_message(self, *, method: str, node: str | None, size_bytes: int) -> None:
        """Tell of a message of another process."""


class Link:
    """Send and receive messages; keep the connection alive and say when it is not.

    :param on_message: called with every new message of another node, and with ``callback`` and ``gone`` messages.
    :param clients_come: whether clients may come here from other servers.
    :param is_here: tells whether a client of this process has a sid; nothing more is read of what is sent to others.
    :param on_state: called with ``up`` and a sentence when the bus is there for the first time, was lost or restored.
    :param observers: told of messages of other processes, if they want to know of them.
    :param on_gap: called in a worker when this server was cut off, hears again, and knows what it has missed.
    :param on_server: called in a worker with the id of another server and whether it is there.
    :param secrets: what is kept out of each text about the queue.
    :param topics: what this server can be asked about.
    :param context: what handlers of topics run in.
    :param signer: signs messages and checks those of others; ``None`` without a secret.
    """

    def __init__(
        self,
        queue: MessageQueue,
        mode: AsyncMode,
        wire: Wire,
        *,
        limits: Limits,
        interval_s: float,
        clock: Callable[[], float],
        logger: logging.Logger,
        on_message: Callable[[Message], object],
        is_here: Callable[[str], bool],
        clients_come: bool,
        on_state: Callable[[bool, str], object],
        on_gap: Callable[[Gap], object],
        on_server: Callable[[str, bool], object],
        secrets: Secrets,
        topics: Topics,
        context: Context,
        observers: MessageObservers | None = None,
        signer: Signer | None = None,
    ) -> None:
        if queue.address and not is_address(queue.address):
            raise ValueError(
                f"the address {queue.address!r} of {type(queue).__name__} is none: expected {ADDRESS_DIGITS} "
                "hexadecimal digits in lower case, as flask_socketio_core.queues.new_address() makes them, or none"
            )
        # It begins with the address, so who knows the one knows the other.
        self.node = queue.address + uuid.uuid4().hex[len(queue.address) :]
        self.queue = queue
        self.acks = PendingAcks(mode.create_lock())
        self.unanswered = Unanswered(mode.create_lock())
        # A queue that replays may deliver what is missing behind a sign of life, from another partition.
        in_order = queue.capabilities.ordered and not queue.capabilities.replay
        self.peers = Peers(mode.create_lock(), in_order=in_order, address=queue.address)
        self._gaps = Gaps(mode.create_lock())
        self.serves = False
        self._joined_at: float | None = None
        self._subscribing = mode.create_lock()
        self._subscribe_by = 0.0
        self._skipped: str | None = None
        queue.on_skip = self._note_skip
        self._mode = mode
        self._wire = wire
        self._signer = signer
        self._interval_s = interval_s
        self._clock = clock
        self._logger = logger
        self._on_message = on_message
        self._is_here = is_here
        self._on_state = on_state
        self._on_gap = on_gap
        self._on_server = on_server
        self._told_servers: set[str] = set()
        self._servers_lock = mode.create_lock()
        self._roster = Paced(self._tell_servers, mode, clock, APART_S)
        self._observers = observers
        self._told_state = False
        self._secrets = secrets
        self._name = secrets.mask(queue.url)
        self.outbox = BusOutbox(
            queue,
            mode,
            limits,
            lambda encoded, seq, address: stamp(encoded, sender_to(self.node, address), seq),
            clock=clock,
            logger=logger,
            on_outage=self._sending_failed,
            on_drop=self._sending_drops,
            on_recovery=self._sending_works,
            on_overrun=self._sending_overran,
            signer=signer,
        )
        self.listener = Listener(
            queue,
            mode,
            clock=clock,
            logger=logger,
            on_message=self._hear,
            on_quiet=self._settle_claims,
            on_lost=self._listening_failed,
            on_back=self._listening_works,
        )
        self.clients_come = clients_come
        self.claims: list[Callable[[], bool]] = []
        """What is called between messages, and while there are none, until it returns ``True``; see ``recovery.py``."""
        self._lost_at = -math.inf  # clock reading when something may have been lost last
        self._in_doubt = False  # cut off, and it is not known yet what that has cost
        self._unnumbered_at = -math.inf
        self._problems: dict[str, str] = {}
        self._refused: set[str] = set()
        self._solutions: list[str] = []
        self._problems_lock = mode.create_lock()
        self._received = 0
        self._unreadable = 0
        self._unauthentic = 0
        self._repeats = Repeats(clock)
        self._line = count()
        self._answer = Paced(partial(self._send_news_unless_closed, "here"), mode, clock, APART_S)
        self._loss: Gap | None = None  # is not told yet
        self._losses = Paced(self._tell_losses, mode, clock, APART_S)
        self._beating: Handle | None = None
        self._beat_due_s = clock()
        self._catching_up = False
        self._ended = False
        self._hanging = False  # publish() has not returned, which has been told
        self._echo_at = clock()
        self._sent_at: float | None = None
        self._lag_s: float | None = None
        self._meeting = False  # what we have sent for that has not come back
        self._watching, self._watch_due_s = False, 0.0
        self._met_at: float | None = None  # when all who were there have said so
        self._echoed = mode.create_event()
        self.asking = Asking(
            self.node, mode, wire, topics, logger=logger, clock=clock, context=context, bus=self
        )

    # -------------------------------------------------------------------------------------------------- sending

    def prepare(self, message: Message) -> bytes:
        """Encode a message for the outbox.

        :raises TypeError: for a value that cannot be encoded.
        :raises MessageTooLarge: if the queue can never carry it.
        :raises QueueClosed: after :meth:`close`.
        """
        encoded = self._wire.encode(message)
        self.outbox.check(encoded)
        return encoded

    def send(self, message: Message, key: str, node: str = "") -> None:
        """Publish a message; raises what :meth:`prepare` raises.

        :param key: messages with one key keep their order on every queue.
        :param node: the only server that needs to hear it, if there is one.
        """
        address = node[:ADDRESS_DIGITS]
        self.outbox.put(self.prepare(message), key, address=address if is_address(address) else "")

    def announce(self) -> None:
        """Listen, and tell the other servers that this one is there, now and every few seconds."""
        self.serves = self._meeting = True
        self._schedule_beat()
        if self.listener.started:  # for answers; who subscribes first says hello at that moment
            self._mode.spawn(partial(self._send_news_unless_closed, "hello"))
        else:
            self.listener.start()

    def listen_for_answers(self, timeout_s: float) -> None:
        """Listen, and wait until a subscription exists; a server has had its time for that when it joined.

        The first caller waits, as do others that come meanwhile; later ones do not wait for a broker that is away.

        :param timeout_s: how long to wait, seconds; ``SUBSCRIBE_S`` at most.
        """
        if self.serves:
            return
        with self._subscribing:
            if not self.listener.started:
                self._subscribe_by = self._clock() + SUBSCRIBE_S
                self.listener.start()
        self.listener.wait(max(min(timeout_s, self._subscribe_by - self._clock()), 0.0))

    def meet(self, timeout_s: float) -> bool:
        """Wait until the other servers have said that they are there; return whether they are heard.

        Only a process that has just begun to listen waits.

        :param timeout_s: how long to wait, seconds; a server waits for half of it, to have time for its own answer.
        """
        until = self._clock() + timeout_s
        if not self.serves:
            self.listen_for_answers(timeout_s)
            self._ask_who_is_there()
        if self._met_at is None:
            left_s = max(until - self._clock(), 0.0)
            self._echoed.wait(left_s / 2 if self.serves else left_s)
        if self._met_at is None:
            return False
        wait_s = min(self._met_at, until) - self._clock()
        if wait_s > 0:
            self._mode.sleep(wait_s)
        return self.listener.subscribed and not self.outbox.down

    def _ask_who_is_there(self) -> None:
        if self._met_at is None and self.listener.subscribed:
            self._meeting = True
            self._send_news_unless_closed("who")
        self._forget_silent(self._clock())  # a server does at each of its own signs of life

    def watch(self) -> None:
        """Notice when servers end, as long as a question waits for them; one that serves does so anyway."""
        if not self.serves and not self._watching:
            self._schedule_watch()

    def _schedule_watch(self) -> None:
        self._watching, self._watch_due_s = True, self._clock() + WATCH_S
        self._mode.call_later(WATCH_S, lambda: self._mode.spawn(self._watch))

    def _watch(self) -> None:
        """Forget servers that are silent, unless nobody waits for them."""
        self._watching = False
        if self._ended or not len(self.asking.questions):
            return
        now_s = self._clock()
        # Where this process stood still, what others said meanwhile is heard first, as in _beat().
        stood_still = now_s - self._watch_due_s > WATCH_S
        if self.listener.subscribed and not self.outbox.down and not stood_still:
            self._forget_silent(now_s)
        self.watch()  # again, unless another question has begun it meanwhile

    def servers(self) -> tuple[Peer, ...]:
        """Return the other servers that are there."""
        return self.peers.alive(self._clock())

    def warn_of_older(self, protocol: int, what: str) -> None:
        """Log it if there are servers that do not understand what is sent.

        :param protocol: the lowest that does.
        :param what: happens there.
        """
        for peer in self.servers():
            if peer.protocol < protocol:
                self._tell_of_server(
                    logging.WARNING, "server %s has an older version (%s), %s", peer.node, peer.version, what
                )

    def check(self, encoded: bytes) -> None:
        """Refuse a message that cannot be put; raises what :meth:`prepare` raises."""
        self.outbox.check(encoded)

    def put(self, encoded: bytes, key: str) -> None:
        """Publish a message that was checked.

        :raises QueueClosed: after :meth:`close`.
        """
        self.outbox.put(encoded, key)

    @property
    def listening_s(self) -> float:
        """Return for how long this process has listened since it first could, seconds."""
        return 0.0 if self._joined_at is None else self._clock() - self._joined_at

    def announce_topics(self) -> None:
        """Tell the other servers which topics there are now."""
        if self.serves:
            self._answer.ask()

    def close(self, timeout_s: float) -> int:
        """Say good-bye, flush for a bounded time and end; return how many messages were left."""
        self._ended = True
        self.asking.close()
        self._echoed.set()
        if self._beating is not None:
            self._beating.cancel()
        flushed: list[int] = []
        self._end("flush()", lambda: flushed.append(self._flush(timeout_s)), timeout_s)
        left = flushed[0] if flushed else self.outbox.waiting[0]
        self.listener.stop()
        self.outbox.close()
        self._end("close()", self.queue.close, timeout_s)
        if left:
            self._logger.error(
                "%d messages for %s were not sent before the end and are lost", left, self._name
            )
        return left

    def _flush(self, timeout_s: float) -> int:
        if self._beating is not None and not self.outbox.down:
            self._send_news("bye")
        return self.outbox.flush(timeout_s)

    def _end(self, what: str, call: Callable[[], object], timeout_s: float) -> None:
        """Do something with the queue that must neither raise nor block the end of the process.

        In a task of its own, which is left behind if it does not end in time.
        """
        done = self._mode.create_event()

        def run() -> None:
            try:
                call()
            except BaseException as error:  # noqa: BLE001  # whatever a stranger's queue raises
                log_error(self._logger, error, "unexpected error of the message queue's %s", what)
            finally:
                done.set()

        try:
            self._mode.start_task(run)
        except RuntimeError:  # no thread can be started at an interpreter's very end
            run()
        if not done.wait(timeout_s + END_S):
            self._logger.error(
                "the message queue's %s did not return within %g s and is left behind",
                what,
                timeout_s + END_S,
            )

    def _schedule_beat(self) -> None:
        self._beat_due_s = self._clock() + self._interval_s
        self._beating = self._mode.call_later(self._interval_s, lambda: self._mode.spawn(self._beat))

    def _beat(self) -> None:
        if self._ended:
            return
        now_s = self._clock()
        # Where this process stood still, what others said meanwhile waits unread: it is heard before anybody is judged.
        self._catching_up = not self._catching_up and now_s - self._beat_due_s > self._interval_s
        self._schedule_beat()  # now, for what follows may hang with the queue
        try:
            if not self._catching_up:
                self._look_after(now_s)
            # What is late by then says nothing about now, unless nothing else can tell that the broker takes messages.
            away = self.outbox.down and not self.outbox.wants_trial
            if not away and self.outbox.hangs_for(now_s) < HANGING_S:
                self._send_news("here")
        except Exception as error:  # noqa: BLE001  # the next heartbeat tries again
            log_error(
                self._logger, error, "unexpected error while announcing this server on the message queue"
            )

    def send_soon(self, message: Message, key: str, node: str = "") -> None:
        """Send a message from a worker; it is dropped if this node has left by then. See :meth:`send`."""
        self._mode.spawn(partial(self._send_unless_closed, message, key, node))

    def _send_unless_closed(self, message: Message, key: str, node: str) -> None:
        with contextlib.suppress(QueueClosed):
            self.send(message, key, node)

    def _send_news(self, state: str) -> None:
        news: Message = {"method": "node", "state": state, "host_id": self.node, "interval": self._interval_s}
        news.update(async_mode=self._mode.name, version=_version())
        if sent_to := self.outbox.sent_to():
            news.update(to=sent_to)
        if self.serves:
            news.update(protocol=PROTOCOL, topics=self.asking.topics.names(), time=time.time())
        if self._sent_at is None:
            self._sent_at = self._clock()
        self.outbox.put(self.prepare(news), self.node, numbered=False)

    def _send_news_unless_closed(self, state: str) -> None:
        with contextlib.suppress(QueueClosed):  # we are leaving ourselves
            self._send_news(state)

    def _look_after(self, now_s: float) -> None:
        deaf_s = now_s - self._echo_at
        if self.listener.subscribed and deaf_s < 2 * self._interval_s:  # else the silence is ours
            self._forget_silent(now_s)
        self._tell_gap(self._gaps.overdue(now_s))
        self.acks.expire(now_s)
        self.unanswered.expire(now_s)
        hangs_s = self.outbox.hangs_for(now_s)
        self._note_hanging(hangs_s, now_s)
        if now_s - self.listener.ticked_at > STUCK_S and self.listener.subscribed:
            self.listener.restart(f"no sign from the listener for {STUCK_S:g} s")
        elif (
            self.listener.subscribed
            and not self.outbox.down
            and hangs_s < self._interval_s  # or else there is nothing to hear
            and deaf_s > 3 * self._interval_s + 1
        ):
            self._echo_at = now_s
            self.listener.restart(f"our own messages have not come back for {deaf_s:.0f} s")

    def _forget_silent(self, now_s: float) -> None:
        for node, lost in self.peers.forget_silent(now_s).items():
            self.asking.left(node)
            self._roster.ask()
            self._tell_of_server(
                logging.WARNING, "server %s is gone: not heard for %d intervals", node, MISSED_INTERVALS
            )
            self._note_lost(node, lost, self.peers.settled_at(node), now_s)

    def _note_hanging(self, hangs_s: float, now_s: float) -> None:
        if hangs_s >= HANGING_S:
            if not self._hanging:
                self._hanging = True
                self._problem("sending", QueueUnavailable(_hanging(hangs_s)))
        elif self._hanging:
            self._hanging = False
            self._echo_at = now_s
            if not self.outbox.down:
                self._solved("sending", "publish() has returned", logging.INFO)

    # ------------------------------------------------------------------------------------------------- receiving

    def _hear(self, raw: bytes) -> None:
        self._receive(raw)
        if self.claims:
            self._settle_claims()

    def _settle_claims(self) -> None:
        for claim in tuple(self.claims):
            if claim():
                with contextlib.suppress(ValueError):  # the task whose place this one took has done it, too
                    self.claims.remove(claim)

    def lost_since(self, at_s: float) -> bool:
        """Return whether messages of other servers may be missing that were sent after a clock reading."""
        return self._in_doubt or self._lost_at >= at_s

    def unnumbered_since(self, at_s: float) -> bool:
        """Return whether something was heard since a clock reading that has no number, as from python-socketio."""
        return self._unnumbered_at >= at_s

    def _receive(self, raw: bytes) -> None:
        now_s = self._clock()
        try:
            signature = None if self._signer is None else self._verify(self._signer, raw, now_s)
            if sent_by(raw, self.node):
                self._hear_ourselves(raw, now_s)
                return
            message, method, sender, seq = self._read(raw if signature is None else unsigned(raw))
            if signature is not None:
                self._check_known(sender, signature, now_s)
        except Unauthentic as problem:
            self._unauthentic += 1
            self._tell_dropped(problem.kind, str(problem))
            return
        except Malformed as problem:
            self.refuse(problem.kind, str(problem))
            return
        if not isinstance(sender, str) or not isinstance(seq, int):  # from python-socketio
            self._unnumbered_at = now_s
            is_new = True
        elif message is None or method != "node":
            is_new = self.peers.is_new(sender, seq, now_s)
        elif signature is None or self.peers.is_news(sender, seq, signature.count, now_s):
            self._on_news(sender, message, seq, now_s)
            return
        else:
            is_new = False
        if is_new:
            self._received += 1
            if self._observers is not None and self._observers.observes_bus_messages:
                node = node_of(sender) if isinstance(sender, str) else None
                self._observers.bus_message(method=method, node=node, size_bytes=len(raw))
            if message is None and self.clients_come:  # one may have come since it was looked for
                message, *_ = self._read(raw)
            if message is not None:
                self._on_message(message)
        elif signature is not None:
            self._tell_dropped("heard before", "heard before: sent twice after an outage, or replayed")

    def _read(self, raw: bytes) -> tuple[Message | None, str, Any, Any]:
        """Return a message with its method, sender and number; ``None`` for one that is for clients elsewhere alone."""
        first = first_sid(raw)
        if first and not self._is_here(first):
            found = addressed(raw)
            if found is not None and not any(map(self._is_here, found[0])):
                return None, "emit_sids", *found[1:]
        message = self._wire.decode(raw)
        return message, message["method"], message.get("node"), message.get("seq")

    def _verify(self, signer: Signer, raw: bytes, now_s: float) -> Signature:
        """Check a message's signature.

        :raises Unauthentic: if it is not as it should be.
        """
        return signer.verify(raw, 0.0 if self._joined_at is None else now_s - self._joined_at)

    def _check_known(self, sender: object, signature: Signature, now_s: float) -> None:
        """Check that it can be known whether a message was heard before.

        :raises Unauthentic: if not.
        """
        if not isinstance(sender, str):
            raise Unauthentic("signed, and without a number")
        if self.peers.may_be_forgotten(sender, now_s - signature.age_s - CLOCK_SKEW_S):
            raise Unauthentic("from one of too many senders, perhaps heard before")

    def refuse(self, kind: str, why: str) -> None:
        """Count a message that cannot be used, and say so once for each kind and minute.

        :param kind: one of a few.
        """
        self._unreadable += 1
        self._tell_dropped(kind, why)

    def _tell_dropped(self, kind: str, why: str) -> None:
        more = self._repeats.take(kind)
        if more is not None:
            self._logger.warning(
                "dropped a message on %s: %s%s", self._name, printable(why, MOST_SENTENCE), more
            )

    def _hear_ourselves(self, raw: bytes, now_s: float) -> None:
        self._echo_at = now_s
        if (self._sent_at is None and not self._meeting) or self._wire.decode(raw)["method"] != "node":
            return
        if self._sent_at is not None:
            self._lag_s, self._sent_at = now_s - self._sent_at, None
        if self._meeting:
            self._met_at = now_s + MEET_S + 2 * (self._lag_s or 0.0)
            self._meeting = False
            self._echoed.set()

    def _on_news(self, node: str, news: Message, seq: int, now_s: float) -> None:
        state = news.get("state")
        if state in ("hello", "who") and self.serves:
            self._answer.ask()
        if state == "who":  # from ``flask socketio check``, which is no server
            return
        settled_at = self.peers.settled_at(node)
        if state == "bye":
            lost = self.peers.on_bye(node, news, seq, now_s)
            self.asking.left(node)
            self._roster.ask()
        else:
            is_new = node not in self.peers
            lost = self.peers.on_heartbeat(node, news, seq, now_s)
            if is_new:
                self._tell_of_server(logging.INFO, "server %s is there (%s)", node, news.get("async_mode"))
                self._roster.ask()
        self._note_lost(node, lost, settled_at, now_s)
        if state == "bye" or self.peers.settled_at(node) == now_s:
            self._tell_gap(self._gaps.settle(node, self.peers.lost))

    def _note_lost(self, node: str, lost: int, settled_at: float | None, now_s: float) -> None:
        if lost:
            self._lost_at = now_s
            self._tell_of_server(
                logging.ERROR,
                "%d messages of server %s never arrived here, %d of all servers so far",
                lost,
                node,
                self.peers.lost,
            )
            if settled_at is not None:
                self._tell_loss(self._gaps.lost(time.time() - (now_s - settled_at), lost))

    def _tell_servers(self) -> None:
        """Tell which servers have come and gone since the last time, one after the other."""
        if self._ended or not self.serves:
            return
        with self._servers_lock:
            there = {peer.node for peer in self.servers()}
            before, self._told_servers = self._told_servers, there
            for node in sorted(before ^ there):
                self._on_server(node, node in there)

    def _tell_of_server(self, level: int, text: str, *values: object) -> None:
        """Log something about another server; in few lines, because anyone who may publish can make servers up."""
        # As many kinds as lines, each of which is told once a minute.
        more = self._repeats.take((text, next(self._line) % SERVER_LINES))
        if more is not None:
            self._logger.log(level, text + "%s", *values, more)

    # ---------------------------------------------------------------------------------------------------- state

    def _sending_failed(self, error: BaseException) -> None:
        self._problem("sending", error)

    def _sending_drops(self, lost: int) -> None:
        more = self._repeats.take("not taken")
        if more is not None:
            self._logger.warning(
                "sending on %s: %d messages lost so far, since the broker takes none and not all can wait%s",
                self._name,
                lost,
                more,
            )

    def _sending_works(self, away_s: float, late: int, lost: int) -> None:
        self._echo_at = self._clock()  # there was nothing of ours to be heard
        self._solved(
            "sending",
            f"the broker was away for {away_s:.1f} s: {late} messages sent late, {lost} lost",
            logging.ERROR if lost else logging.INFO,
        )

    def _sending_overran(self, lost: int) -> None:
        detail = f"{lost} messages lost: the buffer was full, since the broker takes messages too slowly"
        self._logger.error("sending on %s: %s", self._name, detail)
        self._on_state(True, detail)

    def _listening_failed(self, error: BaseException) -> None:
        self._problem("listening", error)

    def _listening_works(self, away_s: float) -> None:
        now_s = self._clock()
        self._echo_at, self._sent_at = now_s, None
        self.peers.excuse_silence(now_s)
        self.outbox.look_again()
        skipped, self._skipped = self._skipped, None
        resumed = self._joined_at is not None and self.queue.capabilities.replay and skipped is None
        if self._joined_at is None:
            self._joined_at = now_s
        if away_s and self.serves:
            self._begin_gap(away_s, resumed, now_s)
        if self.serves:  # servers that answer are heard now, and say what they have sent
            self._mode.spawn(partial(self._send_news_unless_closed, "hello"))
        what = "what was sent meanwhile follows" if resumed else "what was sent meanwhile may be missing"
        cause = f" ({skipped})" if skipped else ""
        detail = f"heard nothing for {away_s:.1f} s, {what}{cause}" if away_s else "connected"
        level = logging.WARNING if away_s and not resumed else logging.INFO
        self._solved("listening", detail, level)
        with self._problems_lock:
            is_first, self._told_state = not self._told_state, True
        if is_first:
            self._on_state(True, detail)

    def _note_skip(self, reason: str) -> None:
        self._skipped = reason

    def _begin_gap(self, duration_s: float, resumed: bool, now_s: float) -> None:
        since = time.time() - duration_s
        if resumed:
            self._tell_gap(self._gaps.resumed(duration_s, since))
            return
        self._in_doubt = True
        nodes = [peer.node for peer in self.peers.alive(now_s)]
        until = now_s + max((MISSED_INTERVALS + 1) * self._interval_s, CONFIRM_S)
        self._tell_gap(self._gaps.begin(duration_s, since, nodes=nodes, lost=self.peers.lost, until=until))

    def _tell_gap(self, gap: Gap | None) -> None:
        if gap is None or not self.serves:
            return
        if not gap.resumed:
            self._in_doubt = False
            if gap.missed != 0:
                self._lost_at = self._clock()
        if gap.duration_s and not gap.resumed:
            what = (
                "nobody can say what is missing" if gap.missed is None else f"messages missing: {gap.missed}"
            )
            self._logger.log(
                logging.INFO if gap.missed == 0 else logging.ERROR,
                "after hearing nothing on %s for %.1f s: %s",
                self._name,
                gap.duration_s,
                what,
            )
        self._mode.spawn(partial(self._on_gap, gap))

    def _tell_loss(self, gap: Gap | None) -> None:
        """Tell what was lost without a gap."""
        if gap is None or gap.missed is None:
            return
        with self._problems_lock:
            before, self._loss = self._loss, gap
            if before is not None:
                missed = gap.missed + (before.missed or 0)
                self._loss = dataclasses.replace(gap, since=min(gap.since, before.since), missed=missed)
        self._losses.ask()

    def _tell_losses(self) -> None:
        with self._problems_lock:
            gap, self._loss = self._loss, None
        if gap is not None and self.serves:
            self._on_gap(gap)

    def _problem(self, which: str, error: BaseException) -> None:
        cause, refused = self._secrets.tell(error), isinstance(error, QueueRefused)
        with self._problems_lock:
            was_up = not self._problems
            self._told_state = True
            self._problems[which] = cause
            (self._refused.add if refused else self._refused.discard)(which)
        self._logger.log(
            logging.ERROR if refused else logging.WARNING,
            "%s on %s %s, trying again: %s",
            which,
            self._name,
            "is refused by the broker" if refused else "failed",
            cause,
        )
        if was_up:
            self._on_state(False, cause)

    def _solved(self, which: str, detail: str, level: int) -> None:
        with self._problems_lock:
            if self._problems.pop(which, None) is None:
                return
            self._refused.discard(which)
            self._solutions.append(detail)
            solutions = "; ".join(self._solutions)
            now_up = not self._problems
            if now_up:
                self._solutions.clear()
        self._logger.log(level, "%s on %s works again: %s", which, self._name, detail)
        if now_up:
            self._on_state(True, solutions)

    def health(self) -> BusHealth:
        """Return how the connection is, without asking the broker."""
        waiting, waiting_bytes = self.outbox.waiting
        now_s = self._clock()
        with self._problems_lock:
            problems, refused = dict(self._problems), bool(self._refused)
        if (hangs_s := self.outbox.hangs_for(now_s)) >= HANGING_S:
            problems.setdefault("sending", _hanging(hangs_s))
        if self.listener.started and not self.listener.subscribed and "listening" not in problems:
            problems["listening"] = "no subscription yet"
        return BusHealth(
            up=not problems,
            detail="; ".join(f"{which}: {cause}" for which, cause in sorted(problems.items())),
            refused=refused,
            node=self.node,
            peers=self.peers.alive(now_s),
            waiting=waiting,
            waiting_bytes=waiting_bytes,
            sent=self.outbox.sent,
            lost_sent=self.outbox.lost,
            received=self._received,
            unreadable=self._unreadable,
            unauthentic=self._unauthentic,
            lost_received=self.peers.lost,
            duplicates=self.peers.duplicates,
            gaps=self._gaps.count,
            gaps_s=self._gaps.total_s,
            lag_s=self._lag(now_s),
        )

    def _lag(self, now_s: float) -> float | None:
        sent_at, lag_s = self._sent_at, self._lag_s
        return lag_s if sent_at is None or lag_s is None else max(lag_s, now_s - sent_at)


def _hanging(seconds: float) -> str:
    return f"the queue's publish() has not returned for {seconds:.0f} s"


def _version() -> str:
    try:
        return version("flask-socketio-core")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "?"
