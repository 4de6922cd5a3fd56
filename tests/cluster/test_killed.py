"""A server is killed: the others forget it in the stated time, and nobody waits for its clients for ever."""

from __future__ import annotations

import re
import subprocess
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from flask_socketio_core import SocketIO
from flask_socketio_core.cluster import calls_to_all
from flask_socketio_core.cluster.link import WATCH_S
from flask_socketio_core.contracts.clients import CallAnswers, Emission
from flask_socketio_core.contracts.servers import Answers
from flask_socketio_core.errors import CallTimeout
from support.environments import ROOT
from support.nodes import Bus, Node, emitter, wait_until

from .buses import make_bus
from .test_processes import start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.timeout(120)

#: What the servers of these tests have as ``heartbeat_interval_s``.
INTERVAL_S = 0.5
#: Intervals in which a dead server is forgotten, as docs/queues.md states.
INTERVALS = 4
#: What two busy cores may add, seconds.
SLACK_S = 1.0
#: Seconds that a callback and a call without a time-out wait in these tests.
EXPIRES_S = 2.0


@pytest.fixture(params=["redis", "streams", "rabbitmq", "kafka"])
def bus(request: pytest.FixtureRequest) -> Bus:
    return make_bus(request, request.param)


@pytest.fixture
def node(bus: Bus) -> Iterator[Node]:
    node = Node(bus, heartbeat_interval_s=INTERVAL_S, ack_expires_s=EXPIRES_S).start()
    yield node
    node.close()


class Victim:
    """A server in a process of its own, with clients that never answer."""

    def __init__(self, bus: Bus, clients: int = 1) -> None:
        kind = bus.queue_class
        self._process: subprocess.Popen[str] = start(
            "server.py", kind.__module__, kind.__name__, bus.url, bus.channel, str(clients)
        )
        assert self._process.stdout is not None
        self.sids = self._process.stdout.readline().split()
        self.sid = self.sids[0]

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


@pytest.fixture
def victim(bus: Bus, node: Node) -> Iterator[Victim]:
    victim = Victim(bus)
    wait_until(node.has_peer, "peer")
    yield victim
    victim.kill()


class Waiting(threading.Thread):
    """Call a client in a thread of its own."""

    def __init__(self, call: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self.outcome: object = None
        self._call = call
        self.start()

    def run(self) -> None:
        try:
            self.outcome = self._call()
        except Exception as error:  # noqa: BLE001  # a test looks at it
            self.outcome = error


def test_a_killed_server_is_forgotten_in_the_stated_time(
    node: Node, victim: Victim, caplog: pytest.LogCaptureFixture
) -> None:
    (peer,) = node.cluster.health().peers
    victim.kill()
    killed = time.monotonic()
    wait_until(lambda: not node.has_peer(), "end of the peer")
    assert time.monotonic() - killed < INTERVALS * INTERVAL_S + SLACK_S
    wait_until(lambda: f"server {peer.node} is gone" in caplog.text, "word of it in the log")
    wait_until(lambda: node.told_servers[-1:] == [(peer.node, False)], "word of it to observers")


def test_a_call_in_progress_ends_although_its_server_was_killed(node: Node, victim: Victim, bus: Bus) -> None:
    outside = SocketIO(
        message_queue=bus.url,
        channel=bus.channel,
        async_mode="threading",
        message_queue_options={"ack_expires_s": EXPIRES_S},
    )
    callers = [
        Waiting(lambda: node.cluster.call(Emission("ask", ()), victim.sid, timeout_s=1.0)),
        Waiting(lambda: node.cluster.call(Emission("ask", ()), victim.sid, timeout_s=1e9)),
        Waiting(lambda: outside.call("ask", to=victim.sid, timeout=None)),
    ]
    time.sleep(0.3)  # the questions are with the client, which does not answer
    victim.kill()
    for caller in callers:
        caller.join(EXPIRES_S + 10 * SLACK_S)  # an emitter subscribes first
        assert isinstance(caller.outcome, CallTimeout), caller.outcome
    assert len(node.cluster._link.acks) == 0
    outside.close()


def test_a_question_ends_when_its_server_is_taken_for_dead(node: Node, victim: Victim, bus: Bus) -> None:
    node.servers.on_topic("wait", lambda payload, asker: "here")
    (peer,) = node.cluster.health().peers
    outside = emitter(bus)
    assert outside.ask("wait", None, timeout_s=0.8).missing[peer.node] == "silent"
    asking = Waiting(lambda: node.servers.ask("wait", timeout_s=60.0))
    time.sleep(0.3)  # the question is with the server, which does not answer
    victim.kill()
    killed = time.monotonic()
    asking.join(60.0)
    assert time.monotonic() - killed < INTERVALS * INTERVAL_S + SLACK_S
    assert asking.outcome == Answers(
        answers={node.servers.node: "here"}, errors={}, missing={peer.node: "left"}
    )
    assert node.servers.ask("wait", timeout_s=60.0).complete
    assert outside.ask("wait", None, timeout_s=60.0).answers == {node.servers.node: "here"}
    outside.close()


def test_a_call_to_all_ends_when_a_server_is_taken_for_dead(node: Node, victim: Victim, bus: Bus) -> None:
    member = node.connect()
    asking = Node(bus, heartbeat_interval_s=INTERVAL_S).start()
    outside = emitter(bus)
    wait_until(lambda: len(asking.cluster.health().peers) == 2, "peers")
    emission = Emission("ask", ())
    calls = [
        Waiting(partial(calls_to_all.wait, cluster._mode, partial(cluster.call_all, emission, 60.0)))
        for cluster in (asking.cluster, outside)
    ]
    wait_until(lambda: len(member.receive()) == len(calls), "questions")
    for cluster in (asking.cluster, outside):
        (roll,) = cluster._calls._rolls.values()
        wait_until(lambda roll=roll: victim.sid in roll._nodes, "word of whom the server has asked")  # type: ignore[misc]
    victim.kill()
    killed = time.monotonic()
    for call in calls:
        call.join(60.0)
        assert time.monotonic() - killed < INTERVALS * INTERVAL_S + WATCH_S + SLACK_S
        assert call.outcome == CallAnswers(answers={member.sid: "ok"}, missing={victim.sid: "gone"})
    outside.close()
    asking.close()


@pytest.fixture
def patient(bus: Bus) -> Iterator[Node]:
    """A server that waits for as long as it takes to find out that another one is dead."""
    node = Node(bus, heartbeat_interval_s=INTERVAL_S, ack_expires_s=60.0).start()
    yield node
    node.close()


def test_the_answers_of_a_thousand_clients_and_those_that_are_missing_add_up(patient: Node, bus: Bus) -> None:
    node = patient
    victim = Victim(bus, clients=60)
    wait_until(node.has_peer, "peer")
    members = [node.connect() for _ in range(940)]
    leaving, staying = members[:10], members[10:]
    for member in leaving:
        member.answer = None
    call = Waiting(
        partial(calls_to_all.wait, node.mode, partial(node.cluster.call_all, Emission("ask", ()), 60.0))
    )
    try:
        wait_until(lambda: all(member.receive() for member in members), "questions", 60)
        (roll,) = node.cluster._calls._rolls.values()
        wait_until(lambda: set(victim.sids) <= set(roll._nodes), "word of whom the server has asked")
        for member in leaving:
            member.leave()
    finally:
        victim.kill()
    call.join(60.0)
    gone = [*victim.sids, *(member.sid for member in leaving)]
    assert call.outcome == CallAnswers(
        answers={member.sid: "ok" for member in staying}, missing=dict.fromkeys(gone, "gone")
    )
    assert len(call.outcome.answers) + len(call.outcome.missing) == 1000


def test_a_callback_is_dropped_although_its_server_was_killed(node: Node, victim: Victim) -> None:
    node.cluster.emit(Emission("ask", (), to=(victim.sid,), on_ack=lambda *args: None))
    assert len(node.cluster._link.acks) == 1
    victim.kill()
    wait_until(lambda: len(node.cluster._link.acks) == 0, "end of the waiting")


def test_the_stated_time_is_in_the_documentation() -> None:
    page = " ".join((ROOT / "docs" / "queues.md").read_text().split())
    assert re.search(rf"killed disappears from the others within {INTERVALS} . `heartbeat_interval_s`", page)
