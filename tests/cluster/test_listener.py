"""A listener that is relieved by a new one, because it seemed deaf, loses nothing that it hears after all."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator

import pytest

from support.nodes import Bus, Node, wait_until

from .buses import make_bus
from .cutting import Gate

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize("kind", ["streams", "rabbitmq", "kafka"])
def test_what_the_relieved_listener_still_hears_is_delivered(
    request: pytest.FixtureRequest, kind: str
) -> None:
    bus = make_bus(request, kind)
    gate, ended = Gate(), threading.Event()
    node, other = Node(gate.before(_noting(bus, ended))).start(), Node(bus).start()
    try:
        member = node.connect()
        with gate.shut():  # the new listener is not there yet
            node.cluster._link.listener.restart("the test wants it")
            other.cluster.emit("meanwhile", ())
            assert ended.wait(15)
        wait_until(lambda: node.cluster.health().up, "new listener")
        other.cluster.emit("later", ())
        assert member.wait_for(2) == [["meanwhile"], ["later"]]
    finally:
        node.close()
        other.close()


def _noting(bus: Bus, ended: threading.Event) -> Bus:
    """Return a bus that tells when a listener of it ends."""

    class Noting(bus.queue_class):  # type: ignore[misc,name-defined]  # a class that is known at run time only
        def listen(self) -> Iterator[bytes]:
            try:
                yield from super().listen()
            finally:
                ended.set()

    return dataclasses.replace(bus, queue_class=Noting)
