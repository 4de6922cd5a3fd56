"""The metrics that are read when somebody asks: what is open, what waits, and how the message queue is."""

from __future__ import annotations

import threading
import weakref
from collections import Counter as Sums
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.registry import Collector

from .names import namespace_label

if TYPE_CHECKING:
    from flask import Flask
    from prometheus_client import Metric

    from flask_socketio_core import SocketIO
    from flask_socketio_core.contracts.clients import Load

Health = Any
"""What ``SocketIO.health()`` returns."""

# Of several workers: what is to be added up, and what is as bad as the worst of them has it. A worker that has ended
# has none of it.
SUM: Final = "livesum"
LOWEST: Final = "livemin"
HIGHEST: Final = "livemax"


class Labelled:
    """A gauge with one label, of which all values are set at a time."""

    def __init__(self, name: str, text: str, label: str) -> None:
        self.gauge = Gauge(name, text, (label,), registry=None, multiprocess_mode=SUM)
        self._labels: set[str] = set()

    def set(self, counts: Iterable[Mapping[str, int]]) -> None:
        """Set the sum of these; what there is no more of is 0."""
        total = Sums(dict.fromkeys(self._labels, 0))
        for found in counts:
            total.update(found)
        self._labels.update(total)
        for label, count in total.items():
            self.gauge.labels(label).set(count)


class Source:
    """One application of one ``SocketIO`` object, kept by neither end."""

    def __init__(self, socketio: SocketIO, app: Flask) -> None:
        self._socketio = weakref.ref(socketio)
        self._app = weakref.ref(app)
        self.counted: dict[str, float] = {}
        """What of the message queue's counts is in the metrics already."""

    def is_for(self, socketio: SocketIO, app: Flask) -> bool:
        """Return whether it is this one."""
        return self._socketio() is socketio and self._app() is app

    def read(self) -> Reading | None:
        """Look; ``None`` if there is nothing any more."""
        socketio, app = self._socketio(), self._app()
        if socketio is None or app is None:
            return None
        with app.app_context():
            return Reading(self, socketio)


class Reading:
    """What one source has said."""

    def __init__(self, source: Source, socketio: SocketIO) -> None:
        self.source = source
        self.load: Load = socketio.load()
        self.health: Health = socketio.health()
        self.clients = _by_label(socketio, self.load.clients)
        self.rooms = _by_label(socketio, self.load.rooms)


def _by_label(socketio: SocketIO, counts: Mapping[str, int]) -> Sums[str]:
    found: Sums[str] = Sums()
    for namespace, count in counts.items():
        found[namespace_label(socketio, namespace)] += count
    return found


class State(Collector):
    """What is open and what waits, of all sources of one registry.

    :param registry: where it is registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._lock = threading.Lock()
        self._sources: list[Source] = []
        self._bus: Bus | None = None
        gauge = partial(Gauge, registry=None, multiprocess_mode=SUM)
        self._connections = Labelled(
            "socketio_connections", "Open connections by the transport that carries them now", "transport"
        )
        self._clients = Labelled("socketio_clients", "Clients that are here", "namespace")
        self._rooms = Labelled("socketio_rooms", "Rooms that clients are in", "namespace")
        self._outbox_connections = gauge(
            "socketio_outbox_connections", "Connections whose client has not read everything"
        )
        self._outbox_packets = gauge("socketio_outbox_packets", "Packets that wait for clients to read")
        self._outbox_bytes = gauge("socketio_outbox_bytes", "Bytes that wait for clients to read")
        self._max_workers = gauge("socketio_max_workers", "Handlers that may run at a time")
        self._busy_workers = gauge("socketio_busy_workers", "Handlers that run")
        self._waiting = gauge("socketio_waiting_handlers", "Events that wait for a worker")
        self._socket_io_connected: Gauge | None = None
        self._gauges = [
            metric.gauge if isinstance(metric, Labelled) else metric
            for metric in vars(self).values()
            if isinstance(metric, (Gauge, Labelled))
        ]
        registry.register(self)

    def add_socket_io_connected(self) -> None:
        """Have the gauge of socket.io-prometheus-metrics as well."""
        if self._socket_io_connected is None:
            self._socket_io_connected = Gauge(
                "socket_io_connected", "Open connections", registry=self._registry, multiprocess_mode=SUM
            )

    def add(self, socketio: SocketIO, app: Flask) -> None:
        """Look at an application from now on."""
        self.remove(socketio, app)
        self._sources.append(Source(socketio, app))
        self.refresh()  # so that the first scrape has the queue's metrics, too

    def remove(self, socketio: SocketIO, app: Flask) -> None:
        """Look at it no longer."""
        self._sources = [source for source in self._sources if not source.is_for(socketio, app)]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to look at."""
        return not self._sources

    def refresh(self) -> None:
        """Look at everything."""
        found = [reading for source in self._sources if (reading := source.read()) is not None]
        with self._lock:  # not while looking: that may take a while, and let other greenlets run
            self._set([reading.load for reading in found])
            self._clients.set([reading.clients for reading in found])
            self._rooms.set([reading.rooms for reading in found])
            if any(reading.health is not None for reading in found):
                self._bus = self._bus or Bus(self._registry)
                self._bus.set([reading for reading in found if reading.health is not None])

    def _set(self, loads: Iterable[Load]) -> None:
        self._connections.set([load.connections for load in loads])
        if self._socket_io_connected is not None:
            self._socket_io_connected.set(sum(sum(load.connections.values()) for load in loads))
        self._outbox_connections.set(sum(load.outbox_connections for load in loads))
        self._outbox_packets.set(sum(load.outbox_packets for load in loads))
        self._outbox_bytes.set(sum(load.outbox_bytes for load in loads))
        self._max_workers.set(sum(load.max_workers for load in loads))
        self._busy_workers.set(sum(load.busy_workers for load in loads))
        self._waiting.set(sum(load.waiting_handlers for load in loads))

    def describe(self) -> Iterable[Metric]:
        """Yield the metrics without their values."""
        for gauge in self._gauges:
            yield from gauge.describe()

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics as they are now."""
        self.refresh()
        for gauge in self._gauges:
            yield from gauge.collect()


class Bus:
    """How the message queue is; there is one only where there is a queue.

    :param registry: where the metrics are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        gauge, counter = partial(Gauge, registry=registry), partial(Counter, registry=registry)
        self._up = gauge("socketio_bus_up", "Whether messages are sent and heard", multiprocess_mode=LOWEST)
        self._lag = gauge(
            "socketio_bus_lag_seconds", "Time that a heartbeat took to come back", multiprocess_mode=HIGHEST
        )
        self._peers = gauge("socketio_bus_peers", "Other servers that are there", multiprocess_mode=LOWEST)
        self._waiting = gauge(
            "socketio_bus_waiting_messages", "Messages that wait for the broker", multiprocess_mode=SUM
        )
        self._waiting_bytes = gauge(
            "socketio_bus_waiting_bytes", "Bytes that wait for the broker", multiprocess_mode=SUM
        )
        lost = counter("socketio_bus_lost_messages", "Messages lost", ("direction",))
        self._counters = {
            "sent": counter("socketio_bus_sent_messages", "Messages published"),
            "received": counter("socketio_bus_received_messages", "Messages heard from others"),
            "lost_sent": lost.labels("sent"),
            "lost_received": lost.labels("received"),
            "duplicates": counter("socketio_bus_duplicates", "Messages that came again and were dropped"),
            "unreadable": counter("socketio_bus_unreadable_messages", "Messages that make no sense"),
            "unauthentic": counter("socketio_bus_unauthentic_messages", "Messages without a valid signature"),
            "gaps": counter("socketio_bus_gaps", "Times that this server was cut off from the others"),
            "gaps_s": counter("socketio_bus_gap_seconds", "Time that it was cut off"),
        }

    def set(self, readings: Iterable[Reading]) -> None:
        """Take over what sources have said."""
        healths = [reading.health for reading in readings]
        self._up.set(all(health.up for health in healths))
        self._lag.set(max(health.lag_s or 0.0 for health in healths))
        self._peers.set(min(len(health.peers) for health in healths))
        self._waiting.set(sum(health.waiting for health in healths))
        self._waiting_bytes.set(sum(health.waiting_bytes for health in healths))
        for reading in readings:
            counted = reading.source.counted
            for name, counter in self._counters.items():
                now, before = getattr(reading.health, name), counted.get(name, 0)
                counted[name] = now
                counter.inc(
                    now - before if now >= before else now
                )  # less: the application has another queue now
