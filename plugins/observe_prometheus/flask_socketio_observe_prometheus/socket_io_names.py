"""The metrics of the npm package socket.io-prometheus-metrics, with its names and labels."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge

from .families import BY_EVENT


class SocketIoFamilies:
    """One for each registry.

    The two of bytes count, but end in no ``_total``, which the client library would add to a counter: so they are
    gauges to it. That of open connections is read with :class:`~.state.State`.

    :param registry: where they are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        counter = partial(Counter, registry=registry)
        gauge = partial(Gauge, registry=registry, multiprocess_mode="sum")
        self.connects = counter("socket_io_connect", "Clients let in", ("namespace",))
        self.disconnects = counter("socket_io_disconnect", "Clients that left", ("namespace",))
        self.errors = counter("socket_io_errors", "Errors of handlers", ("namespace",))
        self.received = counter("socket_io_events_received", "Events received", BY_EVENT)
        self.sent = counter("socket_io_events_sent", "Events sent, once for each client", BY_EVENT)
        self.received_bytes = gauge("socket_io_recieve_bytes", "Bytes of arguments received", BY_EVENT)
        self.sent_bytes = gauge("socket_io_transmit_bytes", "Bytes of events sent", BY_EVENT)


def size_of(args: tuple[Any, ...]) -> int:
    """Return about how many bytes a client has sent for these arguments: that of text and of bytes, or of the JSON."""
    return sum(_size(value) for value in args)


def _size(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, (bytes, bytearray, memoryview)):
        return len(value)
    attached: list[int] = []

    def attachment(part: Any) -> None:
        attached.append(len(part) if isinstance(part, (bytes, bytearray, memoryview)) else 0)

    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=attachment)
    except (
        TypeError,
        ValueError,
        RecursionError,
    ):  # no JSON, as a serializer of the application's own may have made
        return sum(attached)
    return len(text.encode("utf-8", "surrogatepass")) + sum(attached)
