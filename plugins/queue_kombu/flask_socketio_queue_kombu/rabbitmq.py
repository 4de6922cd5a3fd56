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
handed back to be sent again if the connection is lost first. Confirmations are read by whoever publishes, now and then,
and by a timer when nobody does. Receivers know what is sent twice by its number.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from flask_socketio_core.contracts import QueueCapabilities
from flask_socketio_core.errors import QueueUnavailable
from flask_socketio_core.queues import Setting

from .client import Exchange, Queue
from .queue import CONTENT_ENCODING, CONTENT_TYPE, SETTINGS, TICK_S, KombuQueue, body_of
from .readahead import read_ahead
from .unconfirmed import Sent, Unconfirmed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from flask_socketio_core.contracts import AsyncMode, Handle

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
#: AMQP's class and method of a message that is sent.
BASIC_PUBLISH = (60, 40)
#: AMQP's delivery mode for messages that are written to the disk.
PERSISTENT = 2


class RabbitMQQueue(KombuQueue):
    """Persistent messages with publisher confirms, and a queue per server that outlives its connection.

    A message counts as accepted when it was written to the connection. If the connection is lost, a message is refused,
    or nothing is confirmed for ``publish_timeout_s``, all that is not confirmed is handed back to :attr:`on_failure`.
    """

    capabilities: ClassVar[QueueCapabilities] = QueueCapabilities(
        durable=True, replay=True, max_message_bytes=64 * 1024 * 1024
    )
    label = "rabbitmq"
    known_settings = (
        *SETTINGS,
        Setting(
            "heartbeat_s", float, 10.0, "seconds between signs of life on a listener's connection", above=0
        ),
        Setting(
            "queue_expires_s",
            float,
            300.0,
            "seconds a server's queue outlives its connection; python-socketio has 300, too",
            above=0,
        ),
    )

    def __init__(self, url: str, channel: str, *, mode: AsyncMode, options: Mapping[str, Any]) -> None:
        super().__init__(url, channel, mode=mode, options=options)
        if self._address.startswith("amqp://"):
            self._address = f"py{self._address}"  # never the C library, which has no confirms
        self._queue_name = f"{channel}.{uuid.uuid4().hex}"
        self._consumed = False
        # What was yielded last, by hash: after a lost connection the broker sends again what it has no
        # acknowledgement for, and that can be no more than it may send ahead.
        self._recent: deque[int] = deque(maxlen=PREFETCH + ACK_EVERY)
        self._unconfirmed = Unconfirmed()
        self._owed: list[Sent] = []  # what is to be handed back by whoever publishes next
        self._interrupted = False
        self._looked_at = 0.0
        self._sent_since = 0
        self._watch: Handle | None = None

    # ---------------------------------------------------------------------------------------------- publishing

    def publish(self, message: bytes, *, key: str = "") -> None:
        self._check_size(message)
        with self._own_turn():
            self._hand_back_the_rest()
            if self._interrupted:
                self._interrupted = False
                raise QueueUnavailable(
                    "the connection was lost, and what was sent before has to be sent first"
                )
            self._twice(lambda: self._send(message))
            self._unconfirmed.add(message, key, time.monotonic())
            self._watch_confirms()

    def flush(self, timeout_s: float) -> int:
        deadline = time.monotonic() + timeout_s
        if not self._turn.acquire(timeout=timeout_s):
            return len(self._unconfirmed)
        try:
            self._hand_back_the_rest()
            with self._our_errors():
                while self._unconfirmed:
                    self._read_confirms(max(deadline - time.monotonic(), 0.001))
        except QueueUnavailable:
            left = len(self._unconfirmed)
            if time.monotonic() < deadline:
                self._drop_publisher()
            return left
        finally:
            self._turn.release()
        return 0

    def _open_publisher(self, connection: Any) -> Any:
        channel = connection.default_channel
        read_ahead(channel.connection)
        channel.confirm_select()
        channel.events["basic_ack"].add(self._confirmed)
        channel.events["basic_nack"].add(_refused)
        return channel

    def _send_on(self, publisher: Any, message: bytes) -> None:
        self._look()
        # On the channel itself: Kombu's producer costs more than the rest of a publish.
        prepared = publisher.prepare_message(
            message,
            content_type=CONTENT_TYPE,
            content_encoding=CONTENT_ENCODING,
            properties={"delivery_mode": PERSISTENT},
        )
        # basic_publish() would look for news from the broker before each message.
        publisher.send_method(BASIC_PUBLISH, "Bssbb", (0, f"{self.channel}.v1", "", False, False), prepared)

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
        try:
            while True:
                self._read_confirms(0)
        except TimeoutError:
            pass
        if self._unconfirmed.waiting_s(time.monotonic()) > self._timeout_s:
            raise TimeoutError(f"nothing was confirmed for {self._timeout_s:g} s")

    def _read_confirms(self, timeout_s: float) -> None:
        """Read what arrives next; a ``TimeoutError`` if nothing does."""
        self._producer.connection.drain_events(timeout=timeout_s)

    def _watch_confirms(self) -> None:
        """See to it that confirmations are read, and that a lost connection is noticed, when nobody publishes."""
        if self._watch is None and self._unconfirmed and not self._closed:
            self._watch = self.mode.call_later(WATCH_S, lambda: self.mode.spawn(self._check_confirms))

    def _check_confirms(self) -> None:
        with self._turn:
            self._watch = None
            try:
                if self._unconfirmed:
                    with self._our_errors():
                        self._read_what_is_there()
                self._watch_confirms()
            except QueueUnavailable:
                self._call_for_help()

    def _drop_publisher(self) -> bool:
        super()._drop_publisher()
        lost = self._unconfirmed.take_all()
        self._hand_back(lost)
        return bool(lost)

    def _call_for_help(self) -> None:
        """Hand back the oldest message, which makes the owner publish again, and the others when he does.

        He may be about to publish a newer one at this moment, which must not overtake those.
        """
        super()._drop_publisher()
        lost = self._unconfirmed.take_all()
        self._interrupted = self._interrupted or bool(lost)
        self._owed = lost[1:]
        self._hand_back(lost[:1])

    def _hand_back_the_rest(self) -> None:
        owed, self._owed = self._owed, []
        self._hand_back(owed)

    def _hand_back(self, lost: list[Sent]) -> None:
        if self.on_failure is not None and not self._closed:
            for sent in lost:
                self.on_failure(sent.message, sent.key)

    # ---------------------------------------------------------------------------------------------- topology

    def _own_exchange(self) -> Any:
        return Exchange(f"{self.channel}.v1", type="fanout", durable=True)

    def _declare_exchanges(self, connection: Any) -> None:
        self._own_exchange()(connection.default_channel).declare()
        with connection.channel() as channel:
            try:
                self._exchange()(channel).declare()
            except connection.channel_errors as error:
                # Somebody declared it with other properties; all we need is that it exists.
                if getattr(error, "code", None) != PRECONDITION_FAILED:
                    raise
        connection.default_channel.exchange_bind(destination=self.channel, source=f"{self.channel}.v1")

    def _consume(self, connection: Any, on_message: Callable[[Any], None]) -> Any:
        queue = Queue(
            self._queue_name, self._own_exchange(), durable=True, expires=self._settings["queue_expires_s"]
        )(connection.default_channel)
        self._check_kept(connection)
        queue.declare()
        queue.bind_to(self.channel)
        self._consumed = True
        channel = connection.default_channel
        channel.basic_qos(0, PREFETCH, False)
        channel.basic_consume(self._queue_name, callback=on_message)
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
                    f"queue_expires_s={self._settings['queue_expires_s']:g} s after its connection"
                )

    def _messages(self, connection: Any, channel: Any, arrived: deque[Any]) -> Iterator[bytes]:
        repeated = Counter(self._recent)
        unacknowledged = 0
        latest: Any = None
        reader = read_ahead(channel.connection)
        channel.connection.transport.sock.settimeout(
            TICK_S
        )  # else py-amqp sets it before and after each frame
        while not self._closed:
            with self._our_errors():
                heard = self._hear(
                    channel.connection, TICK_S if reader.waiting or not unacknowledged else ACK_S
                )
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
        with self._our_errors():  # leave nothing behind; after any other end than this one the queue expires
            channel.queue_delete(self._queue_name)

    @staticmethod
    def _hear(amqp: Any, timeout_s: float) -> bool:
        try:
            amqp.drain_events(timeout=timeout_s)
        except TimeoutError:
            return False
        return True


def _refused(tag: int, multiple: bool) -> NoReturn:
    raise QueueUnavailable("RabbitMQ refused a message (basic.nack)")
