"""RabbitMQ, durable: a message that ``publish`` accepted reaches every server that comes back in time.

What is declared, for a channel ``chat``::

    publishers of ours --> exchange chat.v1 (durable) --> queue chat.<id> (durable, expires) of each server of ours
                              |                              ^
                              v                              |
    python-socketio -----> exchange chat (transient) --------+--> queues of python-socketio's servers

The exchange ``chat`` is python-socketio's. It cannot be made durable while old processes declare it transient, and a
transient exchange loses its bindings with the broker: a message that was confirmed on it right after a restart has
reached nobody. So ours go to an exchange of our own, which feeds the old one. RabbitMQ delivers a message once to a
queue that it reaches over both.

A message is confirmed by RabbitMQ when it is safe there. Nobody waits for that: what is not confirmed yet is kept, and
handed back to be sent again if the connection is lost first. Confirmations are read by the task that publishes, now and
then, and by a timer when nobody does. Receivers know what is sent twice by its number.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from flask_socketio_core import queues
from flask_socketio_core.contracts import MessageQueue, QueueCapabilities
from flask_socketio_core.errors import QueueUnavailable
from flask_socketio_core.queues import Setting

from . import pyamqp
from .client import (
    CONTENT_ENCODING,
    CONTENT_TYPE,
    TICK_S,
    Exchange,
    Queue,
    body_of,
    hear,
    shared_exchange,
)
from .connections import SETTINGS, Connections
from .publisher import Publisher
from .unconfirmed import Sent, Unconfirmed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flask_socketio_core.contracts import AsyncMode, Handle

NAME = "rabbitmq"
#: Most messages that the broker sends ahead of our acknowledgements.
PREFETCH = 200
#: Messages, and seconds of silence, after which the broker is told that we have them. One frame for many is what makes
#: this cheap.
ACK_EVERY = 50
ACK_S = 0.01
#: Most messages and bytes that are not confirmed yet; a publisher beyond waits for a confirmation.
MAX_UNCONFIRMED = 500
MAX_UNCONFIRMED_BYTES = 8 * 1024 * 1024
#: Messages, and seconds, after which a publisher looks for confirmations and for the end of the connection.
LOOK_EVERY = 32
LOOK_S = 0.05
#: Seconds between two looks of the timer.
WATCH_S = 0.2
#: AMQP's reply code to a declaration that differs from what is there.
PRECONDITION_FAILED = 406
#: AMQP's reply code to a name that is not there.
NOT_FOUND = 404
#: AMQP's delivery mode for messages that are written to the disk.
PERSISTENT = 2

OWN_SETTINGS = (
    *SETTINGS,
    Setting("heartbeat_s", float, 10.0, "seconds between signs of life on a listener's connection", above=0),
    Setting(
        "queue_expires_s",
        float,
        300.0,
        "seconds a server's queue outlives its connection; python-socketio has 300, too",
        above=0,
    ),
)


class RabbitMQQueue(MessageQueue):
    """Persistent messages with publisher confirms, and a queue per server that outlives its connection.

    A message counts as accepted when it was written to the connection. If the connection is lost, a message is refused,
    or nothing is confirmed for ``publish_timeout_s``, all that is not confirmed is handed back to :attr:`on_failure`.
    """

    capabilities: ClassVar[QueueCapabilities] = QueueCapabilities(
        durable=True, replay=True, max_message_bytes=64 * 1024 * 1024
    )

    def __init__(self, url: str, channel: str, *, mode: AsyncMode, options: Mapping[str, Any]) -> None:
        super().__init__(url, channel, mode=mode, options=options)
        self._connections = Connections(url, options, OWN_SETTINGS, where=NAME)
        self._connections.use_pyamqp()
        self._our_errors = self._connections.our_errors
        self._timeout_s = self._connections.timeout_s
        self._publisher = Publisher(
            NAME, mode, self._connections, prepare=self._prepare, on_drop=self._hand_back_all
        )
        self._exchange_name = f"{channel}.v1"
        self._unconfirmed = Unconfirmed()
        self._to_hand_back: list[Sent] = []  # by the task that publishes next
        self._interrupted = False
        self._looked_at = 0.0
        self._sent_since = 0
        self._watch: Handle | None = None
        self._queue_name = f"{channel}.{uuid.uuid4().hex}"
        self._consumed = False
        # What was yielded last, by hash: after a lost connection the broker sends again what it has no
        # acknowledgement for, and that can be no more than it may send ahead.
        self._recent: deque[int] = deque(maxlen=PREFETCH + ACK_EVERY)

    # ---------------------------------------------------------------------------------------------- publishing

    def publish(self, message: bytes, *, key: str = "") -> None:
        queues.check_size(message, self.max_message_bytes, NAME)
        with self._publisher.turn():
            self._hand_back_the_rest()
            if self._interrupted:
                self._interrupted = False
                raise QueueUnavailable(
                    "the connection was lost, and what was sent before has to be sent first"
                )
            self._publisher.attempt(lambda: self._send(message))
            self._unconfirmed.add(message, key, time.monotonic())
            self._watch_confirms()

    def _send(self, message: bytes) -> None:
        channel = self._publisher.connected()
        self._look()
        # On the channel itself: Kombu's producer costs more than the rest of a publish.
        prepared = channel.prepare_message(
            message,
            content_type=CONTENT_TYPE,
            content_encoding=CONTENT_ENCODING,
            properties={"delivery_mode": PERSISTENT},
        )
        pyamqp.publish(channel, self._exchange_name, prepared)

    def _prepare(self, connection: Any) -> Any:
        self._declare_exchanges(connection)
        channel = connection.default_channel
        pyamqp.read_ahead(channel.connection)
        channel.confirm_select()
        channel.events["basic_ack"].add(self._confirmed)
        channel.events["basic_nack"].add(_refused)
        return channel

    def flush(self, timeout_s: float) -> int:
        publisher = self._publisher
        deadline = time.monotonic() + timeout_s
        if not publisher.lock.acquire(timeout=timeout_s):
            return len(self._unconfirmed)
        try:
            self._hand_back_the_rest()
            with self._our_errors:
                while self._unconfirmed:
                    self._read_confirms(max(deadline - time.monotonic(), 0.001))
        except QueueUnavailable:
            left = len(self._unconfirmed)
            if time.monotonic() < deadline:
                publisher.drop()
            return left
        except BaseException:  # a greenlet's Timeout, Ctrl-C: half a frame may have been read
            publisher.drop()
            raise
        finally:
            publisher.lock.release()
        return 0

    def ping(self) -> None:
        self._publisher.ping(self._declare_exchanges)

    def close(self) -> None:
        self._publisher.close()

    # ------------------------------------------------------------------------------------------- confirmations

    def _confirmed(self, tag: int, multiple: bool) -> None:
        self._unconfirmed.confirm(tag, multiple, time.monotonic())

    def _look(self) -> None:
        """Read confirmations now and then, and wait for them when there are too few."""
        self._sent_since += 1
        now_s = time.monotonic()
        if self._sent_since >= LOOK_EVERY or now_s - self._looked_at > LOOK_S:
            self._looked_at, self._sent_since = now_s, 0
            self._read_what_is_there()
        while len(self._unconfirmed) >= MAX_UNCONFIRMED or self._unconfirmed.bytes >= MAX_UNCONFIRMED_BYTES:
            self._read_confirms(max(self._timeout_s - self._unconfirmed.waiting_s(time.monotonic()), 0.001))

    def _read_what_is_there(self) -> None:
        while hear(self._publisher.sender.connection, 0):
            pass
        if self._unconfirmed.waiting_s(time.monotonic()) > self._timeout_s:
            raise TimeoutError(f"nothing was confirmed for {self._timeout_s:g} s")

    def _read_confirms(self, timeout_s: float) -> None:
        """Read what arrives next; a ``TimeoutError`` if nothing does."""
        self._publisher.sender.connection.drain_events(timeout=timeout_s)

    def _watch_confirms(self) -> None:
        """See to it that confirmations are read, and that a lost connection is noticed, when nobody publishes."""
        if self._watch is None and self._unconfirmed and not self._publisher.closed:
            self._watch = self.mode.call_later(WATCH_S, lambda: self.mode.spawn(self._check_confirms))

    def _check_confirms(self) -> None:
        with self._publisher.lock:
            self._watch = None
            try:
                if self._unconfirmed:
                    with self._our_errors:
                        self._read_what_is_there()
                self._watch_confirms()
            except QueueUnavailable:
                self._hand_back_the_oldest()

    # ------------------------------------------------------------------------------------------- what was lost

    def _hand_back_all(self) -> bool:
        """Hand back what is not confirmed, because its connection was left; return whether there was anything."""
        lost = self._unconfirmed.take_all()
        self._hand_back(lost)
        return bool(lost)

    def _hand_back_the_oldest(self) -> None:
        """Leave the connection and hand back its oldest message: the owner publishes again then, and gets the others.

        He may be about to publish a newer one at this moment, which must not overtake those.
        """
        self._publisher.leave()
        lost = self._unconfirmed.take_all()
        self._interrupted = self._interrupted or bool(lost)
        self._to_hand_back = lost[1:]
        self._hand_back(lost[:1])

    def _hand_back_the_rest(self) -> None:
        rest, self._to_hand_back = self._to_hand_back, []
        self._hand_back(rest)

    def _hand_back(self, lost: list[Sent]) -> None:
        if self.on_failure is not None and not self._publisher.closed:
            for sent in lost:
                self.on_failure(sent.message, sent.key)

    # ----------------------------------------------------------------------------------------------- listening

    def listen(self) -> Iterator[bytes]:
        self._publisher.check_open()
        arrived: deque[Any] = deque()
        with self._our_errors:
            connection = self._connections.open(heartbeat=self._connections.settings["heartbeat_s"])
        try:
            with self._our_errors:
                self._declare_exchanges(connection)
                self._check_kept(connection)
                channel = self._declare_queue(connection)
                channel.basic_qos(0, PREFETCH, False)
                channel.basic_consume(self._queue_name, callback=arrived.append)
            yield b""
            yield from self._messages(connection, channel, arrived)
            with (
                self._our_errors
            ):  # leave nothing behind; after any other end than this one the queue expires
                channel.queue_delete(self._queue_name)
        finally:
            connection.collect()

    def _messages(self, connection: Any, channel: Any, arrived: deque[Any]) -> Iterator[bytes]:
        repeated = Counter(self._recent)
        unacknowledged = 0
        latest: Any = None
        reader = pyamqp.read_ahead(channel.connection)
        pyamqp.limit_waiting_of(channel.connection, TICK_S)
        while not self._publisher.closed:
            with self._our_errors:
                heard = hear(channel.connection, TICK_S if reader.waiting or not unacknowledged else ACK_S)
                if unacknowledged and (unacknowledged >= ACK_EVERY or not heard):
                    channel.basic_ack(latest.delivery_tag, multiple=True)
                    unacknowledged = 0
                elif not heard:
                    connection.heartbeat_check()
            if not heard:
                yield b""
            while arrived:
                latest = arrived.popleft()
                unacknowledged += 1
                body = body_of(latest)
                mark = hash(body)
                if latest.delivery_info.get("redelivered") and repeated[mark] > 0:
                    repeated[mark] -= 1
                    continue
                self._recent.append(mark)
                yield body

    # ------------------------------------------------------------------------------------------------ topology

    def _own_exchange(self) -> Any:
        return Exchange(self._exchange_name, type="fanout", durable=True)

    def _declare_exchanges(self, connection: Any) -> None:
        self._own_exchange()(connection.default_channel).declare()
        with connection.channel() as channel:
            try:
                shared_exchange(self.channel)(channel).declare()
            except connection.channel_errors as error:
                # Somebody declared it with other properties; all we need is that it exists.
                if getattr(error, "code", None) != PRECONDITION_FAILED:
                    raise
        connection.default_channel.exchange_bind(destination=self.channel, source=self._exchange_name)

    def _declare_queue(self, connection: Any) -> Any:
        """Declare this server's queue; return the channel."""
        channel = connection.default_channel
        expires_s = self._connections.settings["queue_expires_s"]
        queue = Queue(self._queue_name, self._own_exchange(), durable=True, expires=expires_s)(channel)
        queue.declare()
        queue.bind_to(self.channel)
        self._consumed = True
        return channel

    def _check_kept(self, connection: Any) -> None:
        """Say so if the queue of an earlier connection is gone, and what was in it."""
        if not self._consumed or self.on_skip is None:
            return
        with connection.channel() as channel:
            try:
                channel.queue_declare(self._queue_name, passive=True)
            except connection.channel_errors as error:
                if getattr(error, "code", None) != NOT_FOUND:
                    raise
                self.on_skip(
                    "RabbitMQ has this server's queue no longer: it expires "
                    f"queue_expires_s={self._connections.settings['queue_expires_s']:g} s after its connection"
                )


def _refused(tag: int, multiple: bool) -> NoReturn:
    raise QueueUnavailable("RabbitMQ refused a message (basic.nack)")
