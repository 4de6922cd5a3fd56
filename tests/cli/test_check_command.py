"""`flask socketio check` tries the message queue, says who answers, and what to do if it is down."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import Result

from flask_socketio_core.cli import check_view
from flask_socketio_core.cli.check_view import ADVICE, Report
from flask_socketio_core.cluster.memory import MemoryQueue
from flask_socketio_core.cluster.queue_check import Answer, QueueCheck, Step, check_queue
from flask_socketio_core.contracts.urls import Secrets
from flask_socketio_core.errors import QueueRefused
from flask_socketio_core.testing.threads import ThreadMode
from support.brokers import RedisBroker, running
from support.nodes import Bus, Node

from .apps import make_app

if TYPE_CHECKING:
    from support.brokers import Broker

Invoke = Callable[..., Result]


@pytest.fixture
def channel() -> str:
    return f"check-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def server(channel: str) -> Iterator[Node]:
    """A server that runs while we check."""
    node = Node(Bus(MemoryQueue, "memory://", channel)).start()
    for topic in ("reload", "presence"):
        node.servers.on_topic(topic, lambda payload, node: None)
    yield node
    node.close()


def test_without_a_queue_there_is_nothing_to_check(invoke: Invoke) -> None:
    result = invoke(make_app(), "check")
    assert result.exit_code == 0
    assert "No message queue is configured: each server serves its own clients" in result.output
    result = invoke(make_app(), "check", "--json")
    assert json.loads(result.output) == {"configured": False, "up": None, "store": None}


def test_a_queue_that_works_is_up_with_its_round_trip_and_the_servers(
    invoke: Invoke, server: Node, channel: str
) -> None:
    result = invoke(make_app(message_queue="memory://", channel=channel), "check")
    assert result.exit_code == 0
    lines = [line.split(maxsplit=2) for line in result.output.splitlines()]
    assert ["state", "up"] in lines
    assert ["other", "servers", "1"] in lines
    assert f"memory:// (memory, channel '{channel}')" in result.output
    assert server.cluster.health().node in result.output
    assert "plain-threads" in result.output
    assert re.search(r"answered after +topics\n.* ms +presence reload\n", result.output)


def test_json_says_the_same(invoke: Invoke, server: Node, channel: str) -> None:
    result = invoke(make_app(message_queue="memory://", channel=channel), "check", "--json")
    found = json.loads(result.output)
    assert result.exit_code == 0
    assert (found["configured"], found["up"], found["failed_step"], found["problem"]) == (
        True,
        True,
        None,
        "",
    )
    assert 0 < found["round_trip_ms"] < 1000
    (answer,) = found["servers"]
    assert answer["node"] == server.cluster.health().node
    assert answer["async_mode"] == "plain-threads"
    assert answer["version"]
    assert answer["topics"] == ["presence", "reload"]
    assert answer["after_ms"] > 0


def test_no_server_is_no_failure_but_is_explained(invoke: Invoke, channel: str) -> None:
    result = invoke(make_app(message_queue="memory://", channel=channel), "check")
    assert result.exit_code == 0
    assert "No other server answered." in result.output


def test_who_checks_is_no_server_of_the_cluster(
    invoke: Invoke, server: Node, channel: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = server.cluster.health()
    with caplog.at_level(logging.INFO):
        invoke(make_app(message_queue="memory://", channel=channel), "check")
    after = server.cluster.health()
    assert (after.peers, after.received, after.lost_received) == ((), before.received, 0)
    assert "is there" not in caplog.text


def test_a_secret_that_others_have_not_is_told_and_not_shown(
    invoke: Invoke, server: Node, channel: str
) -> None:
    secret = "correct horse battery staple"
    app = make_app(message_queue="memory://", channel=channel, message_queue_options={"secret": secret})
    result, as_json = invoke(app, "check"), invoke(app, "check", "--json")
    assert ["other", "servers", "0"] in [line.split() for line in result.output.splitlines()]
    assert "Who sends them has no secret" in " ".join(result.output.split())
    found = json.loads(as_json.output)
    assert (found["up"], found["servers"], found["unauthentic"] > 0) == (True, [], True)
    same = Node(Bus(MemoryQueue, "memory://", channel, {"secret": secret})).start()
    try:
        found = json.loads(invoke(app, "check", "--json").output)
        assert [answer["node"] for answer in found["servers"]] == [same.cluster.health().node]
    finally:
        same.close()
    assert secret not in result.output + as_json.output + invoke(app, "plugins", "--json").output


def test_a_time_out_must_be_positive(invoke: Invoke) -> None:
    assert invoke(make_app(), "check", "--timeout", "0").exit_code == 2


def test_an_application_whose_queue_nobody_provides_fails_with_what_to_do(invoke: Invoke) -> None:
    result = invoke(make_app(message_queue="redis://user:secret@localhost"), "check")
    assert result.exit_code == 1
    assert "message_queue='redis://...' is not provided by any installed plugin" in result.output
    assert "secret" not in result.output


def test_a_store_that_works_is_up_with_its_round_trip(invoke: Invoke, channel: str) -> None:
    app = make_app(store="memory://", channel=channel)
    result = invoke(app, "check")
    assert result.exit_code == 0
    assert "No message queue is configured" in result.output
    assert f"memory:// (memory, channel '{channel}')" in result.output
    assert re.search(r"state +up\nround trip +[\d.]+ ms", result.output)
    found = json.loads(invoke(app, "check", "--json").output)
    assert (found["configured"], found["store"]["name"], found["store"]["up"]) == (False, "memory", True)


@pytest.fixture
def with_redis(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    pytest.importorskip("flask_socketio_queue_redis", reason="the plugin for Redis is not installed")
    monkeypatch.setenv("SOCKETIO_LOAD_PLUGINS", "async-threading,queue-memory,queue-redis")
    return invoke


@pytest.mark.parametrize("scheme", ["redis", "redis+streams"])
def test_redis_is_checked(with_redis: Invoke, redis_broker: Broker, channel: str, scheme: str) -> None:
    url = redis_broker.url.replace("redis", scheme, 1)
    module = pytest.importorskip("flask_socketio_queue_redis.pubsub")
    streams = pytest.importorskip("flask_socketio_queue_redis.streams")
    queue = module.RedisQueue if scheme == "redis" else streams.RedisStreamsQueue
    node = Node(Bus(queue, url, channel)).start()
    try:
        result = with_redis(make_app(message_queue=url, channel=channel), "check", "--json")
        found = json.loads(result.output)
        assert (result.exit_code, found["up"]) == (0, True)
        assert [answer["node"] for answer in found["servers"]] == [node.cluster.health().node]
        assert node.cluster.health().peers == ()
    finally:
        node.close()


def test_a_broker_that_is_away_is_down_with_what_to_do(
    with_redis: Invoke, redis_broker: Broker, channel: str
) -> None:
    url = redis_broker.url.replace("redis://", "redis://user:secret@")
    with redis_broker.outage():
        started = time.monotonic()
        result = with_redis(make_app(message_queue=url, channel=channel), "check")
        as_json = with_redis(make_app(message_queue=url, channel=channel), "check", "--json")
        assert time.monotonic() - started < 10
    assert (result.exit_code, as_json.exit_code) == (1, 1)
    assert "DOWN: Redis at redis://***@127.0.0.1" in result.output
    assert "Is the broker running, and can this machine reach it?" in " ".join(result.output.split())
    assert "secret" not in result.output + as_json.output
    found = json.loads(as_json.output)
    assert (found["up"], found["failed_step"], found["servers"]) == (False, "subscribe", [])
    assert found["advice"] == ADVICE[Step.SUBSCRIBE]


def test_a_broker_that_does_not_answer_takes_the_time_out(
    with_redis: Invoke, redis_broker: Broker, channel: str
) -> None:
    redis_broker.pause()
    try:
        started = time.monotonic()
        result = with_redis(
            make_app(message_queue=redis_broker.url, channel=channel), "check", "--timeout", "1"
        )
        assert time.monotonic() - started < 10
    finally:
        redis_broker.resume()
    assert result.exit_code == 1
    assert "DOWN: no subscription within 1 s" in result.output


class Deaf(MemoryQueue):
    """Takes messages and delivers none."""

    def publish(self, message: bytes, *, key: str = "") -> None:
        """Swallow it."""


def test_a_broker_that_delivers_nothing_is_down() -> None:
    mode = ThreadMode()
    found = check_queue(Deaf("memory://", "deaf", mode=mode, options={}), mode, 0.3, Secrets("memory://"))
    assert (found.up, found.step) == (False, Step.HEAR)
    assert found.problem == "our own message did not come back within 0.3 s"
    page = check_view.view(Report(queue="deaf", url="deaf://", channel="c", check=found))
    assert "takes messages and does not deliver them" in " ".join(page.split())


def test_a_broker_that_refuses_us_is_shown_as_that() -> None:
    class Strict(MemoryQueue):
        def listen(self) -> Iterator[bytes]:
            raise QueueRefused("wrong password")

    mode = ThreadMode()
    found = check_queue(Strict("memory://", "c", mode=mode, options={}), mode, 1, Secrets("memory://"))
    report = Report(queue="strict", url="strict://", channel="c", check=found)
    page = " ".join(check_view.view(report).split())
    assert "REFUSED: wrong password" in page
    assert "a right that this user lacks" in page
    assert check_view.data(report)["refused"] is True


def test_an_unexpected_error_shows_no_password() -> None:
    class Broken(MemoryQueue):
        def listen(self) -> Iterator[bytes]:
            raise RuntimeError(f"cannot use {self.url}")

    mode = ThreadMode()
    url = "memory://user:secret@bus"
    found = check_queue(Broken(url, "c", mode=mode, options={}), mode, 1, Secrets(url))
    assert found.problem == "RuntimeError: cannot use memory://***@bus"


def test_the_page_fits_100_columns() -> None:
    answers = tuple(
        Answer(node=uuid.uuid4().hex, async_mode="gevent_uwsgi", version="0.1.0.dev1", after_s=number / 999)
        for number in range(5)
    )
    for found in (
        QueueCheck(step=Step.DONE, round_trip_s=0.00123, answers=answers),
        QueueCheck(step=Step.PUBLISH, problem="word " * 60),
    ):
        page = check_view.view(
            Report(queue="redis", url="redis://" + "h" * 60, channel="c" * 50, check=found)
        )
        assert [line for line in page.splitlines() if len(line) > 100] == []


@pytest.mark.parametrize("mode", ["gevent", "eventlet"])
def test_a_green_mode_is_checked_as_fast_as_threads(
    redis_broker: Broker, channel: str, tmp_path: Path, mode: str
) -> None:
    for module in ("flask_socketio_queue_redis", f"flask_socketio_async_{mode}"):
        pytest.importorskip(module, reason=f"{module} is not installed")
    options = {"async_mode": mode, "message_queue": redis_broker.url, "channel": channel}
    (tmp_path / "app.py").write_text(
        f"import flask, flask_socketio_core as core\n\napp = flask.Flask(__name__)\ncore.SocketIO(app, **{options!r})\n"
    )
    started = time.monotonic()
    found = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "app", "socketio", "check", "--json"],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["up"] is True
    assert time.monotonic() - started < 15


def test_a_store_that_is_away_or_refuses_us_is_told_with_what_to_do(
    with_redis: Invoke, redis_broker: Broker, channel: str
) -> None:
    options = {"message_queue": "memory://", "channel": channel}
    app = make_app(store=redis_broker.url, **options)
    result = with_redis(app, "check", "--json")
    assert (result.exit_code, json.loads(result.output)["store"]["url"]) == (0, redis_broker.url)
    with redis_broker.outage():
        away = make_app(store=redis_broker.url.replace("redis://", "redis://user:secret@"), **options)
        result = with_redis(away, "check")
    assert result.exit_code == 1
    assert "DOWN: Redis at redis://***@127.0.0.1" in result.output
    assert "are those of store= (SOCKETIO_STORE)" in " ".join(result.output.split())
    with running(RedisBroker("--requirepass", "correct horse")) as broker:
        refused = make_app(store=broker.url.replace("redis://", "redis://:battery@"), **options)
        found = json.loads(with_redis(refused, "check", "--json").output)["store"]
    assert found["refused"] and "a wrong user name or password" in found["advice"]
    assert "user:secret" not in result.output and "battery" not in json.dumps(found)
