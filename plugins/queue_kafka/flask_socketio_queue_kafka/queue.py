"""Kafka: one topic per channel, no consumer group, so that every server reads everything."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from kafka import TopicPartition, errors

from flask_socketio_core import queues
from flask_socketio_core.contracts import MessageQueue, QueueCapabilities
from flask_socketio_core.errors import MessageTooLarge, QueueClosed, QueueUnavailable

from .client import TOPIC_MAX_BYTES, ClientFactory

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flask_socketio_core.contracts import AsyncMode

#: What Kafka answers to a wrong password, to a user without a right, and to what its policy forbids.
REFUSED = (
    errors.AuthorizationError,
    errors.PolicyViolationError,
    errors.SaslAuthenticationFailedError,
    errors.UnsupportedSaslMechanismError,
)
#: Seconds between two ``b""`` of a quiet channel.
TICK_S = 0.5
#: Seconds of silence after which the listener asks the broker for a sign of life. kafka-python reconnects by itself
#: and says nothing, so this is how an outage is noticed.
SILENCE_S = 3.0
#: Bytes that a record needs besides its value and key, generously.
OVERHEAD = 1024
#: Seconds between two looks for partitions that were added to the topic.
PARTITIONS_S = 60.0


class KafkaQueue(MessageQueue):
    """Publish with a key, so that a room's messages stay in one partition and in order; read every partition.

    A message counts as accepted when kafka-python has taken it; it sends, retries and removes repeats on its own
    thread. If the broker does not acknowledge for ``publish_timeout_s``, further messages are refused, which bounds
    what is waiting there.
    """

    capabilities: ClassVar[QueueCapabilities] = QueueCapabilities(
        durable=True,
        replay=True,
        max_message_bytes=TOPIC_MAX_BYTES - OVERHEAD,
        needs_patched=("socket", "select", "threading"),
    )

    def __init__(self, url: str, channel: str, *, mode: AsyncMode, options: Mapping[str, Any]) -> None:
        super().__init__(url, channel, mode=mode, options=options)
        self._clients = ClientFactory(url, channel, options)
        self._stall_s = self._clients.settings["publish_timeout_s"]
        self._our_errors = queues.ClientErrors(
            "Kafka", url, errors.KafkaError, OSError, refuses=lambda error: isinstance(error, REFUSED)
        )
        self._producer: Any = None
        self._closed = False
        self._lock = mode.create_lock()
        self._pending = 0  # messages handed to kafka-python that are not acknowledged
        self._progress_at = 0.0  # since when they wait for the broker's next acknowledgement
        self._opening = mode.create_yielding_lock()
        self._positions: dict[int, int] = {}  # partition -> offset of the next message

    # ---------------------------------------------------------------------------------------------- publishing

    def publish(self, message: bytes, *, key: str = "") -> None:
        self._check_open()
        queues.check_size(message, self.max_message_bytes, "Kafka")
        self._check_progress()
        with self._our_errors:
            producer = self._producer or self._open_producer()
            self._note()
            try:
                future = producer.send(self.channel, value=message, key=key.encode() or None)
            except errors.MessageSizeTooLargeError as error:
                self._settle()
                raise MessageTooLarge(str(error)) from error
            except BaseException:
                self._settle()
                raise
        future.add_callback(self._settle)
        future.add_errback(partial(self._give_back, message, key))

    def flush(self, timeout_s: float) -> int:
        producer = self._producer
        if producer is not None:
            producer.flush(timeout=timeout_s)
        return self._pending

    def ping(self) -> None:
        self._check_open()
        with self._our_errors:
            self._clients.ensure_topic()

    def close(self) -> None:
        self._closed = True
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.close(timeout=0)  # an owner that wants to lose nothing has flushed before

    def _open_producer(self) -> Any:
        """Connect once, while other publishers wait for their turn."""
        with self._opening:
            if self._producer is None:
                self._clients.ensure_topic()
                self._producer = self._clients.producer()
            return self._producer

    def _check_progress(self) -> None:
        if self._pending and time.monotonic() - self._progress_at > self._stall_s:
            raise QueueUnavailable(
                f"Kafka at {queues.mask(self.url)} has acknowledged nothing for {self._stall_s:g} s"
            )

    def _note(self) -> None:
        with self._lock:
            if not self._pending:
                self._progress_at = time.monotonic()
            self._pending += 1

    def _settle(self, _: object = None) -> None:
        with self._lock:
            self._pending -= 1
            self._progress_at = time.monotonic()

    def _give_back(self, message: bytes, key: str, error: BaseException) -> None:
        self._settle()
        if self.on_failure is not None and not self._closed:
            self.on_failure(message, key)

    # ----------------------------------------------------------------------------------------------- listening

    def listen(self) -> Iterator[bytes]:
        self._check_open()
        with self._our_errors:
            self._clients.ensure_topic()
            consumer = self._clients.consumer()
        try:
            with self._our_errors:
                self._check_kept(consumer)
                self._assign(consumer, first=not self._positions)
            yield b""
            yield from self._messages(consumer)
        finally:
            consumer.close(autocommit=False, timeout_ms=0)

    def _check_kept(self, consumer: Any) -> None:
        """Say so if the topic does not go on where we were, and go on where it does."""
        goes_on, reason = self._skipped(consumer)
        if reason:
            self._positions = goes_on
            if self.on_skip is not None:
                self.on_skip(reason)

    def _skipped(self, consumer: Any) -> tuple[dict[int, int], str]:
        """Return where to go on in each partition, and why not all go on where we were; an empty text if they do."""
        parts = [TopicPartition(self.channel, number) for number in self._positions]
        timeout_ms = int(self._stall_s * 1000)
        begins = consumer.beginning_offsets(parts, timeout_ms=timeout_ms) if parts else {}
        ends = consumer.end_offsets(parts, timeout_ms=timeout_ms) if parts else {}
        if any(self._positions[part.partition] > ends[part] for part in parts):
            anew = {part.partition: offset for part, offset in begins.items()}
            return anew, "the Kafka topic ends before the last message heard: it was made anew, or cut"
        # Not from the beginning where nothing is missing: what was sent before we joined is not for us.
        kept = {part.partition: max(begins[part], self._positions[part.partition]) for part in parts}
        gone = sum(kept.values()) - sum(self._positions.values())
        if gone:
            return kept, f"Kafka has dropped {gone} messages by the topic's retention.ms or retention.bytes"
        return kept, ""

    def _assign(self, consumer: Any, *, first: bool) -> None:
        """Read all partitions: at first from their ends, later from where we were, new ones from their beginning."""
        found = consumer.partitions_for_topic(self.channel)
        if not found:
            raise errors.UnknownTopicOrPartitionError(f"topic {self.channel!r} is not there")
        partitions = [TopicPartition(self.channel, number) for number in sorted(found)]
        if first:
            ends = consumer.end_offsets(partitions, timeout_ms=int(self._stall_s * 1000))
            self._positions = {part.partition: offset for part, offset in ends.items()}
        consumer.assign(partitions)
        for part in partitions:
            consumer.seek(part, self._positions.setdefault(part.partition, 0))

    def _messages(self, consumer: Any) -> Iterator[bytes]:
        heard = looked = time.monotonic()
        while not self._closed:
            with self._our_errors:
                batches = consumer.poll(timeout_ms=int(TICK_S * 1000))
            now = time.monotonic()
            if batches:
                heard = now
            else:
                if now - heard > SILENCE_S:
                    heard = self._check_alive(consumer)
                if now - looked > PARTITIONS_S:
                    looked = now
                    self._look_for_partitions(consumer)
                yield b""
            for records in batches.values():
                for record in records:
                    if record.offset != self._positions[record.partition]:
                        self._check_jump(consumer)
                    self._positions[record.partition] = record.offset + 1
                    if record.value:
                        yield record.value

    def _check_jump(self, consumer: Any) -> None:
        """End listening, so that it begins anew and says so, if kafka-python has skipped what is no longer there."""
        with self._our_errors:
            _, reason = self._skipped(consumer)
        if reason:
            raise QueueUnavailable(reason)

    def _check_alive(self, consumer: Any) -> float:
        with self._our_errors:
            consumer.end_offsets(list(consumer.assignment()), timeout_ms=int(self._stall_s * 1000))
        return time.monotonic()

    def _look_for_partitions(self, consumer: Any) -> None:
        with self._our_errors:
            found = consumer.partitions_for_topic(self.channel) or set()
            if found - {part.partition for part in consumer.assignment()}:
                self._assign(consumer, first=False)

    # -------------------------------------------------------------------------------------------------- shared

    def _check_open(self) -> None:
        if self._closed:
            raise QueueClosed("the Kafka message queue was closed")
