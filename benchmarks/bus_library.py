"""The brokers' client libraries as they are meant to be used: what ``bus.py`` compares with.

Each gives the guarantee of our queue of that URL, no more and no less: RabbitMQ with persistent messages, confirms and
acknowledgements, Redis Streams read from a position, Kafka with acknowledged sends.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable
from typing import Any, Protocol

import kafka
import kombu.connection
import redis


class Library(Protocol):
    """Publish and listen, nothing else."""

    def __init__(self, url: str, channel: str) -> None: ...
    def publish(self, message: bytes) -> None: ...
    def flush(self) -> None: ...
    def listen(self, arrived: Callable[[bytes], object]) -> None: ...


class RedisPubSub:
    """redis-py's ``publish`` and ``PubSub.listen``."""

    def __init__(self, url: str, channel: str) -> None:
        self._client = redis.Redis.from_url(url)
        self._listener = redis.Redis.from_url(url, socket_timeout=None).pubsub(ignore_subscribe_messages=True)
        self._channel = channel

    def publish(self, message: bytes) -> None:
        self._client.publish(self._channel, message)

    def flush(self) -> None:
        pass

    def listen(self, arrived: Callable[[bytes], object]) -> None:
        self._listener.subscribe(self._channel)
        for message in self._listener.listen():
            arrived(message["data"])


class RedisStreams:
    """redis-py's ``xadd`` and ``xread``."""

    def __init__(self, url: str, channel: str) -> None:
        url = url.replace("+streams", "")
        self._client = redis.Redis.from_url(url)
        self._listener: Any = redis.Redis.from_url(url, socket_timeout=None)
        self._key = channel

    def publish(self, message: bytes) -> None:
        self._client.xadd(self._key, {"m": message}, maxlen=10_000, approximate=True)

    def flush(self) -> None:
        pass

    def listen(self, arrived: Callable[[bytes], object]) -> None:
        position: Any = "$"
        while True:
            found = self._listener.xread({self._key: position}, count=500, block=500)
            for newest, fields in dict(found).get(self._key.encode(), ()) if found else ():
                position = newest
                arrived(fields[b"m"])


class RabbitMQ:
    """py-amqp's channel, with at most 100 messages that are not confirmed yet."""

    def __init__(self, url: str, channel: str) -> None:
        connect: Any = kombu.connection.Connection
        self._connection, self._listening = connect(url), connect(url)
        self._name = channel
        self._publishing = self._connection.default_channel
        self._publishing.exchange_declare(channel, "fanout", durable=True, auto_delete=False)
        self._publishing.confirm_select()
        self._publishing.events["basic_ack"].add(self._confirmed)
        self._sent = self._safe = 0

    def _confirmed(self, tag: int, multiple: bool) -> None:
        self._safe = max(self._safe, tag)

    def publish(self, message: bytes) -> None:
        prepared = self._publishing.prepare_message(message, properties={"delivery_mode": 2})
        self._publishing.basic_publish(prepared, exchange=self._name)
        self._sent += 1
        if self._sent - self._safe > 100:
            self._connection.drain_events()

    def flush(self) -> None:
        while self._safe < self._sent:
            self._connection.drain_events()

    def listen(self, arrived: Callable[[bytes], object]) -> None:
        name = f"{self._name}.{uuid.uuid4().hex}"
        channel = self._listening.default_channel
        channel.queue_declare(name, durable=True, auto_delete=False, arguments={"x-expires": 10_000})
        channel.queue_bind(name, self._name)
        channel.basic_qos(0, 200, False)

        def deliver(message: Any) -> None:
            arrived(bytes(message.body))
            channel.basic_ack(message.delivery_tag)

        channel.basic_consume(name, callback=deliver)
        while True:
            with contextlib.suppress(TimeoutError):
                self._listening.drain_events(timeout=0.5)


class Kafka:
    """kafka-python's producer and consumer."""

    def __init__(self, url: str, channel: str) -> None:
        server = url.partition("://")[2]
        self._topic = channel
        with kafka.KafkaAdminClient(bootstrap_servers=[server]) as admin, contextlib.suppress(Exception):
            admin.create_topics({channel: {"num_partitions": 6, "replication_factor": 1}})
        self._producer = kafka.KafkaProducer(bootstrap_servers=[server], acks="all")
        self._consumer = kafka.KafkaConsumer(
            channel, bootstrap_servers=[server], group_id=None, auto_offset_reset="latest"
        )

    def publish(self, message: bytes) -> None:
        self._producer.send(self._topic, value=message, key=b"room")

    def flush(self) -> None:
        self._producer.flush(60)

    def listen(self, arrived: Callable[[bytes], object]) -> None:
        while True:
            for records in self._consumer.poll(timeout_ms=500).values():
                for record in records:
                    arrived(record.value)


LIBRARIES: dict[str, Callable[[str, str], Library]] = {
    "redis": RedisPubSub,
    "redis+streams": RedisStreams,
    "amqp": RabbitMQ,
    "kafka": Kafka,
}
