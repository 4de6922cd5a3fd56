"""A server that ends hands the states of its clients on, to one that takes them."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import Any

import pytest

from flask_socketio_core.app.interfaces import HANDED_ON_S
from flask_socketio_core.cluster.recovery import ADOPT
from flask_socketio_core.common.reasons import Reason
from support.nodes import Node, wait_until

from .buses import make_bus

pytestmark = pytest.mark.timeout(60)


def lost_clients(node: Node) -> int:
    recovery = node.server.load().recovery
    assert recovery is not None
    return recovery.lost_clients


def test_a_server_that_does_not_answer_leaves_time_for_another_one(request: pytest.FixtureRequest) -> None:
    bus = make_bus(request, "memory")
    gate = threading.Event()
    with (
        closing(Node(bus, recovery=60)) as ends,
        closing(Node(bus, recovery=60)) as one,
        closing(Node(bus, recovery=60)) as other,
    ):

        def say_nothing(payload: Any, node: str) -> int:
            gate.wait(3 * HANDED_ON_S)
            return 0

        for node in (ends, one, other):
            node.start()
        wait_until(lambda: len(ends.cluster.health().peers) == 2, "others")
        first = ends.cluster.link.servers()[0].node  # is asked first
        silent, takes = (one, other) if one.cluster.node == first else (other, one)
        topics = silent.cluster.link.asking.topics
        topics.remove(ADOPT)
        topics.add(ADOPT, say_nothing)
        sid = ends.connect().sid
        ends.server.eio.sessions[ends.server.client(sid).engine_sid].close(Reason.TRANSPORT_CLOSE)
        wait_until(lambda: lost_clients(ends) == 1, "lost client")
        wait_until(
            lambda: all(ADOPT in peer.topics for peer in ends.cluster.link.servers()), "its topic again"
        )
        try:
            ends.cluster.begin_end(others_follow=False)
            assert ends.cluster.hand_on(HANDED_ON_S) == 0
        finally:
            gate.set()
        assert lost_clients(takes) == 1
