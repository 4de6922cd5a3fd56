"""What is counted for one ``SocketIO`` object. Its methods are called where things happen, so they are quick."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask_socketio_core.errors import EventRejected, refusals

from .names import OTHER, EventNames, namespace_label, reason_label
from .socket_io_names import size_of

if TYPE_CHECKING:
    from flask_socketio_core import SocketIO

    from .families import Families
    from .socket_io_names import SocketIoFamilies

RESERVED = ("connect", "disconnect")


class Received:
    """The metrics of one event that clients send."""

    __slots__ = ("duration", "error", "ok", "rejected", "waited")

    def __init__(self, families: Families, namespace: str, event: str) -> None:
        self.duration = families.duration.labels(namespace, event)
        self.waited = families.waited.labels(namespace, event)
        self.ok, self.rejected, self.error = (
            families.events.labels(namespace, event, outcome) for outcome in ("ok", "rejected", "error")
        )


class Sent:
    """The metrics of one event that clients are sent."""

    __slots__ = ("bytes", "emits", "recipients")

    def __init__(self, families: Families, namespace: str, event: str) -> None:
        self.bytes = families.sent_bytes.labels(namespace, event)
        self.emits = families.emits.labels(namespace, event)
        self.recipients = families.recipients.labels(namespace, event)


class Recorder:
    """Count what happens.

    :param families: the metrics of the registry.
    :param socket_io: those of socket.io-prometheus-metrics, if they are wanted.
    :param max_events: most names of events that are told apart.
    """

    def __init__(self, families: Families, socket_io: SocketIoFamilies | None, max_events: int) -> None:
        self._families = families
        self._socket_io = socket_io
        self._received_names = EventNames(max_events)
        self._sent_names = EventNames(max_events)
        # By what is in a label only: as many as there are labels.
        self._received: dict[tuple[str, str], Received] = {}
        self._sent: dict[tuple[str, str], Sent] = {}
        self._namespaces: set[str] = set()

    def _namespace(self, socketio: SocketIO, namespace: str) -> str:
        if namespace in self._namespaces:
            return namespace
        label = namespace_label(socketio, namespace)
        if label != OTHER:
            self._namespaces.add(namespace)
        return label

    def _receiving(self, socketio: SocketIO, namespace: str, event: str) -> Received:
        labels = self._namespace(socketio, namespace), self._received_names.label(event)
        found = self._received.get(labels)
        if found is None:
            found = self._received[labels] = Received(self._families, *labels)
        return found

    def _sending(self, socketio: SocketIO, namespace: str, event: str) -> Sent:
        labels = self._namespace(socketio, namespace), self._sent_names.label(event)
        found = self._sent.get(labels)
        if found is None:
            found = self._sent[labels] = Sent(self._families, *labels)
        return found

    # events of clients

    def event_before(
        self, socketio: SocketIO, namespace: str, event: str, args: tuple[Any, ...], waited_s: float
    ) -> None:
        """Count an event that is about to be handled."""
        self._receiving(socketio, namespace, event).waited.observe(waited_s)
        if self._socket_io is not None and event not in RESERVED:
            labels = self._namespace(socketio, namespace), self._received_names.label(event)
            self._socket_io.received.labels(*labels).inc()
            self._socket_io.received_bytes.labels(*labels).inc(size_of(args))

    def event_after(self, socketio: SocketIO, namespace: str, event: str, duration_s: float) -> None:
        """Count an event that was handled."""
        received = self._receiving(socketio, namespace, event)
        received.duration.observe(duration_s)
        received.ok.inc()

    def event_error(
        self, socketio: SocketIO, namespace: str, event: str, error: BaseException, duration_s: float
    ) -> None:
        """Count an event whose handler raised, or that was rejected."""
        received = self._receiving(socketio, namespace, event)
        received.duration.observe(duration_s)
        if isinstance(error, (EventRejected, ConnectionRefusedError, *refusals())):
            received.rejected.inc()
            return
        received.error.inc()
        if self._socket_io is not None:
            self._socket_io.errors.labels(self._namespace(socketio, namespace)).inc()

    # what clients are sent

    def emitted(self, socketio: SocketIO, namespace: str, event: str) -> None:
        """Count an event that this process emits."""
        self._sending(socketio, namespace, event).emits.inc()

    def delivered(
        self, socketio: SocketIO, namespace: str, event: str, recipients: int, size_bytes: int
    ) -> None:
        """Count an event that was handed to clients."""
        sent = self._sending(socketio, namespace, event)
        sent.recipients.observe(recipients)
        sent.bytes.inc(recipients * size_bytes)
        if self._socket_io is not None:
            labels = self._namespace(socketio, namespace), self._sent_names.label(event)
            self._socket_io.sent.labels(*labels).inc(recipients)
            self._socket_io.sent_bytes.labels(*labels).inc(recipients * size_bytes)

    def acknowledged(self, socketio: SocketIO, namespace: str, event: str, latency_s: float) -> None:
        """Count an acknowledgement."""
        labels = self._namespace(socketio, namespace), self._sent_names.label(event)
        self._families.acks.labels(*labels).observe(latency_s)

    def expired(self, socketio: SocketIO, namespace: str, event: str) -> None:
        """Count an acknowledgement that is waited for no longer."""
        labels = self._namespace(socketio, namespace), self._sent_names.label(event)
        self._families.expired_acks.labels(*labels).inc()

    # who comes and goes

    def opened(self, transport: str) -> None:
        """Count a connection that begins."""
        self._families.opened.labels(transport).inc()

    def upgraded(self) -> None:
        """Count a connection that was moved."""
        self._families.upgrades.inc()

    def closed(self, transport: str, reason: str) -> None:
        """Count a connection that has ended."""
        self._families.closed.labels(transport, reason_label(reason)).inc()

    def refused(self, status: int, code: int) -> None:
        """Count a request that is answered with an error."""
        self._families.refused.labels(status, code).inc()

    def connected(self, socketio: SocketIO, namespace: str) -> None:
        """Count a client that was let in."""
        label = self._namespace(socketio, namespace)
        self._families.connected.labels(label).inc()
        if self._socket_io is not None:
            self._socket_io.connects.labels(label).inc()

    def client_refused(self, socketio: SocketIO, namespace: str) -> None:
        """Count a client that may not join a namespace."""
        self._families.refused_clients.labels(self._namespace(socketio, namespace)).inc()

    def disconnected(self, socketio: SocketIO, namespace: str, reason: str) -> None:
        """Count a client that has left."""
        label = self._namespace(socketio, namespace)
        self._families.disconnected.labels(label, reason_label(reason)).inc()
        if self._socket_io is not None:
            self._socket_io.disconnects.labels(label).inc()

    # what is too much

    def overflowed(self, policy: str) -> None:
        """Count an outbox that has reached its limit."""
        self._families.overflows.labels(policy).inc()

    def saturated(self) -> None:
        """Count that all workers are busy."""
        self._families.saturated.inc()
