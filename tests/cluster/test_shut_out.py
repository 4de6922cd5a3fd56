"""A broker whose password is changed, and one whose name no longer resolves, while servers are connected to it."""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis

from flask_socketio_core.contracts.clients import Emission
from support.apps.cluster import BROKER_NAME, RESOLVER_S
from support.brokers import RabbitMQBroker, RedisBroker, running
from support.nodes import Bus, Member, Node, emitter, wait_until
from support.servers import MODE_KINDS, THREADING, Server, ServerKind, serving, skip_marks

from .buses import broker_of, make_bus
from .stage import Person, cluster_app

FIRST, SECOND = "open-sesame", "close-sesame"
#: Seconds that an emit may take: the queue's time-out for a first attempt and one on a new connection.
BOUND_S = 5.0
#: Seconds until servers that were let in again hear each other.
RECOVERY_S = 40.0
MESSAGES = 20

pytestmark = pytest.mark.timeout(120)


@dataclasses.dataclass(frozen=True)
class Guarded:
    """A queue whose broker wants a password.

    :param change: gives the user another one.
    :param hang_up: closes all connections from the broker's side.
    """

    bus: Bus
    change: Callable[[str], object]
    hang_up: Callable[[], object]


@pytest.fixture(params=["redis", "streams", "rabbitmq"])
def guarded(request: pytest.FixtureRequest) -> Iterator[Guarded]:
    bus = make_bus(request, request.param)
    if request.param == "rabbitmq":
        rabbitmq: RabbitMQBroker = request.getfixturevalue("rabbitmq_broker")
        rabbitmq.set_password(FIRST)
        try:
            url = bus.url.replace("guest:guest", f"guest:{FIRST}")
            yield Guarded(
                dataclasses.replace(bus, url=url), rabbitmq.set_password, rabbitmq.close_connections
            )
        finally:
            rabbitmq.set_password("guest")
        return
    with running(RedisBroker("--requirepass", FIRST)) as broker:
        admin = redis.Redis(port=broker.port, password=FIRST)
        scheme = bus.url.partition("://")[0]

        def hang_up() -> None:
            for kind in ("pubsub", "normal"):
                admin.client_kill_filter(_type=kind, skipme=True)

        with admin:
            yield Guarded(
                dataclasses.replace(bus, url=f"{scheme}://:{FIRST}@127.0.0.1:{broker.port}"),
                lambda password: admin.config_set("requirepass", password),
                hang_up,
            )


def started(stack: ExitStack, bus: Bus) -> tuple[Node, Member]:
    """Return a server and a client of it, both of which are gone with the stack."""
    node = Node(bus).start()
    stack.callback(node.close)
    return node, node.connect()


def heard(member: Member, event: str) -> list[Any]:
    return [numbers for name, *numbers in member.receive() if name == event]


def test_a_password_that_is_changed_keeps_servers_out_until_it_is_changed_back(
    guarded: Guarded, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "flask_socketio_core")
    with ExitStack() as stack:
        (here, at_home), (there, elsewhere) = (started(stack, guarded.bus) for _ in range(2))
        outside = emitter(guarded.bus)
        stack.callback(outside.close)
        wait_until(here.has_peer, "peer")
        for password in (FIRST, SECOND):
            guarded.change(password)
            here.cluster.emit(Emission(password, (0,)))
            outside.emit(Emission(password, (1,)))
            wait_until(lambda: len(heard(elsewhere, password)) == 2, f"messages with {password}")  # noqa: B023
        guarded.hang_up()
        wait_until(lambda: here.cluster.health().refused, "refusal", RECOVERY_S)
        slowest_s = 0.0
        for number in range(MESSAGES):
            for cluster in (here.cluster, outside):
                begun_s = time.monotonic()
                cluster.emit(Emission("meanwhile", (number,)))
                slowest_s = max(slowest_s, time.monotonic() - begun_s)
        assert slowest_s < BOUND_S
        assert len(heard(at_home, "meanwhile")) == MESSAGES  # those of its own server
        state = here.cluster.health()
        assert not state.up and state.refused and outside.health().waiting
        guarded.change(FIRST)
        clusters = (here.cluster, there.cluster, outside)
        wait_until(lambda: all(cluster.health().up for cluster in clusters), "recovery", RECOVERY_S)
        for cluster in (here.cluster, outside):
            cluster.emit(Emission("afterwards", ()))
        wait_until(lambda: len(heard(elsewhere, "afterwards")) == 2, "messages afterwards")
        if guarded.bus.kind != "redis":  # whose pub/sub forgets what nobody hears
            assert sorted(heard(elsewhere, "meanwhile")) == sorted(
                [[number] for number in range(MESSAGES)] * 2
            )
    told = caplog.text + state.detail
    assert FIRST not in told and SECOND not in told
    # python-socketio's managers of earlier tests listen for as long as the process lives, and say so.
    ours = [record for record in caplog.records if record.name.startswith("flask_socketio_core")]
    assert len(ours) < 40, caplog.text


def health(server: Server) -> dict[str, Any]:
    state: dict[str, Any] = json.loads(server.get("/health").body)
    return state


@pytest.mark.parametrize(
    ("queue", "kind"),
    [
        pytest.param(queue, kind, id=f"{queue}-{kind.name}", marks=skip_marks(kind))
        for queue, kinds in (("redis", MODE_KINDS), ("rabbitmq", (THREADING,)))
        for kind in kinds
    ],
)
def test_a_broker_whose_name_does_not_resolve_is_away_until_it_does(
    request: pytest.FixtureRequest, kind: ServerKind, queue: str, tmp_path: Path
) -> None:
    bus = make_bus(request, queue)
    broker = broker_of(request, queue)
    assert isinstance(broker, RedisBroker | RabbitMQBroker)
    gone = tmp_path / "gone"
    spec = cluster_app(bus, bus.url.replace("127.0.0.1", BROKER_NAME))
    spec = dataclasses.replace(spec, settings={"name_gone": str(gone)})
    with serving(kind, spec, tmp_path) as server, ExitStack() as stack:
        person = Person(server)
        stack.callback(person.close)
        outside = emitter(bus)
        stack.callback(outside.close)
        wait_until(lambda: health(server)["up"], "bus that is up")
        gone.touch()
        broker.close_connections()
        wait_until(lambda: "resolution" in health(server)["detail"], "bus that is down", 2 * RESOLVER_S + 5)
        slowest_s = 0.0
        until_s = time.monotonic() + RESOLVER_S + 1
        while time.monotonic() < until_s:  # as long as it asks again
            begun_s = time.monotonic()
            person.client.call("join", ("room",), timeout=10)
            server.post("/do", repr(("emit", ("at home", 1), {})))
            slowest_s = max(slowest_s, time.monotonic() - begun_s)
        assert slowest_s < 1.5
        assert person.numbers("at home")
        gone.unlink()
        wait_until(lambda: health(server)["up"], "recovery", RECOVERY_S)
        outside.emit(Emission("from outside", (1,)))
        wait_until(lambda: person.numbers("from outside"), "message of another process")
