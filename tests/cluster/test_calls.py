"""A call that is over leaves nothing behind, wherever its client is."""

from __future__ import annotations

import dataclasses
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from flask_socketio_core.cluster.memory import MemoryQueue
from flask_socketio_core.contracts.clients import Emission
from flask_socketio_core.errors import CallTimeout
from support.nodes import Bus, Member, Node, emitter, wait_until

if TYPE_CHECKING:
    from flask_socketio_core.cluster.cluster import Cluster

CALLS = 100


@pytest.fixture
def bus() -> Bus:
    return Bus(MemoryQueue, "memory://", f"test-{uuid.uuid4().hex[:12]}")


@contextmanager
def answering(member: Member) -> Iterator[None]:
    """Let a client take and answer what is sent to it, for the length of a ``with`` block."""
    end = threading.Event()

    def answer() -> None:
        while not end.wait(0.001):
            member.receive()

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    yield
    end.set()
    thread.join(5)


def left_behind(node: Node, member: Member) -> tuple[object, ...]:
    """Return what a client's server keeps for calls, as it should be: nothing."""
    client = node.server.client(member.sid)
    return tuple(filter(None, (client.gone_callbacks, client.acks)))


def call(cluster: Cluster, member: Member, *, timeout_s: float) -> object:
    return cluster.call(Emission("ask", ()), member.sid, timeout_s=timeout_s)


def test_calls_to_a_client_of_this_server_leave_nothing(nodes: tuple[Node, Node]) -> None:
    member = nodes[0].connect()
    with answering(member):
        assert [call(nodes[0].cluster, member, timeout_s=5) for _ in range(CALLS)] == [("ok",)] * CALLS
    assert left_behind(nodes[0], member) == ()
    member.answer = None
    for _ in range(CALLS):
        with pytest.raises(CallTimeout):
            call(nodes[0].cluster, member, timeout_s=0)
    assert left_behind(nodes[0], member) == ()


def test_calls_to_a_client_of_another_server_leave_nothing(
    nodes: tuple[Node, Node], outside: Cluster
) -> None:
    member = nodes[1].connect()
    for cluster in (nodes[0].cluster, outside):
        with answering(member):
            assert [call(cluster, member, timeout_s=5) for _ in range(CALLS)] == [("ok",)] * CALLS
        assert len(cluster._link.acks) == 0
    assert left_behind(nodes[1], member) == ()


def test_calls_that_time_out_leave_nothing_with_who_called(
    nodes: tuple[Node, Node], outside: Cluster
) -> None:
    member = nodes[1].connect()
    member.answer = None
    for cluster in (nodes[0].cluster, outside):
        for _ in range(CALLS):
            with pytest.raises(CallTimeout):
                call(cluster, member, timeout_s=0)
        assert len(cluster._link.acks) == 0


def test_questions_that_nobody_waits_for_any_more_leave_the_server_of_the_client(bus: Bus) -> None:
    asking = Node(bus).start()
    asked = Node(bus, ack_expires_s=0.3, heartbeat_interval_s=0.1).start()
    try:
        member = asked.connect()
        asked.cluster.enter_room(member.sid, "room")
        member.answer = None
        for to in (member.sid, "room"):
            with pytest.raises(CallTimeout):
                asking.cluster.call(Emission("ask", ()), to, timeout_s=0)
        wait_until(lambda: len(member.receive()) == 2, "questions")
        wait_until(lambda: left_behind(asked, member) == (), "end of the questions")
        assert len(asked.cluster._link.unanswered) == 0
    finally:
        asking.close()
        asked.close()


def test_a_call_to_a_room_leaves_nothing_with_who_called(nodes: tuple[Node, Node]) -> None:
    members = [node.connect() for node in nodes for _ in range(2)]
    for number, member in enumerate(members):
        nodes[number // 2].cluster.enter_room(member.sid, "room")
    for member in members[1:]:
        member.answer = None
    with answering(members[0]):
        assert nodes[0].cluster.call(Emission("ask", ()), "room", timeout_s=5) == ("ok",)
    assert len(nodes[0].cluster._link.acks) == 0
    assert left_behind(nodes[0], members[1]) == ()


def test_a_call_that_cannot_be_encoded_leaves_nothing(nodes: tuple[Node, Node]) -> None:
    member = nodes[1].connect()
    with pytest.raises(TypeError):
        nodes[0].cluster.call(Emission("ask", (object(),)), member.sid)
    assert len(nodes[0].cluster._link.acks) == 0


def test_calls_of_several_threads_wait_for_the_first_subscription(bus: Bus) -> None:
    subscribing = threading.Event()
    asked: list[str] = []

    class Late(MemoryQueue):
        def listen(self) -> Iterator[bytes]:
            assert subscribing.wait(15)
            yield from super().listen()

        def publish(self, message: bytes, *, key: str = "") -> None:
            super().publish(message, key=key)
            asked.append(key)

    node = Node(bus).start()
    member = node.connect()
    outside = emitter(dataclasses.replace(bus, queue_class=Late))
    answers: list[object] = []
    listener = outside._link.listener
    threads = [
        threading.Thread(target=lambda: answers.append(call(outside, member, timeout_s=5))) for _ in range(2)
    ]
    try:
        with answering(member):
            threads[0].start()
            wait_until(lambda: listener.started, "start of the subscription")
            threads[1].start()
            threads[1].join(0.3)  # it may ask too early meanwhile
            assert (listener.subscribed, asked) == (False, [])
            subscribing.set()
            for thread in threads:
                thread.join(10)
        assert answers == [("ok",), ("ok",)]
    finally:
        outside.close()
        node.close()


def test_a_callback_waits_no_longer_than_ack_expires_s(bus: Bus) -> None:
    node = Node(bus, ack_expires_s=0.1).start()
    try:
        node.cluster.emit(Emission("ask", (), to=("nobody",), on_ack=lambda *args: None))
        assert len(node.cluster._link.acks) == 1
        wait_until(lambda: len(node.cluster._link.acks) == 0, "end of the waiting")
    finally:
        node.close()


def test_a_call_without_a_time_out_ends_with_ack_expires_s(bus: Bus) -> None:
    cluster = emitter(bus, ack_expires_s=0.2)
    with pytest.raises(CallTimeout, match=r"within 0\.2 s"):
        cluster.call(Emission("ask", ()), "nobody", timeout_s=1e9)
    cluster.close()
