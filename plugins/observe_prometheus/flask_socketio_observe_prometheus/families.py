"""The metrics that are counted as things happen."""

from __future__ import annotations

from functools import partial

from prometheus_client import CollectorRegistry, Counter, Histogram

BY_EVENT = ("namespace", "event")

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of durations: the client library's, and below them what a handler without I/O takes."""

RECIPIENTS = (0.0, 1.0, 10.0, 100.0, 1000.0, 10000.0)


class Families:
    """One for each registry.

    :param registry: where they are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        counter = partial(Counter, registry=registry)
        histogram = partial(Histogram, registry=registry)
        self.opened = counter(
            "socketio_connections_opened", "Connections by the transport they began with", ("transport",)
        )
        self.closed = counter(
            "socketio_connections_closed", "Connections that ended, and why", ("transport", "reason")
        )
        self.upgrades = counter("socketio_upgrades", "Connections that moved from polling to WebSocket")
        self.refused = counter(
            "socketio_refused_requests", "Requests answered with an error", ("status", "code")
        )
        self.connected = counter("socketio_clients_connected", "Clients let in", ("namespace",))
        self.refused_clients = counter(
            "socketio_refused_clients", "Clients that might not join a namespace", ("namespace",)
        )
        self.disconnected = counter(
            "socketio_clients_disconnected", "Clients that left, and why", ("namespace", "reason")
        )
        self.events = counter(
            "socketio_events", "Events handled: ok, rejected or error", (*BY_EVENT, "outcome")
        )
        self.duration = histogram(
            "socketio_event_duration_seconds", "Time a handler took", BY_EVENT, buckets=SECONDS
        )
        self.waited = histogram(
            "socketio_event_wait_seconds", "Time an event waited for a worker", BY_EVENT, buckets=SECONDS
        )
        self.acks = histogram(
            "socketio_ack_latency_seconds",
            "Time from sending an event to its acknowledgement",
            BY_EVENT,
            buckets=SECONDS,
        )
        self.expired_acks = counter(
            "socketio_expired_acks", "Acknowledgements that were waited for no longer", BY_EVENT
        )
        self.emits = counter("socketio_emits", "Events that this process has emitted", BY_EVENT)
        self.recipients = histogram(
            "socketio_recipients",
            "Clients of this process that an event was for",
            BY_EVENT,
            buckets=RECIPIENTS,
        )
        self.sent_bytes = counter(
            "socketio_sent_bytes", "Bytes of events for clients, before compression", BY_EVENT
        )
        self.overflows = counter(
            "socketio_outbox_overflows", "Outboxes that reached their limit", ("policy",)
        )
        self.saturated = counter("socketio_workers_saturated", "Times that all workers became busy")
