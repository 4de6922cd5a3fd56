"""The settings, as keys of the application's configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask_socketio_core.contracts.settings import Setting

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry


def _path(text: str) -> str:
    if text and not text.startswith("/"):
        raise ValueError("expected a path that begins with '/', or '' for none")
    return text


def _registry(value: Any) -> CollectorRegistry:
    from prometheus_client import CollectorRegistry

    if not isinstance(value, CollectorRegistry):
        raise ValueError("expected a prometheus_client.CollectorRegistry")
    return value


PATH = Setting(
    "prometheus_path", str, "/metrics", "where the metrics are served, '' for nowhere", parse=_path
)
REGISTRY: Setting[CollectorRegistry | None] = Setting(
    "prometheus_registry",
    object,
    None,
    "the CollectorRegistry that has the metrics; prometheus_client.REGISTRY by default",
    parse=_registry,
)
SOCKET_IO_NAMES = Setting(
    "prometheus_socket_io_names",
    bool,
    False,
    "also have the metrics of socket.io-prometheus-metrics, by their names",
)
MAX_EVENTS = Setting(
    "prometheus_max_events",
    int,
    200,
    "most names of events that are told apart, of those received and of those sent; the rest is 'other'",
    above=0,
)
SAMPLE_S = Setting(
    "prometheus_sample_s",
    float,
    5.0,
    "in multiprocess mode: seconds between two looks at what is open and what waits",
    above=0,
)

ALL: tuple[Setting[Any], ...] = (PATH, REGISTRY, SOCKET_IO_NAMES, MAX_EVENTS, SAMPLE_S)
