"""What a queue that keeps nothing loses of the other servers' messages is counted exactly, on Redis and on one host."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest

from flask_socketio_core.contracts.clients import Emission
from support.nodes import Bus, Node, emitter, wait_until
from support.proxy import Proxy
from support.servers import stopped

from .buses import broker_of, make_bus
from .cutting import Gate, cut_subscriber, named
from .test_processes import start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask_socketio_core.cluster.cluster import Cluster
    from support.brokers import Broker
    from support.nodes import Member

pytestmark = pytest.mark.timeout(120)

AWAY_S = 5.0
RECOVERY_S = 40.0


class Traffic(threading.Thread):
    """Emit numbered messages to a room until told to stop."""

    def __init__(self, cluster: Cluster, event: str = "n") -> None:
        super().__init__(daemon=True)
        self.count = 0
        self._cluster = cluster
        self._event = event
        self._end = threading.Event()
        self.start()

    def run(self) -> None:
        while not self._end.wait(0.002):
            self._cluster.emit(Emission(self._event, (self.count,), to=("room",)))
            self.count += 1

    def end(self) -> int:
        self._end.set()
        self.join(30)
        return self.count


class Pair:
    """A server that sends and one that loses."""

    def __init__(self, bus: Bus) -> None:
        self.gate = Gate()
        self.sender = Node(bus).start()
        own, self._name = named(self.gate.before(bus))
        self.victim = Node(own).start()
        self.member: Member = self.victim.connect()
        self.victim.cluster.enter_room(self.member.sid, "room")
        wait_until(self.victim.has_peer, "peer")

    def heard(self, event: str = "n") -> list[int]:
        return [item[1] for item in self.member.receive() if item[0] == event]

    def cut(self, broker: Broker) -> None:
        """Have Redis close the connection that the victim listens on."""
        assert cut_subscriber(broker.url, self._name) == 1

    def lost(self) -> int:
        return self.victim.cluster.health().lost_received

    def settled(self, gaps: int) -> None:
        """Wait until so many gaps were told, and for the heartbeat behind all that was sent."""
        wait_until(lambda: len(self.victim.gaps) == gaps, f"report of {gaps} gaps", RECOVERY_S)
        last = self.victim.cluster._link.peers._senders[self.sender.cluster.health().node]
        wait_until(
            lambda: last.highest == self.sender.cluster._link.outbox.seq, "heartbeat behind the last message"
        )
        time.sleep(1.2)  # two more heartbeats, which must not change anything

    def close(self) -> None:
        self.sender.close()
        self.victim.close()


@pytest.fixture
def broker(request: pytest.FixtureRequest) -> Broker:
    broker = broker_of(request, "redis")
    assert broker is not None
    return broker


@pytest.fixture
def bus(request: pytest.FixtureRequest) -> Bus:
    return make_bus(request, "redis")


@pytest.fixture
def pair(bus: Bus) -> Iterator[Pair]:
    pair = Pair(bus)
    yield pair
    pair.close()


def logged(caplog: pytest.LogCaptureFixture) -> int:
    """Return the sum of the losses in the log."""
    found = re.findall(r"(\d+) messages of server \w+ never arrived here", caplog.text)
    return sum(int(number) for number in found)


def told(pair: Pair) -> int:
    """Return the sum of the losses that the hook was told."""
    assert all(gap.missed is not None and not gap.resumed for gap in pair.victim.gaps)
    return sum(gap.missed or 0 for gap in pair.victim.gaps)


def test_what_is_sent_while_the_connection_is_cut_is_counted(
    pair: Pair, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    traffic = Traffic(pair.sender.cluster)
    wait_until(pair.heard, "traffic")
    for number in range(3):
        pair.cut(broker)
        wait_until(lambda number=number: len(pair.victim.gaps) == number + 1, "report of the gap")  # type: ignore[misc]
    sent = traffic.end()
    pair.settled(3)
    missing = sent - len(pair.heard())
    assert missing > 0
    assert (pair.lost(), logged(caplog), told(pair)) == (missing, missing, missing)


def test_the_last_messages_before_a_silence_are_counted(
    pair: Pair, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    pair.sender.cluster.emit(Emission("n", (0,), to=("room",)))
    wait_until(pair.heard, "message")
    with pair.gate.shut():
        pair.cut(broker)
        wait_until(lambda: not pair.victim.cluster.health().up, "noticed loss")
        for number in range(37):
            pair.sender.cluster.emit(Emission("n", (number,), to=("room",)))
        wait_until(lambda: pair.sender.cluster.health().waiting == 0, "flushed buffer")
    pair.settled(1)
    assert (pair.lost(), logged(caplog), told(pair)) == (37, 37, 37)


def test_what_an_outage_of_the_broker_costs_is_counted(
    pair: Pair, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    traffic = Traffic(pair.sender.cluster)
    wait_until(pair.heard, "traffic")
    with broker.outage():
        time.sleep(AWAY_S)
    wait_until(
        lambda: pair.sender.cluster.health().up and pair.victim.cluster.health().up, "recovery", RECOVERY_S
    )
    sent = traffic.end()
    wait_until(lambda: sent - 1 in pair.heard(), "last message", RECOVERY_S)
    pair.settled(1)
    missing = sent - len(pair.heard())
    assert len(set(pair.heard())) == len(pair.heard())
    assert (pair.lost(), logged(caplog), told(pair)) == (missing, missing, missing)
    (gap,) = pair.victim.gaps
    assert gap.duration_s >= AWAY_S


def test_what_does_not_fit_the_senders_buffer_counts_as_lost_on_both_sides(bus: Bus, broker: Broker) -> None:
    sender, victim = Node(bus, buffer_max_messages=10).start(), Node(bus).start()
    try:
        wait_until(victim.has_peer, "peer")
        member = victim.connect()
        with broker.outage():
            for number in range(30):
                sender.cluster.emit(Emission("n", (number,)))
            lost = sender.cluster.health().lost_sent
            assert lost >= 20
        wait_until(lambda: victim.gaps, "report of the gap", RECOVERY_S)
        (gap,) = victim.gaps
        assert gap.missed == victim.cluster.health().lost_received == 30 - len(member.receive())
        assert gap.missed >= lost
    finally:
        sender.close()
        victim.close()


def test_what_a_sender_drops_is_told_to_those_who_were_not_cut_off(bus: Bus, broker: Broker) -> None:
    proxy = Proxy(int(bus.url.rpartition(":")[2].partition("/")[0]))
    away = dataclasses.replace(bus, url=f"redis://127.0.0.1:{proxy.port}/0")
    sender, other = Node(away, buffer_max_messages=10).start(), Node(bus).start()
    try:
        wait_until(other.has_peer, "peer")
        member = other.connect()
        began = time.time()
        with proxy.refusing():
            for number in range(30):
                sender.cluster.emit(Emission("n", (number,)))
        wait_until(lambda: other.gaps, "report of the loss", RECOVERY_S)
        (gap,) = other.gaps
        assert (gap.duration_s, gap.missed, gap.resumed) == (0.0, 30 - len(member.receive()), False)
        assert began - 2 < gap.since < time.time()
    finally:
        sender.close()
        other.close()
        proxy.close()


def test_a_process_that_only_sends_costs_a_gap_with_its_length_only(
    pair: Pair, bus: Bus, broker: Broker
) -> None:
    outside = emitter(bus)
    outside.emit(Emission("outside", (0,), to=("room",)))
    wait_until(lambda: pair.heard("outside"), "message from outside")
    try:
        with pair.gate.shut():
            pair.cut(broker)
            wait_until(lambda: not pair.victim.cluster.health().up, "noticed loss")
            outside.emit(Emission("outside", (1,), to=("room",)))
            wait_until(lambda: outside.health().waiting == 0, "flushed buffer")
        pair.settled(1)
        (gap,) = pair.victim.gaps
        assert gap.duration_s > 0
        assert (gap.missed, gap.resumed, pair.lost()) == (0, False, 0)
    finally:
        outside.close()


def test_heartbeats_and_greetings_are_no_messages_that_could_be_lost(pair: Pair, broker: Broker) -> None:
    with pair.gate.shut():
        pair.cut(broker)
        time.sleep(1.5)  # three heartbeats
    pair.settled(1)
    (gap,) = pair.victim.gaps
    assert (gap.missed, pair.lost()) == (0, 0)


def test_a_server_that_vanishes_during_the_gap_makes_its_cost_unknown(
    pair: Pair, bus: Bus, broker: Broker
) -> None:
    with pair.gate.shut():
        pair.cut(broker)
        wait_until(lambda: not pair.victim.cluster.health().up, "noticed loss")
        pair.sender.cluster.emit(Emission("n", (0,), to=("room",)))
        pair.sender.cluster.close()
    wait_until(lambda: pair.victim.gaps, "report of the gap", RECOVERY_S)  # after 20 s: it might come back
    (gap,) = pair.victim.gaps
    assert (gap.missed, gap.resumed) == (None, False)


class Counting:
    """A server in a process of its own, and what it prints."""

    def __init__(self, bus: Bus) -> None:
        kind = bus.queue_class
        self.process: subprocess.Popen[str] = start(
            "counting.py", kind.__module__, kind.__name__, bus.url, bus.channel
        )
        self.heard = self.lost = -1
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()
        wait_until(lambda: self.heard == 0, "server")

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout:
            for line in self.process.stdout:
                if re.fullmatch(r"\d+ \d+\n", line):  # and no log
                    self.heard, self.lost = map(int, line.split())

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reading.join()


def test_what_a_process_of_the_host_misses_while_it_is_stopped_is_counted(
    request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    bus = make_bus(request, "host", peer_max_bytes=500_000)
    sender, counting = Node(bus).start(), Counting(bus)
    try:
        wait_until(sender.has_peer, "peer")
        with stopped(counting.process.pid):
            for number in range(200):
                sender.cluster.emit(Emission("n", (number, "x" * 10_000), to=("room",)))
            # Who emits does not wait for a message that another task is about to send.
            wait_until(lambda: "reads no messages" in caplog.text, "word of who is given up", RECOVERY_S)
        wait_until(lambda: counting.heard + counting.lost >= 200, "number of what is missing", RECOVERY_S)
        assert 0 < counting.heard < 200
        assert counting.lost >= 200 - counting.heard  # and heartbeats
    finally:
        counting.end()
        sender.close()
