"""Any transport of Kombu that can fan out, over one transient fanout exchange, as python-socketio uses it."""

from __future__ import annotations

import time
import uuid
from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar

from flask_socketio_core import queues
from flask_socketio_core.contracts import MessageQueue, QueueCapabilities
from flask_socketio_core.errors import QueueUnavailable

from . import pyamqp
from .client import CONTENT_ENCODING, CONTENT_TYPE, TICK_S, Queue, body_of, hear, shared_exchange
from .connections import SETTINGS, Connections
from .publisher import Publisher

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flask_socketio_core.contracts import AsyncMode

#: Seconds given to the first poll of a transport that subscribes only then.
SETTLE_S = 0.1
#: Messages after which a publisher asks the broker whether it is still there.
ASK_EVERY = 500
NAME = "kombu"


class KombuQueue(MessageQueue):
    """Publish to the fanout exchange ``<channel>``, listen with a queue of our own that is bound to it.

    A message reaches the queues that are bound at that moment; nothing is kept for a listener that lost its connection.
    """

    # Order depends on the transport: filesystem names its files by the millisecond.
    capabilities: ClassVar[QueueCapabilities] = QueueCapabilities(
        ordered=False, max_message_bytes=16 * 1024 * 1024
    )

    def __init__(self, url: str, channel: str, *, mode: AsyncMode, options: Mapping[str, Any]) -> None:
        super().__init__(url, channel, mode=mode, options=options)
        self._connections = Connections(url, options, SETTINGS, where=NAME)
        self._our_errors = self._connections.our_errors
        self._timeout_s = self._connections.timeout_s
        self._publisher = Publisher(NAME, mode, self._connections, prepare=self._prepare)
        self._unanswered = 0  # messages since the broker's last answer

    # ---------------------------------------------------------------------------------------------- publishing

    def publish(self, message: bytes, *, key: str = "") -> None:
        queues.check_size(message, self.max_message_bytes, NAME)
        with self._publisher.turn():
            self._publisher.attempt(lambda: self._send(message))

    def _send(self, message: bytes) -> None:
        producer = self._publisher.connected()
        if self._unanswered >= ASK_EVERY:
            self._ask(self._timeout_s)
        producer.publish(message, content_type=CONTENT_TYPE, content_encoding=CONTENT_ENCODING)
        self._unanswered += 1

    def _prepare(self, connection: Any) -> Any:
        self._declare_exchanges(connection)
        self._unanswered = 0
        return connection.Producer(exchange=shared_exchange(self.channel), auto_declare=False)

    def flush(self, timeout_s: float) -> int:
        """Wait until the broker has what was published; return how many messages it has not answered for.

        Over AMQP a message is with the operating system when it is published, and lost with a connection that ends
        before the broker has read it. A lost message is not sent again.
        """
        publisher = self._publisher
        deadline = time.monotonic() + timeout_s
        if not publisher.lock.acquire(timeout=timeout_s):
            return self._unanswered
        try:
            if self._unanswered and publisher.sender is not None:
                with self._our_errors:
                    self._ask(max(deadline - time.monotonic(), 0.001))
        except QueueUnavailable:
            publisher.drop()
        except BaseException:  # a greenlet's Timeout, Ctrl-C: half a frame may have been written
            publisher.drop()
            raise
        finally:
            publisher.lock.release()
        return self._unanswered

    def _ask(self, timeout_s: float) -> None:
        """Let the broker answer something that changes nothing: it takes what a channel sends in order."""
        publisher = self._publisher
        pyamqp.limit_waiting(publisher.connection, timeout_s)
        shared_exchange(self.channel)(publisher.sender.channel).declare()
        pyamqp.limit_waiting(publisher.connection, self._timeout_s)
        self._unanswered = 0

    def ping(self) -> None:
        self._publisher.ping(self._declare_exchanges)

    def close(self) -> None:
        self._publisher.close()

    # ----------------------------------------------------------------------------------------------- listening

    def listen(self) -> Iterator[bytes]:
        self._publisher.check_open()
        arrived: deque[Any] = deque()
        with self._our_errors:
            connection = self._connections.open()
        try:
            with self._our_errors:
                self._declare_exchanges(connection)
                consumer = connection.Consumer([self._new_queue()], on_message=arrived.append, no_ack=True)
                consumer.consume()
                if not self._connections.speaks_amqp:
                    hear(connection, SETTLE_S)
            yield b""
            while not self._publisher.closed:
                with self._our_errors:
                    hear(connection, TICK_S)
                if not arrived:
                    yield b""
                while arrived:
                    yield body_of(arrived.popleft())
            with self._our_errors:
                consumer.cancel()
        finally:
            connection.collect()

    def _new_queue(self) -> Any:
        name = f"{self.channel}.{uuid.uuid4().hex}"
        return Queue(name, shared_exchange(self.channel), durable=False, auto_delete=True)

    def _declare_exchanges(self, connection: Any) -> None:
        shared_exchange(self.channel)(connection.default_channel).declare()
