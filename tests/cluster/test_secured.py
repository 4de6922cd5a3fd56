"""Brokers that want a password or speak TLS, Sentinel with a fail-over, a Unix socket: two servers of each join."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import quote

import pytest
import redis

from flask_socketio_core.contracts.clients import Emission
from flask_socketio_core.errors import QueueUnavailable
from support import tls
from support.brokers import KafkaBroker, RabbitMQBroker, RedisBroker, SentinelBroker, running
from support.nodes import Bus, Node, emitter, wait_until

from .buses import make_bus

pytestmark = pytest.mark.timeout(90)

USER, PASSWORD, WRONG = "alice", "open sesame", "guessed word"
#: Seconds in which servers follow a fail-over: Sentinel takes one to three.
FAILOVER_S = 30.0


def assert_joined(bus: Bus) -> None:
    """Assert that two servers and a process that only sends work together."""
    with ExitStack() as stack:
        nodes = [started(stack, bus) for _ in range(2)]
        outside = emitter(bus)
        stack.callback(outside.close)
        member = nodes[1].connect()
        nodes[0].cluster.emit(Emission("inside", (b"\x00\xff",)))
        member.wait_for(1)
        outside.emit(Emission("outside", ()))
        assert member.wait_for(2) == [["inside", b"\x00\xff"], ["outside"]]


def started(stack: ExitStack, bus: Bus) -> Node:
    """Return a server that is closed with the stack."""
    node = Node(bus).start()
    stack.callback(node.close)
    return node


def refusal(bus: Bus) -> str:
    """Return what is said where the broker does not let us in, by an error and in the log."""
    cluster = emitter(bus)
    texts: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: texts.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger()
    logger.addHandler(handler)
    try:
        cluster.emit(Emission("nobody hears it", ()))
        assert not cluster.health().up
        with pytest.raises(QueueUnavailable) as raised:
            cluster.ping()
        texts.append(type(raised.value).__name__)
        texts.append(cluster.health().detail)
        return "\n".join((str(raised.value), *texts))
    finally:
        logger.removeHandler(handler)
        cluster.close(0.1)


def at(bus: Bus, url: str, **options: Any) -> Bus:
    """Return the same queue at another address."""
    return dataclasses.replace(bus, url=url, options=options)


@pytest.fixture(scope="module")
def broker() -> Iterator[RedisBroker]:
    """A Redis server that lets one user in, and speaks TLS where openssl is installed."""
    rules = ["--user", USER, "on", f">{PASSWORD}", "~*", "&*", "+@all", "--user", "default", "off"]
    with running(RedisBroker(*rules, encrypted=tls.has_openssl())) as broker:
        yield broker


class TestRedis:
    @pytest.fixture(params=["redis", "streams"])
    def bus(self, request: pytest.FixtureRequest) -> Bus:
        return make_bus(request, request.param)

    def test_a_user_with_a_password(self, bus: Bus, broker: RedisBroker) -> None:
        scheme = bus.url.partition("://")[0]
        assert_joined(at(bus, f"{scheme}://{USER}:{quote(PASSWORD)}@127.0.0.1:{broker.port}"))
        assert_joined(at(bus, f"{scheme}://127.0.0.1:{broker.port}", username=USER, password=PASSWORD))

    def test_a_wrong_password_is_told_and_not_shown(self, bus: Bus, broker: RedisBroker) -> None:
        scheme = bus.url.partition("://")[0]
        said = refusal(at(bus, f"{scheme}://{USER}:{quote(WRONG)}@127.0.0.1:{broker.port}"))
        assert "invalid username-password pair" in said
        assert "QueueRefused" in said
        assert_secret(said)

    @tls.needs_openssl
    def test_tls(self, bus: Bus, broker: RedisBroker) -> None:
        scheme = bus.url.partition("://")[0].replace("redis", "rediss")
        files = tls.authority()
        url = f"{scheme}://{USER}:{quote(PASSWORD)}@127.0.0.1:{broker.tls_port}"
        assert_joined(at(bus, f"{url}?ssl_ca_certs={files.authority}"))
        assert_joined(at(bus, url, ssl_ca_certs=str(files.authority), ssl_check_hostname=True))
        assert_joined(at(bus, f"{url}?ssl_cert_reqs=none&ssl_check_hostname=false"))
        assert "certificate verify failed" in refusal(at(bus, f"{url}?ssl_ca_certs={files.stranger}"))

    def test_a_unix_socket(self, bus: Bus, broker: RedisBroker) -> None:
        scheme = bus.url.partition("://")[0].replace("redis", "unix")
        assert_joined(at(bus, f"{scheme}://{USER}:{quote(PASSWORD)}@{broker.unix_socket}"))

    def test_sentinel_leads_to_the_new_master_after_a_fail_over(self, request: pytest.FixtureRequest) -> None:
        with ExitStack() as stack:
            master = stack.enter_context(running(RedisBroker()))
            replica = stack.enter_context(running(RedisBroker("--replicaof", "127.0.0.1", str(master.port))))
            ask = stack.enter_context(redis.Redis(port=replica.port))
            wait_until(lambda: ask.info()["master_link_status"] == "up", "replication")
            sentinel = stack.enter_context(running(SentinelBroker(master)))
            knows: Any = stack.enter_context(redis.Redis(port=sentinel.port))  # untyped
            wait_until(
                lambda: knows.sentinel_master("main")["num-slaves"], "Sentinel's knowledge of the replica"
            )
            bus = at(make_bus(request, "redis"), sentinel.url)
            nodes = [started(stack, bus) for _ in range(2)]
            member = nodes[1].connect()
            master.kill()

            def is_heard() -> bool:
                nodes[0].cluster.emit(Emission("after", ()))
                return ["after"] in member.receive()

            wait_until(is_heard, "message by way of the new master", FAILOVER_S)
            wait_until(lambda: all(node.cluster.health().up for node in nodes), "recovery", FAILOVER_S)
            assert ask.info()["role"] == "master"


class TestRabbitMQ:
    @pytest.fixture(params=["rabbitmq", "kombu"])
    def bus(self, request: pytest.FixtureRequest) -> Bus:
        return make_bus(request, request.param)

    def test_a_wrong_password_is_told_and_not_shown(self, bus: Bus) -> None:
        said = refusal(at(bus, bus.url.replace("guest:guest", f"guest:{quote(WRONG)}")))
        assert "ACCESS_REFUSED" in said
        assert "QueueRefused" in said
        assert_secret(said)

    @tls.needs_openssl
    def test_tls(self, bus: Bus, rabbitmq_broker: RabbitMQBroker) -> None:
        port, files = rabbitmq_broker.tls_port, tls.authority()
        url = bus.url.replace("amqp://", "amqps://").replace(f":{rabbitmq_broker.port}", f":{port}")
        assert_joined(at(bus, url, ssl={"ca_certs": str(files.authority)}))
        assert "certificate verify failed" in refusal(at(bus, url))
        assert "certificate verify failed" in refusal(at(bus, url, ssl={"ca_certs": str(files.stranger)}))


class TestKafka:
    @pytest.fixture
    def bus(self, request: pytest.FixtureRequest) -> Bus:
        return make_bus(request, "kafka")

    @pytest.fixture
    def url(self, kafka_broker: KafkaBroker) -> Callable[..., str]:
        def url(listener: str, password: str = "") -> str:
            who = f"{kafka_broker.user}:{quote(password)}@" if password else ""
            return f"kafka://{who}127.0.0.1:{kafka_broker.ports[listener]}"

        return url

    def test_a_user_with_a_password(
        self, bus: Bus, url: Callable[..., str], kafka_broker: KafkaBroker
    ) -> None:
        assert_joined(at(bus, url("SASL", kafka_broker.password)))

    def test_a_wrong_password_is_told_and_not_shown(self, bus: Bus, url: Callable[..., str]) -> None:
        said = refusal(at(bus, url("SASL", WRONG)))
        assert "the user name and password" in said
        assert_secret(said)

    @tls.needs_openssl
    def test_tls(self, bus: Bus, url: Callable[..., str], kafka_broker: KafkaBroker) -> None:
        files = tls.authority()
        assert_joined(at(bus, f"{url('TLS')}?security_protocol=SSL&ssl_cafile={files.authority}"))
        both = f"{url('SASL_TLS', kafka_broker.password)}?security_protocol=SASL_SSL"
        assert_joined(at(bus, both, ssl_cafile=str(files.authority)))


def assert_secret(said: str) -> None:
    """Assert that the wrong password was not repeated, in any spelling."""
    assert not [spelling for spelling in (WRONG, quote(WRONG)) if spelling in said]
