"""The outbox and the listener over a queue that fails when the test says so."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from flask_socketio_core.cluster.cluster import Cluster
from flask_socketio_core.common.sids import new_sid
from flask_socketio_core.contracts import AsyncMode, MessageQueue, QueueCapabilities
from flask_socketio_core.contracts.clients import Emission
from flask_socketio_core.errors import MessageTooLarge, PartUnsuitable, QueueClosed, QueueUnavailable
from flask_socketio_core.testing.threads import ThreadMode
from support.nodes import Bus, Node, in_threads, wait_until


class Moody(MessageQueue):
    """A queue in this process that can be away, deaf, slow or mistaken."""

    capabilities = QueueCapabilities(max_message_bytes=10_000)
    instances: list[Moody]
    clusters: list[Cluster]  # those of make()

    def __init__(self, url: str, channel: str, *, mode: AsyncMode, options: Any) -> None:
        super().__init__(url, channel, mode=mode, options=options)
        self.away = False
        self.deaf = False
        self.slow_s = 0.0
        self.published: list[bytes] = []
        self.subscriptions = 0
        self._inbox: queue.Queue[bytes] = queue.Queue()
        self._closed = False
        self.instances.append(self)

    def publish(self, message: bytes, *, key: str = "") -> None:
        time.sleep(self.slow_s)
        if self.away:
            raise QueueUnavailable("gone fishing")
        if self._closed:
            raise QueueClosed("closed")
        self.published.append(message)
        if not self.deaf:
            self._inbox.put(message)

    def knows(self, address: str) -> bool:
        return True

    def listen(self) -> Iterator[bytes]:
        self.subscriptions += 1
        self.deaf = False
        yield b""
        while not self._closed:
            try:
                yield self._inbox.get(timeout=0.05)
            except queue.Empty:
                yield b""

    def ping(self) -> None:
        if self.away:
            raise QueueUnavailable("gone fishing")

    def close(self) -> None:
        self._closed = True


@pytest.fixture(autouse=True)
def instances(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Moody]]:
    monkeypatch.setattr("flask_socketio_core.cluster.outbox.SETTLE_S", 0.05)  # there is nobody to wait for
    Moody.instances, Moody.clusters = [], []
    yield Moody.instances
    for cluster in Moody.clusters:
        cluster.close(timeout_s=0.1)
    for instance in Moody.instances:
        instance.close()


def make(**options: Any) -> tuple[Cluster, Moody, list[tuple[bool, str]]]:
    states: list[tuple[bool, str]] = []
    cluster = Cluster(
        Moody,
        "moody://user:secret@host",
        "channel",
        mode=ThreadMode(),
        options=options,
        on_state=lambda up, detail: states.append((up, detail)),
    )
    Moody.clusters.append(cluster)
    return cluster, Moody.instances[-1], states


def numbers(moody: Moody) -> list[int]:
    return [int(message.partition(b'"data": [')[2].partition(b"]")[0]) for message in moody.published]


#: To all; to one whose address is known; and both in turn.
TO = {
    "all": (None,),
    "one": ((new_sid("0a1b2c"),),),
    "both": (None, (new_sid("0a1b2c"),), (new_sid("0d0d0d"),)),
}


@pytest.mark.parametrize("to", TO.values(), ids=TO)
def test_what_waits_is_sent_in_order_when_the_broker_is_back(to: tuple[tuple[str, ...] | None, ...]) -> None:
    cluster, moody, states = make()
    cluster.emit(Emission("n", (0,)))
    moody.away = True
    for number in range(1, 50):
        cluster.emit(Emission("n", (number,), to=to[number % len(to)]))
    assert cluster.health().waiting == 49
    moody.away = False
    wait_until(lambda: len(states) == 2, "recovery")
    assert numbers(moody) == list(range(50))
    assert states[0] == (False, "gone fishing")
    assert states[1][0] is True
    assert "49 messages sent late, 0 lost" in states[1][1]


@pytest.mark.parametrize("to", TO.values(), ids=TO)
def test_what_one_emit_leaves_to_a_worker_keeps_its_order(
    to: tuple[tuple[str, ...] | None, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flask_socketio_core.cluster.outbox.HELPFULNESS", 5)
    cluster, moody, _ = make()
    moody.slow_s = 0.05
    first = threading.Thread(target=cluster.emit, args=(Emission("n", (0,)),))
    first.start()
    wait_until(lambda: cluster.health().waiting, "message on its way")
    for number in range(1, 20):
        cluster.emit(Emission("n", (number,), to=to[number % len(to)]))
    first.join()
    wait_until(lambda: len(moody.published) == 20, "all of them")
    assert numbers(moody) == list(range(20))


def test_a_listener_that_works_again_makes_the_sender_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flask_socketio_core.cluster.outbox.FIRST_PAUSE_S", 3600.0)
    cluster, moody, states = make()
    moody.away = True
    cluster.emit(Emission("n", (1,)))
    moody.away = False
    cluster._link.listener.start()
    wait_until(lambda: len(states) == 2, "recovery")
    assert numbers(moody) == [1]


def test_an_emit_that_is_interrupted_leaves_publishing_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interruption(BaseException):
        """What a greenlet's time-out and Ctrl-C have in common."""

    cluster, moody, _ = make()
    publish = moody.publish

    def interrupted(message: bytes, *, key: str = "") -> None:
        monkeypatch.setattr(moody, "publish", publish)
        raise Interruption

    cluster.emit(Emission("n", (0,)))
    monkeypatch.setattr(moody, "publish", interrupted)
    with pytest.raises(Interruption):
        cluster.emit(Emission("n", (1,)))
    cluster.emit(Emission("n", (2,)))
    wait_until(lambda: numbers(moody) == [0, 1, 2], "all of them")


def test_threads_that_emit_together_keep_their_own_order() -> None:
    cluster, moody, _ = make()
    moody.slow_s = 0.0005

    def emit(thread: int) -> None:
        for number in range(200):
            cluster.emit(Emission("n", (thread * 1000 + number,)))

    in_threads(emit)
    assert cluster.close(timeout_s=5) == 0
    sent = numbers(moody)
    assert len(sent) == 800
    for first in range(0, 4000, 1000):
        assert [number for number in sent if number // 1000 * 1000 == first] == list(
            range(first, first + 200)
        )


def test_threads_that_emit_faster_than_one_publishes_lose_nothing() -> None:
    cluster, moody, states = make(buffer_max_messages=10)
    moody.slow_s = 0.0005

    def emit(_: int) -> None:
        for number in range(100):
            cluster.emit(Emission("n", (number,)))

    in_threads(emit)
    assert cluster.close(timeout_s=5) == 0
    assert sorted(numbers(moody)) == sorted([*range(100)] * 4)
    assert (cluster.health().lost_sent, states) == (0, [])


def test_a_message_larger_than_the_buffer_is_sent_while_the_broker_is_there() -> None:
    cluster, moody, _ = make(buffer_max_bytes=100)
    cluster.emit(Emission("n", (1,)))
    assert numbers(moody) == [1]


class Stuck:
    """Holds the next publish of a queue up, until the test says how it goes on."""

    def __init__(self, moody: Moody, monkeypatch: pytest.MonkeyPatch) -> None:
        self._publish, self._go_on, self._begun = moody.publish, threading.Event(), threading.Event()
        self.fails = False
        self._moody, self._monkeypatch = moody, monkeypatch
        monkeypatch.setattr(moody, "publish", self._wait)
        monkeypatch.setattr("flask_socketio_core.cluster.outbox.PATIENCE_S", 0.05)

    def _wait(self, message: bytes, *, key: str = "") -> None:
        self._monkeypatch.setattr(self._moody, "publish", self._publish)
        self._begun.set()
        self._go_on.wait(30)
        if self.fails:
            raise QueueUnavailable("gone fishing")
        self._publish(message, key=key)

    def while_stuck(self, cluster: Cluster, *events: int) -> None:
        """Emit from one thread, which is held up, and then from this one."""
        thread = threading.Thread(target=lambda: cluster.emit(Emission("n", (events[0],))))
        thread.start()
        assert self._begun.wait(15)
        for number in events[1:]:
            cluster.emit(Emission("n", (number,)))
        self._go_on.set()
        thread.join()


def test_what_is_lost_before_an_outage_is_noticed_is_in_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, moody, states = make(buffer_max_messages=5)
    stuck = Stuck(moody, monkeypatch)
    stuck.fails = True
    stuck.while_stuck(cluster, *range(20))
    wait_until(lambda: len(states) == 2, "recovery")
    assert numbers(moody) == list(range(15, 20))
    assert cluster.health().lost_sent == 15
    assert "5 messages sent late, 15 lost" in states[1][1]


def test_a_broker_that_is_too_slow_for_long_costs_a_number_that_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cluster, moody, states = make(buffer_max_messages=5)
    Stuck(moody, monkeypatch).while_stuck(cluster, *range(20))
    wait_until(lambda: states, "report of the loss")
    assert numbers(moody) == [0, *range(15, 20)]
    ((up, detail),) = states
    assert (up, detail.partition(":")[0], cluster.health().lost_sent) == (True, "14 messages lost", 14)
    assert [
        record.getMessage() for record in caplog.records if "14 messages lost" in record.getMessage()
    ] == [f"sending on moody://***@host: {detail}"]


@pytest.mark.parametrize("limit", [{"buffer_max_messages": 5}, {"buffer_max_bytes": 5 * 245}])
def test_a_full_buffer_loses_the_oldest(limit: dict[str, int]) -> None:
    cluster, moody, states = make(**limit)
    moody.away = True
    for number in range(100, 120):
        cluster.emit(Emission("n", (number,)))
    assert cluster.health().waiting_bytes <= 5 * 260
    moody.away = False
    wait_until(lambda: len(states) == 2, "recovery")
    sent = numbers(moody)
    assert sent == list(range(120 - len(sent), 120))
    assert cluster.health().lost_sent == 20 - len(sent)
    assert f"{20 - len(sent)} lost" in states[1][1]


def test_what_waits_too_long_is_lost() -> None:
    cluster, moody, states = make(buffer_max_age_s=0.2)
    moody.away = True
    cluster.emit(Emission("n", (1,)))
    wait_until(lambda: cluster.health().lost_sent == 1, "loss of the old message")
    assert cluster.health().waiting == 0
    moody.away = False
    wait_until(lambda: len(states) == 2, "recovery")
    cluster.emit(Emission("n", (2,)))
    assert numbers(moody) == [2]


def test_a_message_that_the_queue_gives_back_is_sent_again() -> None:
    cluster, moody, _ = make()
    cluster.emit(Emission("n", (1,)))
    assert moody.on_failure is not None
    moody.on_failure(moody.published[0], "key")
    wait_until(lambda: len(moody.published) == 2, "second attempt")
    assert moody.published[0] == moody.published[1]


def test_what_the_queue_gives_back_goes_before_what_waits_in_its_old_order() -> None:
    cluster, moody, states = make()
    for number in range(5):
        cluster.emit(Emission("n", (number,)))
    accepted, moody.published = moody.published, []
    moody.away = True
    assert moody.on_failure is not None
    for payload in (accepted[3], accepted[1], accepted[4], accepted[2]):
        moody.on_failure(payload, "key")
    for number in range(5, 8):
        cluster.emit(Emission("n", (number,)))
    assert cluster.health().waiting == 7
    moody.away = False
    wait_until(lambda: len(states) == 2, "recovery")
    assert numbers(moody) == list(range(1, 8))
    assert cluster.health().sent == 8


def test_closing_waits_for_what_the_queue_gives_back() -> None:
    cluster, moody, _ = make()
    cluster.emit(Emission("n", (1,)))
    [accepted] = moody.published

    def flush(timeout_s: float) -> int:
        if len(moody.published) == 1 and not cluster.health().waiting:
            assert moody.on_failure is not None
            moody.on_failure(accepted, "key")
        return 0

    moody.flush = flush  # type: ignore[method-assign]  # the one place where a loss is found late
    assert cluster.close(timeout_s=5) == 0
    assert moody.published == [accepted, accepted]


def test_closing_waits_for_no_other_server_to_listen_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flask_socketio_core.cluster.outbox.FIRST_PAUSE_S", 3600.0)
    monkeypatch.setattr("flask_socketio_core.cluster.outbox.SETTLE_S", 3600.0)
    cluster, moody, _ = make()
    moody.away = True
    cluster.emit(Emission("n", (1,)))
    moody.away = False
    assert cluster.close(timeout_s=2) == 0
    assert numbers(moody) == [1]


def test_a_sign_of_life_on_its_way_is_no_message_that_waits() -> None:
    node = Node(Bus(Moody, "moody://host", "channel"), heartbeat_interval_s=0.1).start()
    moody = Moody.instances[-1]
    on_its_way, go_on = threading.Event(), threading.Event()

    def publish(message: bytes, *, key: str = "") -> None:
        on_its_way.set()
        go_on.wait(15)
        Moody.publish(moody, message, key=key)

    moody.publish = publish  # type: ignore[method-assign]
    try:
        assert on_its_way.wait(15)
        health = node.cluster.health()
        assert (health.waiting, health.waiting_bytes) == (0, 0)
        node.cluster.emit(Emission("n", (1,)))
        health = node.cluster.health()
        assert health.waiting == 1
        assert health.waiting_bytes > 0
        assert node.cluster._link.outbox.flush(0.05) == 1
    finally:
        go_on.set()
        node.close()
    assert sum(b'"data": [1]' in message for message in moody.published) == 1


def test_closing_reports_what_was_not_sent(caplog: pytest.LogCaptureFixture) -> None:
    cluster, moody, _ = make()
    moody.away = True
    cluster.emit(Emission("n", (1,)))
    with caplog.at_level(logging.ERROR, "flask_socketio_core.cluster"):
        assert cluster.close(timeout_s=0.1) == 1
    assert "1 messages for moody://***@host were not sent" in caplog.text
    with pytest.raises(QueueClosed):
        cluster.emit(Emission("n", (2,)))


def test_what_the_queue_can_never_carry_is_refused_before_anything_is_sent() -> None:
    cluster, moody, _ = make()
    with pytest.raises(MessageTooLarge, match="exceeds the message queue's 10000 bytes"):
        cluster.emit(Emission("n", ("x" * 10_000,)))
    with pytest.raises(TypeError):
        cluster.emit(Emission("n", (object(),)))
    assert moody.published == []


def test_a_mistake_of_the_queue_does_not_reach_emit(caplog: pytest.LogCaptureFixture) -> None:
    cluster, moody, states = make()
    moody.publish = None  # type: ignore[assignment,method-assign]  # calling it is a TypeError
    cluster.emit(Emission("n", (1,)))
    del moody.publish
    wait_until(lambda: len(states) == 2, "recovery")
    assert numbers(moody) == [1]
    assert "unexpected error of the message queue" in caplog.text


def test_a_server_that_does_not_hear_itself_listens_anew() -> None:
    node = Node(Bus(Moody, "moody://", "channel"), heartbeat_interval_s=0.1)
    moody = Moody.instances[0]
    node.start()
    moody.deaf = True
    try:
        wait_until(lambda: moody.subscriptions == 2, "second subscription")
        wait_until(lambda: len(node.states) == 3, "recovery")
        assert [up for up, _ in node.states] == [True, False, True]
        assert "our own messages have not come back" in node.states[1][1]
    finally:
        node.close()


def test_a_message_that_is_none_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    node = Node(Bus(Moody, "moody://", "channel")).start()
    moody = Moody.instances[0]
    try:
        member = node.connect()
        for raw in (
            b"nonsense",
            b'{"method":"emit"}',
            b'{"method":"emit","event":"e","data":[],"binary":true}',
        ):
            moody.publish(raw)
        moody.publish(b'{"method":"emit","event":"fine","data":[1],"host_id":"x"}')
        assert member.wait_for(1) == [["fine", 1]]
        assert caplog.text.count("dropped a message on moody://") == 3
        assert node.cluster.health().unreadable == 3
    finally:
        node.close()


def test_a_message_that_cannot_be_handled_ends_nothing(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Node(Bus(Moody, "moody://", "channel")).start()
    moody, emit = Moody.instances[0], node.server.emit

    def emit_or_fail(emission: Emission, origin: Any = None) -> None:
        if emission.event == "fails":
            raise RuntimeError("a mistake of ours")
        emit(emission, origin)

    monkeypatch.setattr(node.server, "emit", emit_or_fail)
    try:
        member = node.connect()
        for event in (b"fails", b"fine"):
            moody.publish(b'{"method":"emit","event":"%s","data":[1],"host_id":"x"}' % event)
        assert member.wait_for(1) == [["fine", 1]]
        assert caplog.text.count("could not be handled") == 1
    finally:
        node.close()


class Unpatched(ThreadMode):
    def is_patched(self, module: str) -> bool:
        return False


def test_a_queue_that_would_block_the_mode_is_refused() -> None:
    node = Node(Bus(Moody, "moody://user:secret@host", "channel"))
    node.cluster = Cluster(
        Moody, "moody://user:secret@host", "channel", mode=Unpatched(), options={}, server=node.server
    )
    # a process that serves when it joins, one that does not with its first question
    for listen in (
        node.cluster.start,
        lambda: node.cluster.ask("topic", None, timeout_s=1),
        lambda: node.cluster.call(Emission("event", (), "/"), "nobody", 1),
    ):
        with pytest.raises(PartUnsuitable, match=r"moody://\*\*\*@host blocks in socket") as raised:
            listen()
        assert "secret" not in str(raised.value)
