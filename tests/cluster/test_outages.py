"""A broker goes away under traffic and comes back: what is lost is counted, and durable queues lose nothing."""

from __future__ import annotations

import contextlib
import itertools
import logging
import re
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flask_socketio_core import SocketIO
from flask_socketio_core.hookspecs import hookimpl
from flask_socketio_core.selection import Plugins
from support.nodes import Bus, wait_until
from support.operations import Operator
from support.servers import EVENTLET, GEVENT_BUILTIN, MODE_KINDS, THREADING, serving

from .buses import broker_of, make_bus
from .stage import EVERYONE, Sent, available, cluster_app, emitting, playing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask_socketio_core.cluster.link import BusHealth

    from .stage import Stage

pytestmark = pytest.mark.timeout(300)

#: Seconds the broker is away at least.
AWAY_S = 5.0
#: Seconds that an emit may take: the queue's time-out for a first attempt and one on a new connection.
BOUND_S = 5.0
#: Seconds after the broker's return in which everything works again: longest pause between two attempts, and slack.
RECOVERY_S = 80.0
#: Seconds that a request takes at most where nothing waits for the broker, on two busy cores.
ANSWER_S = 1.5
#: Which server starts without its broker: each mode, and each broker.
LATE = {"redis": THREADING, "streams": GEVENT_BUILTIN, "rabbitmq": EVENTLET, "kafka": GEVENT_BUILTIN}
DURABLE = ("streams", "rabbitmq", "kafka")
#: Messages that the small emitter keeps; it emits many more during an outage.
SMALL = 50


class SmallEmitter:
    """A process that only sends, with a buffer that an outage overruns; it notes what is logged and told to hooks."""

    def __init__(self, bus: Bus) -> None:
        self.told: list[tuple[bool, str]] = []
        self.most_waiting = 0
        self.log = _Log()
        socketio = SocketIO()
        socketio._plugins = Plugins(extra=[self], socketio=socketio)
        self.socketio = socketio
        options = {"buffer_max_messages": SMALL}
        socketio.init_app(
            None,
            message_queue=bus.url,
            channel=bus.channel,
            async_mode="threading",
            message_queue_options=options,
        )
        self._operator = Operator(socketio)
        self._operator.do("begin_traffic", "small", to=EVERYONE)
        self.sent = Sent(0, 0.0)

    @hookimpl
    def socketio_bus_state(self, up: bool, detail: str) -> None:
        """Note what a plugin is told."""
        self.told.append((up, detail))

    def look(self) -> None:
        """Note how much waits."""
        self.most_waiting = max(self.most_waiting, self.health().waiting)

    def health(self) -> BusHealth:
        health = self.socketio.health()
        assert health is not None
        return health

    def end(self) -> None:
        self.sent = Sent(*self._operator.do("end_traffic"))

    def close(self) -> None:
        self.socketio.close()
        self.log.close()


class _Log(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []
        self._logger = logging.getLogger("flask_socketio_core.cluster")
        self._logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())

    def close(self) -> None:
        self._logger.removeHandler(self)
        super().close()


@dataclass
class Outage:
    """What is left to look at after one."""

    kind: str
    stage: Stage
    small: SmallEmitter
    early: tuple[str, ...]
    late: str = ""
    slowest_answer_s: float = 0.0
    sent: dict[str, Sent] = field(default_factory=dict)

    def look(self) -> None:
        """Note how things are while the broker is away."""
        self.small.look()
        for name in self.early:
            started = time.monotonic()
            assert self.stage.servers[name].get("/ready").status == 200
            self.slowest_answer_s = max(self.slowest_answer_s, time.monotonic() - started)

    def end(self) -> None:
        """End the traffic and wait until nothing of it waits any more."""
        self.sent = self.stage.end_traffic()
        self.small.end()
        wait_until(lambda: not self.small.health().waiting, "empty buffer", RECOVERY_S)

    def wait_heard(self, name: str, sender: str, count: int) -> None:
        """Wait until the client of a server has heard that many messages of a sender."""
        heard: list[int] = []

        def enough() -> bool:
            heard[:] = self.heard(name, sender)
            return len(heard) >= count

        try:
            wait_until(enough, f"{count} messages of {sender} at the client of {name}", RECOVERY_S)
        except AssertionError as error:
            last = max(heard, default=-1)
            missing = sorted(set(range(last)) - set(heard))
            raise AssertionError(f"{error}; {len(heard)} came, up to {last}, without {missing}") from None

    def heard(self, name: str, event: str) -> list[int]:
        """Return the numbers that the client of a server has heard, sorted."""
        return sorted(self.stage.people[name].numbers(event))


@pytest.fixture(scope="module", params=["redis", *DURABLE])
def outage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outage]:
    """Servers of all modes, and one more that starts while the broker is away, have been through an outage."""
    bus = make_bus(request, request.param)
    broker = broker_of(request, request.param)
    assert broker is not None
    kinds = available(*MODE_KINDS)
    directory = tmp_path_factory.mktemp("outage")
    with contextlib.ExitStack() as stack:
        stage = stack.enter_context(playing(bus, kinds, directory))
        stage.begin_traffic()  # first, for it clears what was heard
        small = SmallEmitter(bus)
        stack.callback(small.close)
        outage = Outage(bus.kind, stage, small, tuple(stage.people))
        time.sleep(0.5)
        with broker.outage():
            over_at = time.monotonic() + AWAY_S
            _start_meanwhile(outage, stack, bus, directory)
            newcomer = stack.enter_context(emitting(bus))
            newcomer.emit("from a newcomer", 1, to=EVERYONE)
            outage.look()
            while time.monotonic() < over_at:
                time.sleep(0.2)
                outage.look()
        stage.become_one(RECOVERY_S)
        outage.end()
        yield outage


def _start_meanwhile(outage: Outage, stack: contextlib.ExitStack, bus: Bus, directory: Path) -> None:
    """Start a server without its broker, and let it serve a client of its own."""
    kind = LATE[bus.kind]
    if kind.missing() is not None:
        return
    outage.late = f"late {kind.name}"
    server = stack.enter_context(serving(kind, cluster_app(bus), directory))
    person = outage.stage.add(outage.late, server)
    stack.callback(person.close)
    outage.stage.senders[outage.late].do("emit", "at home", outage.late, to=EVERYONE)
    wait_until(partial(person.numbers, "at home"), f"event of its own server at the client of {outage.late}")


def test_durable_queues_lose_and_repeat_nothing(outage: Outage) -> None:
    if outage.kind not in DURABLE:
        pytest.skip("pub/sub forgets what nobody hears")
    for name, (sender, sent) in itertools.product(outage.early, outage.sent.items()):
        outage.wait_heard(name, sender, sent.count)
    outage.stage.settle()
    for name, (sender, sent) in itertools.product(outage.early, outage.sent.items()):
        assert outage.heard(name, sender) == list(range(sent.count)), (name, sender)


def test_nobody_hears_anything_twice(outage: Outage) -> None:
    for name, sender in itertools.product(outage.stage.people, [*outage.sent, "small"]):
        heard = outage.heard(name, sender)
        assert len(heard) == len(set(heard)), (name, sender)


def test_no_emit_waits_longer_than_its_bound(outage: Outage) -> None:
    for sender, sent in {**outage.sent, "small": outage.small.sent}.items():
        assert sent.slowest_s < BOUND_S, sender


def test_servers_answer_at_once_while_the_broker_is_away(outage: Outage) -> None:
    assert 0 < outage.slowest_answer_s < ANSWER_S


def test_a_server_that_starts_without_its_broker_joins_when_it_comes(outage: Outage) -> None:
    if not outage.late:
        pytest.skip(str(LATE[outage.kind].missing()))
    wait_until(  # on a machine that stalls, one may just be taken for gone
        lambda: len(outage.stage.health(outage.late)["peers"]) == len(outage.early),
        "peers of the newcomer",
        RECOVERY_S,
    )
    for person in outage.stage.people.values():
        assert person.numbers("at home") == [outage.late]


def test_what_a_process_emits_before_it_ever_had_a_broker_arrives(outage: Outage) -> None:
    for name in outage.early:
        person = outage.stage.people[name]
        wait_until(
            partial(person.numbers, "from a newcomer"),
            f"newcomer's event at the client of {name}",
            RECOVERY_S,
        )
        assert person.numbers("from a newcomer") == [1]


def test_afterwards_the_bus_is_up_and_nothing_waits(outage: Outage) -> None:
    for name in outage.stage.servers:
        outage.stage.wait_sent(name)
        health = outage.stage.health(name)
        assert (health["up"], health["lost_sent"]) == (True, 0), (name, health)
        # A server that was never there before has no place at which it could resume.
        if outage.kind in DURABLE and name in outage.early:
            assert health["lost_received"] == 0, (name, health)


def test_a_small_buffer_loses_the_oldest_and_tells_how_many(outage: Outage) -> None:
    small = outage.small
    lost = small.health().lost_sent
    assert small.most_waiting <= SMALL
    assert lost > SMALL
    # A slow broker may be away a second time while five servers send it what has waited.
    assert [up for up, _ in small.told] == [False, True] * (len(small.told) // 2)
    logged = [_lost(text) for text in small.log.texts]
    assert 0 not in logged, small.log.texts
    assert sum(logged) == sum(_lost(detail) for up, detail in small.told if up) == lost
    for name in outage.early if outage.kind in DURABLE else ():
        # No less; perhaps some more, of whose arrival the broker did not say anything before it went away.
        outage.wait_heard(name, "small", small.sent.count - lost)


def _lost(text: str) -> int:
    """Return how many messages a text says are lost."""
    return sum(int(number) for number in re.findall(r"\b(\d+) lost\b", text))
