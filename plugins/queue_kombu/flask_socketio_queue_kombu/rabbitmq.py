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
"""

from __future__ import annotations

import uuid
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, ClassVar

from flask_socketio_core.cluster.settings import Setting
from flask_socketio_core.contracts import QueueCapabilities

from .client import Exchange, Queue
from .queue import CONTENT_ENCODING, CONTENT_TYPE, SETTINGS, KombuQueue, body_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from flask_socketio_core.contracts import AsyncMode

#: Most messages that the broker sends ahead of our acknowledgements.
PREFETCH = 200
#: Messages after which the broker is told that we have them. One frame for many is what makes this cheap.
ACK_EVERY = 20
#: AMQP's reply code to a declaration that differs from what is there.
PRECONDITION_FAILED = 406
#: AMQP's reply code to a name that is not there.
NOT_FOUND = 404
#: AMQP's delivery mode for messages that are written to the disk.
PERSISTENT = 2


class RabbitMQQueue(KombuQueue):
    """Persistent messages with publisher confirms, and a queue per server that outlives its connection."""

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

    def _publishing_options(self) -> dict[str, Any]:
        timeout = self._settings["publish_timeout_s"]
        return {"confirm_publish": True, "write_timeout": timeout, "read_timeout": timeout}

    def _listening_options(self) -> dict[str, Any]:
        return {"heartbeat": self._settings["heartbeat_s"]}

    def _open_publisher(self, connection: Any) -> Any:
        return connection.default_channel

    def _send_on(self, publisher: Any, message: bytes) -> None:
        # On the channel itself: Kombu's producer costs more than the rest of a publish.
        prepared = publisher.prepare_message(
            message,
            content_type=CONTENT_TYPE,
            content_encoding=CONTENT_ENCODING,
            properties={"delivery_mode": PERSISTENT},
        )
        publisher.basic_publish(
            prepared, exchange=f"{self.channel}.v1", confirm_timeout=self._settings["publish_timeout_s"]
        )

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
        while not self._closed:
            with self._our_errors():
                if unacknowledged and (unacknowledged >= ACK_EVERY or not arrived):
                    channel.basic_ack(latest.delivery_tag, multiple=True)
                    unacknowledged = 0
                if not arrived:
                    connection.heartbeat_check()
                    self._drain(connection)
            if not arrived:
                yield b""
                continue
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
