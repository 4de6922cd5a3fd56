"""What is particular to Kombu: which transports are taken, what is declared on RabbitMQ, where messages go."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kombu.connection
import pytest
from kombu.transport import TRANSPORT_ALIASES

from flask_socketio_core.contracts import OK, MessageQueue
from flask_socketio_core.errors import PartUnsuitable, QueueUnavailable, SelectionError, UnknownOption
from flask_socketio_core.selection import Plugins
from flask_socketio_core.testing.conformance.queues import Listener
from flask_socketio_core.testing.threads import ThreadMode
from flask_socketio_queue_kombu.queue import KombuQueue
from flask_socketio_queue_kombu.rabbitmq import RabbitMQQueue
from flask_socketio_queue_kombu.transports import FAN_OUT, NO_FAN_OUT, claims
from support.brokers import Broker

pytestmark = pytest.mark.timeout(120)

Connection: Any = kombu.connection.Connection  # untyped in Kombu


@pytest.fixture
def channel() -> str:
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def make(channel: str) -> Iterator[Callable[..., MessageQueue]]:
    made: list[MessageQueue] = []

    def make(queue_class: type[MessageQueue], url: str, **options: Any) -> MessageQueue:
        made.append(queue_class(url, channel, mode=ThreadMode(), options=options))
        return made[-1]

    yield make
    for queue in made:
        queue.close()


def test_the_plugin_is_listed_as_ok() -> None:
    plugin = next(item for item in Plugins().describe().plugins if item.name == "queue-kombu")
    assert plugin.status == "ok"
    assert {part.name: part.status for part in plugin.parts} == {"rabbitmq": "ok", "kombu": "ok"}


@pytest.mark.parametrize(
    ("url", "queue"),
    [
        ("amqp://h", "rabbitmq"),
        ("amqps://h", "rabbitmq"),
        ("pyamqp://h", "rabbitmq"),
        ("kombu+amqp://h", "kombu"),
        ("kombu+redis://h", "kombu"),
        ("kombu+memory://", "kombu"),
        ("filesystem:///x", "kombu"),
        ("mongodb://h", "kombu"),
    ],
)
def test_a_url_selects_the_queue(url: str, queue: str) -> None:
    assert Plugins().select_queue(url).info.name == queue


def test_every_transport_of_kombu_is_known_to_fan_out_or_not() -> None:
    assert {name.lower() for name in TRANSPORT_ALIASES} <= FAN_OUT | NO_FAN_OUT


@pytest.mark.parametrize("url", ["sqlalchemy://h", "zookeeper://h", "sqla+sqlite:///x"])
def test_a_transport_that_drops_broadcasts_is_refused(url: str) -> None:
    with pytest.raises(SelectionError, match="cannot fan out: it drops every broadcast silently"):
        Plugins().select_queue(url)


def test_a_transport_that_drops_broadcasts_cannot_be_forced_either(make: Callable[..., MessageQueue]) -> None:
    with pytest.raises(PartUnsuitable, match=r"kombu\+etcd://\*\*\*@h: .* cannot fan out"):
        make(KombuQueue, "kombu+etcd://u:secret@h")


def test_sqs_fans_out_on_request_only(make: Callable[..., MessageQueue]) -> None:
    assert claims("sqs") == OK
    with pytest.raises(PartUnsuitable, match=r"'transport_options': \{'supports_fanout': True\}"):
        make(KombuQueue, "sqs://")


def test_an_option_of_another_queue_is_refused_with_the_nearest(make: Callable[..., MessageQueue]) -> None:
    with pytest.raises(UnknownOption, match="did you mean 'connect_timeout'"):
        make(RabbitMQQueue, "amqp://h?conect_timeout=5")


def test_the_file_system_is_used_where_the_url_says(
    make: Callable[..., MessageQueue], tmp_path: Path
) -> None:
    listener = Listener(make(KombuQueue, f"filesystem://{tmp_path}/bus")).subscribed()
    make(KombuQueue, f"filesystem://{tmp_path}/bus").publish(b"hello")
    assert listener.wait_for(1) == [b"hello"]
    assert sorted(path.name for path in (tmp_path / "bus").iterdir()) == ["control", "messages"]


def test_a_password_is_never_shown(make: Callable[..., MessageQueue], rabbitmq_broker: Broker) -> None:
    url = rabbitmq_broker.url.replace("guest:guest", "guest:secret")
    with pytest.raises(QueueUnavailable, match=r"amqp://\*\*\*@") as raised:
        make(RabbitMQQueue, url).publish(b"x")
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "given", "expected"),
    [
        ("amqp://h", None, False),
        ("amqps://user:word@h:5671/x", None, {"server_hostname": "h"}),
        ("kombu+amqps://", None, {"server_hostname": "localhost"}),
        ("amqp://h", True, {"server_hostname": "h"}),
        ("amqps://h", {"ca_certs": "f"}, {"server_hostname": "h", "ca_certs": "f"}),
        ("amqps://h", {"server_hostname": "other"}, {"server_hostname": "other"}),
        ("amqps://h", {"context": {}}, {"context": {}}),
        ("amqps://h;amqps://i", None, True),
        ("kombu+rediss://h", {"ssl_ca_certs": "f"}, {"ssl_ca_certs": "f"}),
    ],
)
def test_a_certificate_must_name_the_host(
    make: Callable[..., MessageQueue], url: str, given: object, expected: object
) -> None:
    queue = make(KombuQueue if "kombu" in url else RabbitMQQueue, url, ssl=given)
    assert isinstance(queue, (KombuQueue, RabbitMQQueue))
    assert queue._connections.tls() == expected


def test_a_broker_that_refuses_is_not_asked_again_and_again(make: Callable[..., MessageQueue]) -> None:
    started = time.monotonic()
    with pytest.raises(QueueUnavailable, match="Connection refused"):
        make(RabbitMQQueue, "amqp://127.0.0.1:1").publish(b"x")
    assert time.monotonic() - started < 1


class TestOnRabbitMQ:
    def test_a_closed_server_leaves_no_queue(
        self, make: Callable[..., MessageQueue], rabbitmq_url: str, channel: str
    ) -> None:
        queue = make(RabbitMQQueue, rabbitmq_url)
        assert isinstance(queue, RabbitMQQueue)
        listener = Listener(queue).subscribed()
        assert self._declared(rabbitmq_url, queue._queue_name)
        queue.close()
        assert listener.ended()
        assert not self._declared(rabbitmq_url, queue._queue_name)

    def test_a_message_reaches_a_queue_once_over_both_exchanges(
        self, make: Callable[..., MessageQueue], rabbitmq_url: str
    ) -> None:
        listener = Listener(make(RabbitMQQueue, rabbitmq_url)).subscribed()
        old = Listener(make(KombuQueue, f"kombu+{rabbitmq_url}")).subscribed()
        make(RabbitMQQueue, rabbitmq_url).publish(b"new")
        make(KombuQueue, f"kombu+{rabbitmq_url}").publish(b"old")
        make(RabbitMQQueue, rabbitmq_url).publish(b"end")
        for one in (listener, old):
            one.wait_until(lambda one=one: b"end" in one.messages, 15, "last message")  # type: ignore[misc]
            assert sorted(one.messages) == [b"end", b"new", b"old"]

    def test_an_exchange_that_somebody_made_durable_is_used_as_it_is(
        self, make: Callable[..., MessageQueue], rabbitmq_url: str, channel: str
    ) -> None:
        with Connection(rabbitmq_url) as connection:
            connection.default_channel.exchange_declare(channel, "fanout", durable=True, auto_delete=False)
        listener = Listener(make(RabbitMQQueue, rabbitmq_url)).subscribed()
        make(RabbitMQQueue, rabbitmq_url).publish(b"hello")
        assert listener.wait_for(1) == [b"hello"]

    def test_a_cut_connection_repeats_nothing(
        self, make: Callable[..., MessageQueue], rabbitmq_url: str
    ) -> None:
        queue = make(RabbitMQQueue, rabbitmq_url)
        publisher = make(RabbitMQQueue, rabbitmq_url)
        first = queue.listen()
        assert next(first) == b""
        for number in range(10):
            publisher.publish(b"%d" % number)
        heard = _take(first, 7)
        first.close()  # type: ignore[attr-defined]  # a generator: this is what an error does to it
        second = queue.listen()
        heard += _take(second, 3)
        assert heard == [b"%d" % number for number in range(10)]

    @staticmethod
    def _declared(url: str, name: str) -> bool:
        with Connection(url) as connection:
            try:
                connection.default_channel.queue_declare(name, passive=True)
            except connection.channel_errors:
                return False
            return True


def _take(messages: Iterator[bytes], count: int) -> list[bytes]:
    found: list[bytes] = []
    while len(found) < count:
        message = next(messages)
        if message:
            found.append(message)
    return found
