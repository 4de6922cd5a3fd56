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
        self.counted: dict[Counter, float] = {}
        """What of its counts is in the metrics already."""

    def is_for(self, socketio: SocketIO, app: Flask) -> bool:
        """Return whether it is this one."""
        return self._socketio() is socketio and self._app() is app

    def count(self, counter: Counter, amount: float) -> None:
        """Bring a metric up to what was counted by now."""
        before = self.counted.get(counter, 0)
        self.counted[counter] = amount
        counter.inc(amount - before if amount >= before else amount)  # less: the application has begun anew

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
        self._recovery: Recovery | None = None
        self._histories: Histories | None = None
        self._once: Once | None = None
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
            if any(reading.load.recovery is not None for reading in found):
                self._recovery = self._recovery or Recovery(self._registry)
                self._recovery.set(found)
            if any(reading.load.history is not None for reading in found):
                self._histories = self._histories or Histories(self._registry)
                self._histories.set(found)
            if any(reading.load.once is not None for reading in found):
                self._once = self._once or Once(self._registry)
                self._once.set(found)

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
            for name, counter in self._counters.items():
                reading.source.count(counter, getattr(reading.health, name))


def _set_part(
    part: str,
    readings: Iterable[Reading],
    gauges: Mapping[str, Gauge],
    counters: Mapping[str, Counter],
    by_reason: Mapping[str, Counter],
) -> None:
    """Take over what sources have said of a part that not all of them have; metrics are by the names of its fields."""
    loads = [
        (reading.source, load) for reading in readings if (load := getattr(reading.load, part)) is not None
    ]
    for name, gauge in gauges.items():
        gauge.set(sum(getattr(load, name) for _, load in loads))
    for source, load in loads:
        for name, counter in counters.items():
            source.count(counter, getattr(load, name))
        for name, counter in by_reason.items():
            for reason, count in getattr(load, name).items():
                source.count(counter.labels(reason), count)


class Recovery:
    """What is kept for clients that may come back; there is some only where the option ``recovery`` is on.

    :param registry: where the metrics are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        gauge = partial(Gauge, registry=registry, multiprocess_mode=SUM)
        counter = partial(Counter, registry=registry)
        self._gauges = {
            "lost_clients": gauge(
                "socketio_recovery_lost_clients", "Clients that have lost their connection and may come back"
            ),
            "events": gauge("socketio_recovery_kept_events", "Events that may have to be sent again"),
            "events_bytes": gauge("socketio_recovery_kept_bytes", "What these take in memory"),
        }
        self._counters = {
            "recovered": counter("socketio_recovery_recovered_clients", "Clients that have come back"),
            "expired": counter(
                "socketio_recovery_expired_clients", "Clients that have not come back in time"
            ),
            "displaced": counter(
                "socketio_recovery_displaced_clients", "Clients whose state was forgotten for others'"
            ),
            "evicted_events": counter(
                "socketio_recovery_evicted_events", "Events that were forgotten because they were too much"
            ),
        }
        self._by_reason = {
            "failed": counter(
                "socketio_recovery_failed_clients",
                "Clients that came back and had to start anew",
                ("reason",),
            )
        }

    def set(self, readings: Iterable[Reading]) -> None:
        """Take over what sources have said."""
        _set_part("recovery", readings, self._gauges, self._counters, self._by_reason)


class Histories:
    """What is kept of rooms; there is some only where rooms have a history.

    :param registry: where the metrics are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        gauge = partial(Gauge, registry=registry, multiprocess_mode=SUM)
        counter = partial(Counter, registry=registry)
        self._gauges = {
            "rooms": gauge("socketio_history_rooms", "Rooms of which something is kept in memory"),
            "size_bytes": gauge("socketio_history_kept_bytes", "What that takes in memory"),
            "waiting": gauge("socketio_history_waiting_events", "Events that wait for the store"),
        }
        self._counters = {
            "resumed": counter("socketio_history_resumed_clients", "Clients that went on from an offset"),
            "store_errors": counter(
                "socketio_history_store_errors", "Times that the store could not be read"
            ),
        }
        self._by_reason = {
            "lost": counter("socketio_history_lost", "What is not kept although it should be", ("reason",)),
            "incomplete": counter(
                "socketio_history_incomplete_clients",
                "Clients that could not go on from an offset",
                ("reason",),
            ),
        }

    def set(self, readings: Iterable[Reading]) -> None:
        """Take over what sources have said."""
        _set_part("history", readings, self._gauges, self._counters, self._by_reason)


class Once:
    """What has come of events that are handled once; there is some only where handlers have ``once``.

    :param registry: where the metrics are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        counter = partial(Counter, registry=registry)
        self._counters = {
            "handled": counter("socketio_once_handled_events", "Events handled whose answer is remembered"),
            "repeated": counter("socketio_once_repeated_events", "Repetitions answered as the first was"),
            "failed": counter("socketio_once_failed_events", "Events that failed, and may come again"),
            "unanswered": counter(
                "socketio_once_unanswered_events", "Repetitions of what took too long, not acknowledged"
            ),
            "store_errors": counter("socketio_once_store_errors", "Times that the store could not be asked"),
        }

    def set(self, readings: Iterable[Reading]) -> None:
        """Take over what sources have said."""
        _set_part("once", readings, {}, self._counters, {})
