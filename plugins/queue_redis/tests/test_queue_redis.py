"""What is particular to Redis: its URLs, Sentinel, passwords, streams that are trimmed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from flask_socketio_core.contracts import MessageQueue
from flask_socketio_core.errors import InvalidOption, QueueUnavailable, UnknownOption
from flask_socketio_core.selection import Plugins
from flask_socketio_core.testing.conformance.queues import Listener
from flask_socketio_core.testing.threads import ThreadMode
from flask_socketio_queue_redis.client import SETTINGS, ClientFactory
from flask_socketio_queue_redis.pubsub import RedisQueue
from flask_socketio_queue_redis.streams import RedisStreamsQueue
from support.brokers import Broker, RedisBroker, SentinelBroker, running
from support.nodes import wait_until

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def make() -> Iterator[Callable[..., MessageQueue]]:
    made: list[MessageQueue] = []

    def make(queue_class: type[MessageQueue], url: str, **options: Any) -> MessageQueue:
        made.append(queue_class(url, "test", mode=ThreadMode(), options=options))
        return made[-1]

    yield make
    for queue in made:
        queue.close()


def arguments(url: str, **options: Any) -> dict[str, Any]:
    """Return what redis-py's connections would be made with."""
    client = ClientFactory(url, options, SETTINGS, where="redis").publisher()
    found: dict[str, Any] = client.connection_pool.connection_kwargs
    return found


def test_the_plugin_is_listed_as_ok() -> None:
    plugin = next(item for item in Plugins().describe().plugins if item.name == "queue-redis")
    assert plugin.status == "ok"
    assert {part.name: part.status for part in plugin.parts} == {"redis": "ok", "redis-streams": "ok"}


@pytest.mark.parametrize(
    ("url", "queue"),
    [
        ("redis://h", "redis"),
        ("rediss://h", "redis"),
        ("unix:///s", "redis"),
        ("redis+sentinel://h/0/s", "redis"),
        ("valkey://h", "redis"),
        ("valkeys://h", "redis"),
        ("valkey+sentinel://h/0/s", "redis"),
        ("redis+streams://h", "redis-streams"),
        ("valkey+streams://h", "redis-streams"),
    ],
)
def test_a_url_selects_the_queue(url: str, queue: str) -> None:
    assert Plugins().select_queue(url).info.name == queue


def test_host_port_database_and_credentials_come_from_the_url() -> None:
    found = arguments("redis://us%3Aer:p%40ss@broker:6380/2")
    expected = {"host": "broker", "port": 6380, "db": 2, "username": "us:er", "password": "p@ss"}
    assert {name: found[name] for name in expected} == expected


def test_a_url_without_a_host_is_localhost() -> None:
    found = arguments("redis://")
    assert (found["host"], found["port"]) == ("localhost", 6379)


def test_options_come_from_the_query_and_from_the_dict() -> None:
    found = arguments("valkey://broker?socket_timeout=7&client_name=me", socket_connect_timeout=3)
    assert (found["socket_timeout"], found["client_name"], found["socket_connect_timeout"]) == (
        7.0,
        "me",
        3.0,
    )


def test_tls_checks_the_certificate_unless_told_otherwise() -> None:
    assert arguments("rediss://broker")["ssl_cert_reqs"] == "required"
    assert arguments("valkeys://broker?ssl_cert_reqs=none")["ssl_cert_reqs"] == "none"
    assert "ssl_cert_reqs" not in arguments("redis://broker")


@pytest.mark.parametrize(
    ("url", "error", "text"),
    [
        ("redis://broker?socket_timout=5", UnknownOption, "did you mean 'socket_timeout'"),
        ("redis://broker/first", InvalidOption, "database 'first' .* must be a whole number"),
        ("redis://user:secret@broker:none", InvalidOption, "port that is no number"),
    ],
)
def test_a_wrong_url_is_refused(url: str, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text) as raised:
        RedisQueue(url, "test", mode=ThreadMode(), options={})
    assert "secret" not in str(raised.value)


def test_a_password_is_used_and_never_shown(make: Callable[..., MessageQueue]) -> None:
    with running(RedisBroker("--requirepass", "open sesame")) as broker:
        make(RedisQueue, f"redis://:open%20sesame@127.0.0.1:{broker.port}").ping()
        make(RedisQueue, f"redis://127.0.0.1:{broker.port}", password="open sesame").ping()
        wrong = make(RedisQueue, f"redis://:wrong%20word@127.0.0.1:{broker.port}")
        with pytest.raises(QueueUnavailable, match=r"redis://\*\*\*@127.0.0.1") as raised:
            wrong.ping()
        assert "wrong" not in str(raised.value).replace("WRONGPASS", "").replace("invalid", "")


def test_sentinel_leads_to_the_master(make: Callable[..., MessageQueue]) -> None:
    with running(RedisBroker()) as master, running(SentinelBroker(master)) as sentinel:
        listener = Listener(make(RedisQueue, sentinel.url)).subscribed()
        make(RedisQueue, f"redis://127.0.0.1:{master.port}").publish(b"by the master")
        make(RedisQueue, sentinel.url).publish(b"by sentinel")
        assert listener.wait_for(2) == [b"by the master", b"by sentinel"]


def connections(broker: Broker, name: str = "") -> int:
    """Return how many connections a server has, or those of a name."""
    with redis.Redis(port=broker.port) as client:
        listed: Any = client.client_list()
    return len([item for item in listed if item["name"] == name and item["cmd"] != "client|list"])


def test_closing_leaves_no_connection_to_a_sentinel(make: Callable[..., MessageQueue]) -> None:
    with running(RedisBroker()) as master, running(SentinelBroker(master)) as sentinel:
        before = connections(sentinel)
        queue = make(RedisQueue, sentinel.url)
        listening = queue.listen()
        assert next(listening) == b""
        queue.publish(b"x")
        assert connections(sentinel) > before
        listening.close()  # type: ignore[attr-defined]  # a generator: this is what an error does to it
        queue.close()
        wait_until(lambda: connections(sentinel) == before, "end of the connections")


@pytest.mark.parametrize("what", ["publish", "ping"])
def test_what_overlaps_close_leaves_no_connection(
    make: Callable[..., MessageQueue], redis_broker: Broker, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    queue = make(RedisQueue, redis_broker.url, client_name=f"overlapping-{what}")
    assert isinstance(queue, RedisQueue)
    queue.publish(b"x")  # a connection is idle
    part, name = (queue, "_publishing") if what == "publish" else (queue._client, "ping")
    command = getattr(part, name)

    def close_first(*arguments: Any) -> object:
        queue.close()
        return command(*arguments)

    monkeypatch.setattr(part, name, close_first)
    if what == "publish":
        queue.publish(b"y")
    else:
        queue.ping()
    wait_until(lambda: not connections(redis_broker, f"overlapping-{what}"), "end of the connections")


def test_a_stream_is_trimmed(make: Callable[..., MessageQueue], redis_url: str) -> None:
    queue = make(RedisStreamsQueue, redis_url.replace("redis://", "redis+streams://"), stream_max_length=100)
    assert isinstance(queue, RedisStreamsQueue)
    for _ in range(1000):
        queue.publish(b"x" * 100)
    length = queue._client.xlen(queue.key)
    assert length < 300  # Redis trims whole blocks of a hundred or so


def test_a_stream_that_fills_the_memory_gives_up_its_oldest_messages(
    make: Callable[..., MessageQueue], caplog: pytest.LogCaptureFixture
) -> None:
    with running(RedisBroker("--maxmemory", "3mb", "--maxmemory-policy", "noeviction")) as broker:
        url = broker.url.replace("redis", "redis+streams", 1)
        listener = Listener(make(RedisStreamsQueue, url)).subscribed()
        queue = make(RedisStreamsQueue, url)
        for number in range(300):
            queue.publish(b"%d " % number + b"x" * 30_000)
        heard = [int(message.split()[0]) for message in listener.wait_for(300)]
        assert heard == list(range(300))
        assert caplog.text.count("is out of memory: the oldest") == 1
        assert "raise maxmemory or lower stream_max_length=10000" in caplog.text


def test_a_listener_goes_on_in_a_stream_that_was_made_anew_with_lower_ids(
    make: Callable[..., MessageQueue], redis_broker: Broker
) -> None:
    url = redis_broker.url.replace("redis", "redis+streams", 1)
    queue = make(RedisStreamsQueue, url)
    assert isinstance(queue, RedisStreamsQueue)
    skipped: list[str] = []
    queue.on_skip = skipped.append
    listening = queue.listen()
    assert next(listening) == b""
    with redis.Redis(port=redis_broker.port) as client:
        client.xadd(queue.key, {"m": "before"}, id="9999999999999-0")  # the clock was ahead
        assert next(item for item in listening if item) == b"before"
        client.delete(queue.key)  # evicted, or lost in a failover
        queue.publish(b"after")
    listening = queue.listen()
    assert next(listening) == b""
    assert "had no memory for it" in skipped[0]
    assert next(listening) == b"after"


def test_a_frozen_server_is_noticed_by_a_listener(
    make: Callable[..., MessageQueue], redis_broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flask_socketio_queue_redis.pubsub.SILENCE_S", 0.5)
    monkeypatch.setattr("flask_socketio_queue_redis.pubsub.ANSWER_S", 1.0)
    listener = Listener(make(RedisQueue, redis_broker.url)).subscribed()
    time.sleep(1.5)  # quiet, but alive: the server answers
    assert not listener.errors
    redis_broker.pause()
    try:
        listener.wait_until(lambda: bool(listener.errors), 10, "error of the listener")
        assert "did not answer" in str(listener.errors[0])
    finally:
        redis_broker.resume()
