"""Any transport of Kombu that can fan out, over one transient fanout exchange, as python-socketio uses it."""

from __future__ import annotations

import socket
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qsl, unquote

from flask_socketio_core import queues
from flask_socketio_core.contracts import MessageQueue, QueueCapabilities, Verdict
from flask_socketio_core.errors import MessageTooLarge, PartUnsuitable, QueueClosed, QueueUnavailable
from flask_socketio_core.queues import Setting

from .client import REDIS, Connection, Exchange, Queue, foreign_errors, refusals
from .transports import ON_REQUEST, claims, transport_of

if TYPE_CHECKING:
    from flask_socketio_core.contracts import AsyncMode

#: Seconds between two ``b""`` of a quiet channel.
TICK_S = 0.5
#: Seconds between two polls of a transport that cannot wait. Kombu's own default of 1.0 is for task queues.
POLL_S = 0.05
#: What python-socketio's managers take for JSON.
CONTENT_TYPE = "application/json"
CONTENT_ENCODING = "utf-8"
#: Transports that tell when a subscription exists. The others subscribe when they are first polled.
NATIVE = frozenset({"amqp", "amqps", "pyamqp", "librabbitmq"})
#: Seconds given to that first poll.
SETTLE_S = 0.1
#: Messages after which a publisher asks the broker whether it is still there.
ASK_EVERY = 500

SETTINGS: tuple[Setting[Any], ...] = (
    Setting("publish_timeout_s", float, 2.0, "seconds a publish may take", above=0),
    Setting("connect_timeout", float, 2.0, "seconds a connection attempt may take", above=0),
    Setting("login_method", str, None, "SASL mechanism, as Kombu names it"),
    Setting("ssl", object, None, "True, or a dict of Kombu's TLS settings"),
    Setting("transport_options", object, {}, "further options for Kombu's transport"),
)


class KombuQueue(MessageQueue):
    """Publish to the fanout exchange ``<channel>``, listen with a queue of our own that is bound to it.

    A message reaches whoever is bound at that moment; nothing is kept for a listener that lost its connection.
    """

    # Order depends on the transport: filesystem names its files by the millisecond.
    capabilities: ClassVar[QueueCapabilities] = QueueCapabilities(
        ordered=False, max_message_bytes=16 * 1024 * 1024
    )
    known_settings: ClassVar[tuple[Setting[Any], ...]] = SETTINGS
    label: ClassVar[str] = "kombu"

    def __init__(self, url: str, channel: str, *, mode: AsyncMode, options: Mapping[str, Any]) -> None:
        super().__init__(url, channel, mode=mode, options=options)
        self._address, _, query = url.partition("?")
        scheme, _, rest = self._address.partition("://")
        if scheme.lower().startswith("kombu+"):
            self._address = f"{scheme[len('kombu+') :]}://{rest}"
        self._settings = queues.read(self.known_settings, options, dict(parse_qsl(query)), where=self.label)
        self._transport = transport_of(scheme)
        self._transport_options = dict(self._settings["transport_options"])
        self._check_transport(scheme, rest)
        self._foreign = foreign_errors(self._transport)
        self._refusals = refusals(self._transport)
        self._timeout_s: float = self._settings["publish_timeout_s"]
        self._closed = False
        self._unanswered = 0  # messages since the broker's last answer
        self._publisher: Any = None
        self._producer: Any = None
        self._turn = mode.create_yielding_lock()

    # ---------------------------------------------------------------------------------------------- publishing

    def publish(self, message: bytes, *, key: str = "") -> None:
        self._check_size(message)
        with self._own_turn():
            self._twice(lambda: self._send(message))

    def _check_size(self, message: bytes) -> None:
        limit = self.capabilities.max_message_bytes
        if limit is not None and len(message) > limit:
            raise MessageTooLarge(
                f"message of {len(message)} bytes exceeds the {self.label} queue's {limit} bytes"
            )

    def _send(self, message: bytes) -> None:
        if self._producer is None:
            self._publisher = self._connect()
            self._declare_exchanges(self._publisher)
            self._producer = self._open_publisher(self._publisher)
        self._send_on(self._producer, message)

    def _open_publisher(self, connection: Any) -> Any:
        self._unanswered = 0
        return connection.Producer(exchange=self._exchange(), auto_declare=False)

    def _send_on(self, publisher: Any, message: bytes) -> None:
        if self._unanswered >= ASK_EVERY:
            self._ask(self._timeout_s)
        publisher.publish(message, content_type=CONTENT_TYPE, content_encoding=CONTENT_ENCODING)
        self._unanswered += 1

    def flush(self, timeout_s: float) -> int:
        """Wait until the broker has what was published; return how many messages it has not answered for.

        Over AMQP a message is with the operating system when it is published, and lost with a connection that ends
        before the broker has read it. A lost message is not sent again.
        """
        deadline = time.monotonic() + timeout_s
        if not self._turn.acquire(timeout=timeout_s):
            return self._unanswered
        try:
            if self._unanswered and self._producer is not None:
                with self._our_errors():
                    self._ask(max(deadline - time.monotonic(), 0.001))
        except QueueUnavailable:
            self._drop_publisher()
        except BaseException:  # a greenlet's Timeout, Ctrl-C: half a frame may have been written
            self._drop_publisher()
            raise
        finally:
            self._turn.release()
        return self._unanswered

    def _ask(self, timeout_s: float) -> None:
        """Let the broker answer something that changes nothing: it takes what a channel sends in order."""
        self._limit_waiting(self._publisher, timeout_s)
        self._exchange()(self._producer.channel).declare()
        self._limit_waiting(self._publisher, self._timeout_s)
        self._unanswered = 0

    def ping(self) -> None:
        with self._own_turn():
            self._twice(self._round_trip)

    def _round_trip(self) -> None:
        with self._connect() as connection:
            self._declare_exchanges(connection)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._turn.acquire(
            timeout=self._timeout_s
        ):  # or else whoever publishes drops it when that is done
            self._drop_publisher()
            self._turn.release()

    @contextmanager
    def _own_turn(self) -> Iterator[None]:
        self._check_open()
        if not self._turn.acquire(timeout=2 * self._timeout_s):
            raise QueueUnavailable("other publishers have not finished with the broker in time")
        try:
            self._check_open()
            yield
        finally:
            if self._closed:
                self._drop_publisher()
            self._turn.release()

    def _twice(self, action: Callable[[], None]) -> None:
        """Do something on the publishing connection, again on a new one if the old one had died unnoticed.

        Not again if messages were lost with the old one, which have to be sent first.
        """
        was_open = self._publisher is not None
        try:
            with self._our_errors():
                action()
            return
        except QueueUnavailable as error:
            lost = self._drop_publisher()
            if lost or not was_open or isinstance(error.__cause__, socket.timeout):
                raise
        except BaseException:  # a greenlet's Timeout, Ctrl-C: half a frame may have been written
            self._drop_publisher()
            raise
        try:
            with self._our_errors():
                action()
        except BaseException:
            self._drop_publisher()
            raise

    def _drop_publisher(self) -> bool:
        """Leave the publishing connection; return whether messages on their way were lost with it."""
        connection, self._publisher, self._producer = self._publisher, None, None
        if connection is not None:
            connection.collect()  # without the closing handshake, which would wait for a broker that is away
        return False

    # ----------------------------------------------------------------------------------------------- listening

    def listen(self) -> Iterator[bytes]:
        self._check_open()
        arrived: deque[Any] = deque()
        with self._our_errors():
            connection = self._connect(heartbeat=self._settings.get("heartbeat_s", 0))
        try:
            with self._our_errors():
                self._declare_exchanges(connection)
                consumer = self._consume(connection, arrived.append)
                if self._transport not in NATIVE:
                    self._drain(connection, SETTLE_S)
            yield b""
            yield from self._messages(connection, consumer, arrived)
        finally:
            connection.collect()

    def _consume(self, connection: Any, on_message: Callable[[Any], None]) -> Any:
        queue = Queue(f"{self.channel}.{uuid.uuid4().hex}", self._exchange(), durable=False, auto_delete=True)
        consumer = connection.Consumer([queue], on_message=on_message, no_ack=True)
        consumer.consume()
        return consumer

    def _messages(self, connection: Any, consumer: Any, arrived: deque[Any]) -> Iterator[bytes]:
        while not self._closed:
            with self._our_errors():
                self._drain(connection)
            if not arrived:
                yield b""
            while arrived:
                yield body_of(arrived.popleft())
        with self._our_errors():
            consumer.cancel()

    def _drain(self, connection: Any, timeout_s: float = TICK_S) -> None:
        try:
            connection.drain_events(timeout=timeout_s)
        except TimeoutError:
            pass

    # ---------------------------------------------------------------------------------------------- connections

    def _exchange(self) -> Any:
        # Transient, as python-socketio declares it: another declaration of the name would be refused.
        return Exchange(self.channel, type="fanout", durable=False)

    def _declare_exchanges(self, connection: Any) -> None:
        self._exchange()(connection.default_channel).declare()

    def _connect(self, *, heartbeat: float = 0) -> Any:
        connection = Connection(
            self._address,
            transport=self._implementation(),
            connect_timeout=self._settings["connect_timeout"],
            login_method=self._settings["login_method"],
            ssl=self._tls(),
            heartbeat=heartbeat,
            transport_options={**self._time_outs(), **self._transport_options},
        )
        # One attempt per host: connect() sleeps for two seconds and tries again.
        attempts = len(connection.alt) or 1
        connection.ensure_connection(max_retries=attempts - 1, reraise_as_library_errors=False)
        self._limit_waiting(connection, self._timeout_s)
        return connection

    @staticmethod
    def _limit_waiting(connection: Any, timeout_s: float) -> None:
        """Limit what a connection waits for its broker, where it has no time-outs of its own."""
        if connection.transport.driver_name == "py-amqp":
            # py-amqp's sockets wait for ever, and its own options for that have no effect on green ones.
            connection.connection.transport.sock.settimeout(timeout_s)

    def _time_outs(self) -> dict[str, float]:
        """Return the time-outs of a transport's sockets, where it has such options. A reader waits outside of them."""
        if self._transport not in REDIS:
            return {}
        return {
            "socket_timeout": self._timeout_s,
            "socket_connect_timeout": self._settings["connect_timeout"],
        }

    def _implementation(self) -> Any:
        """Return a transport instead of Kombu's own, or ``None``."""
        if self._transport != "filesystem":
            return None
        from .whole_files import Transport

        return Transport

    def _tls(self) -> Any:
        """Return Kombu's ``ssl``. Over AMQP the certificate must name the host, which py-amqp does not ask for."""
        chosen = self._settings["ssl"] or self._transport == "amqps"
        if self._transport not in NATIVE or not chosen or ";" in self._address:  # several hosts, one setting
            return chosen
        own = chosen if isinstance(chosen, dict) else {}
        host, _ = queues.parse(self._address).host(("localhost", 5671))
        return own if "context" in own else {"server_hostname": host, **own}

    def _check_transport(self, scheme: str, rest: str) -> None:
        verdict = claims(scheme) or Verdict(
            usable=False, reason=f"Kombu has no transport {self._transport!r}"
        )
        if not verdict.usable:
            raise PartUnsuitable(f"message queue {queues.mask(self.url)}: {verdict.reason}")
        switch = ON_REQUEST.get(self._transport)
        if switch is not None and not self._transport_options.get(switch):
            raise PartUnsuitable(
                f"message queue {queues.mask(self.url)}: Kombu's transport {self._transport!r} fans out only with "
                f"message_queue_options={{'transport_options': {{{switch!r}: True}}}}"
            )
        if self._transport in ("filesystem", "memory"):
            self._transport_options.setdefault("polling_interval", POLL_S)
        if self._transport == "filesystem" and rest.strip("/"):
            self._use_folder(Path("/" + unquote(rest).lstrip("/")))

    def _use_folder(self, folder: Path) -> None:
        """Let ``filesystem:///some/folder`` mean what it says: Kombu itself ignores the path."""
        places = {"data_folder_in": "messages", "data_folder_out": "messages", "control_folder": "control"}
        for option, name in places.items():
            (folder / name).mkdir(parents=True, exist_ok=True)
            self._transport_options.setdefault(option, str(folder / name))

    def _check_open(self) -> None:
        if self._closed:
            raise QueueClosed(f"the {self.label} message queue was closed")

    @contextmanager
    def _our_errors(self) -> Iterator[None]:
        try:
            yield
        except self._foreign as error:
            refused = isinstance(error, self._refusals)
            raise queues.unavailable("message queue", self.url, error, refused=refused) from error


def body_of(message: Any) -> bytes:
    """Return a received message's bytes."""
    body = message.body
    return body.encode() if isinstance(body, str) else bytes(body)
