"""A server that is asked for the states of clients waits for what whoever asks has heard already, and not for ever."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from flask_socketio_core.cluster.peers import HEARD_LATE_S
from flask_socketio_core.cluster.recovery import TAKE, TAKE_S
from support.nodes import Node, wait_until

from .buses import KINDS, make_bus

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(params=KINDS)
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Node, Node]]:
    """Return who asks, and a server whose clients can come back."""
    bus = make_bus(request, request.param)
    # No sign of life comes in time to be what lets a server look again.
    with (
        closing(Node(bus, heartbeat_interval_s=20.0)) as asks,
        closing(Node(bus, recovery=60, heartbeat_interval_s=20.0)) as has,
    ):
        asks.start()
        has.start()
        wait_until(lambda: asks.has_peer() and has.has_peer(), "other server")
        yield asks, has


def take(asks: Node, has: Node, heard: dict[str, tuple[int, list[int], int, float]]) -> Any:
    """Ask for no state at all.

    :param heard: what is said to have been heard of others.
    """
    question: dict[str, Any] = {"pids": [], "presented": None, "heard": heard}
    asking = asks.cluster.link.asking
    return asking.ask(TAKE, question, timeout_s=TAKE_S, node=has.cluster.node, here=False).answers[
        has.cluster.node
    ]


def test_what_one_that_has_ended_said_before_a_server_was_there_holds_nobody_up(
    pair: tuple[Node, Node],
) -> None:
    asks, has = pair
    # Who asks has heard it when the other one was there already, since its queue is slow.
    silent_s = has.cluster.link.listening_s - 0.5
    assert take(asks, has, {"of one that has ended": (3, [], 1, silent_s)})["states"] == {}


def test_what_a_server_should_have_heard_is_waited_for_in_vain(pair: tuple[Node, Node]) -> None:
    asks, has = pair
    silent_s = has.cluster.link.listening_s - HEARD_LATE_S - 1.0
    assert take(asks, has, {"of a new one": (1, [], 1, silent_s)}) == {"refused": "messages lost"}


def test_what_was_lost_of_one_that_has_been_heard_is_waited_for_in_vain(pair: tuple[Node, Node]) -> None:
    asks, has = pair
    peers = has.cluster.link.peers
    with closing(Node(asks.bus, heartbeat_interval_s=20.0)) as third:
        third.start()
        wait_until(lambda: third.cluster.node in peers, "third server")
        (highest, missing, first, _) = peers.heard(0.0, float("inf"))[third.cluster.node]
        told = {third.cluster.node: (highest + 1, missing, first, 30.0)}
        assert take(asks, has, told) == {"refused": "messages lost"}
