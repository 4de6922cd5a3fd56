"""Nodes on the ``bus`` that a module's own fixture names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.nodes import Bus, Node, emitter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask_socketio_core.cluster.cluster import Cluster


@pytest.fixture
def nodes(bus: Bus) -> Iterator[tuple[Node, Node]]:
    pair = Node(bus).start(), Node(bus).start()
    yield pair
    for node in pair:
        node.close()


@pytest.fixture
def outside(bus: Bus) -> Iterator[Cluster]:
    cluster = emitter(bus)
    yield cluster
    cluster.close()
