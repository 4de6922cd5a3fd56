"""A listener that is relieved by a new one, because it seemed deaf, loses nothing that it hears after all."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator

import pytest

from flask_socketio_core.contracts.clients import Emission
from support.nodes import Bus, Node, wait_until

from .buses import make_bus

pytestmark = pytest.mark.timeout(60)


class Shift:
    """Tells when the first listener of a bus has ended, and lets its relief begin only then."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self._begun = False

    def of(self, bus: Bus) -> Bus:
        """Return a bus whose listeners keep to this."""
        shift = self

        class Noting(bus.queue_class):  # type: ignore[misc,name-defined]  # a class that is known at run time only
            def listen(self) -> Iterator[bytes]:
                if shift._begun:
                    shift.over.wait(30)
                shift._begun = True
                try:
                    yield from super().listen()
                finally:
                    shift.over.set()

        return dataclasses.replace(bus, queue_class=Noting)


@pytest.mark.parametrize("kind", ["streams", "rabbitmq", "kafka"])
def test_what_the_relieved_listener_still_hears_is_delivered(
    request: pytest.FixtureRequest, kind: str
) -> None:
    bus, shift = make_bus(request, kind), Shift()
    node, other = Node(shift.of(bus)).start(), Node(bus).start()
    try:
        member = node.connect()
        node.cluster._link.listener.restart("the test wants it")
        other.cluster.emit(Emission("meanwhile", ()))
        assert shift.over.wait(15)
        wait_until(lambda: node.cluster.health().up, "new listener")
        other.cluster.emit(Emission("later", ()))
        assert member.wait_for(2) == [["meanwhile"], ["later"]]
    finally:
        node.close()
        other.close()
