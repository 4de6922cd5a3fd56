"""The connections of servers are cut under traffic: durable queues lose nothing, and nobody stays deaf."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import pytest

from support.brokers import Broker, KafkaBroker, RabbitMQBroker, RedisBroker
from support.nodes import Bus, wait_until
from support.proxy import Proxy
from support.servers import GEVENT_BUILTIN, THREADING

from .buses import broker_of, make_bus
from .stage import Sent, Stage, available, playing

pytestmark = pytest.mark.timeout(120)

#: Seconds in which a server that was cut off must hear everybody again.
RECOVERY_S = 20.0
#: Seconds in which everything arrives that was sent into a dead connection: RabbitMQ keeps it for that connection until
#: it has missed its heartbeats, two of 10 s.
FORGOTTEN_S = 45.0
#: Seconds that an emit may take: the queue's time-out for a first attempt and one on a new connection.
BOUND_S = 5.0
DURABLE = ("streams", "rabbitmq", "kafka")


@dataclass
class Scene:
    """Servers that reach their broker through a proxy each."""

    bus: Bus
    broker: Broker
    proxies: list[Proxy]
    stage: Stage

    def recover(self) -> None:
        """Wait until everybody is heard by everybody again."""
        self.stage.become_one(RECOVERY_S)

    def check(self, sent: dict[str, Sent], within_s: float = RECOVERY_S) -> None:
        """Hold what everybody heard against what was emitted."""
        for (name, person), (sender, what) in itertools.product(self.stage.people.items(), sent.items()):
            assert what.slowest_s < BOUND_S, sender
            if self.bus.kind in DURABLE:
                wait_until(
                    partial(lambda *who: len(who[0].numbers(who[1])) >= who[2], person, sender, what.count),
                    f"all {what.count} messages of {sender} at the client of {name}",
                    within_s,
                )
        self.stage.settle()
        for (name, person), (sender, what) in itertools.product(self.stage.people.items(), sent.items()):
            heard = person.numbers(sender)
            assert len(heard) == len(set(heard)), (name, sender)
            if self.bus.kind in DURABLE:
                assert sorted(heard) == list(range(what.count)), (name, sender)


@pytest.fixture(scope="module", params=["redis", *DURABLE])
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    bus = make_bus(request, request.param)
    broker = broker_of(request, request.param)
    assert broker is not None
    kinds = available(THREADING, GEVENT_BUILTIN)
    with ExitStack() as stack:
        proxies = _proxies(broker, len(kinds))
        for proxy in proxies:
            stack.callback(proxy.close)
        urls = [bus.url.replace(f":{broker.port}", f":{proxy.port}") for proxy in proxies]
        stage = playing(bus, kinds, tmp_path_factory.mktemp("cuts"), address=urls.__getitem__)
        yield Scene(bus, broker, proxies, stack.enter_context(stage))


def _proxies(broker: Broker, count: int) -> list[Proxy]:
    if isinstance(broker, KafkaBroker):
        return [Proxy(target, port) for target, port in broker.proxied[:count]]
    return [Proxy(broker.port) for _ in range(count)]


def test_servers_that_are_cut_off_one_after_the_other_hear_again(scene: Scene) -> None:
    scene.stage.begin_traffic()
    for proxy in scene.proxies:
        assert proxy.connections
        with proxy.refusing():
            time.sleep(1)
        scene.recover()
    scene.check(scene.stage.end_traffic())


def test_connections_that_are_cut_again_and_again_are_made_anew(scene: Scene) -> None:
    scene.stage.begin_traffic()
    for _ in range(3):
        for proxy in scene.proxies:
            proxy.cut()
        scene.recover()
    scene.check(scene.stage.end_traffic())


def test_connections_that_a_router_has_forgotten_are_made_anew(scene: Scene) -> None:
    scene.stage.begin_traffic()
    for proxy in scene.proxies:
        assert proxy.forget()
    scene.recover()
    scene.check(scene.stage.end_traffic(), within_s=FORGOTTEN_S)


def test_a_broker_that_hangs_up_on_everybody_is_asked_again(scene: Scene) -> None:
    broker = scene.broker
    if not isinstance(broker, (RedisBroker, RabbitMQBroker)):
        pytest.skip("Kafka has no command for that")
    scene.stage.begin_traffic()
    broker.close_connections()
    scene.recover()
    scene.check(scene.stage.end_traffic())
