"""What this plugin registers; the client library is imported when an application is set up."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import click

from flask_socketio_core.hookspecs import hookimpl

from .settings import ALL

if TYPE_CHECKING:
    from flask import Flask

    from flask_socketio_core import SocketIO
    from flask_socketio_core.contracts.settings import Setting

    from .recorder import Recorder

_recorders: WeakKeyDictionary[SocketIO, Recorder] = WeakKeyDictionary()


@hookimpl
def socketio_settings() -> tuple[Setting[Any], ...]:
    """Declare what can be set."""
    return ALL


@hookimpl
def socketio_setup(socketio: SocketIO, app: Flask) -> None:
    """Begin to count, and serve the metrics."""
    from .exporter import set_up

    _recorders[socketio] = set_up(socketio, app)


@hookimpl
def socketio_teardown(socketio: SocketIO, app: Flask) -> None:
    """Let a worker that ends have nothing open."""
    from .exporter import tear_down

    tear_down(socketio, app)


@hookimpl
def socketio_cli(group: click.Group) -> None:
    """Add the command that prints the board."""
    group.add_command(grafana)


@click.command("grafana")
def grafana() -> None:
    """Print a Grafana board of the metrics, as JSON to import there."""
    click.echo(resources.files(__package__).joinpath("grafana.json").read_text("utf-8"), nl=False)


@hookimpl
def socketio_session_opened(transport: str, socketio: SocketIO) -> None:
    """Count a connection."""
    if (recorder := _recorders.get(socketio)) is not None:
        recorder.opened(transport)


@hookimpl
def socketio_transport_changed(socketio: SocketIO) -> None:
    """Count an upgrade."""
    if (recorder := _recorders.get(socketio)) is not None:
        recorder.upgraded()


@hookimpl
def socketio_session_closed(transport: str, reason: str, socketio: SocketIO) -> None:
    """Count a connection's end."""
    if (recorder := _recorders.get(socketio)) is not None:
        recorder.closed(transport, reason)


@hookimpl
def socketio_refused(status: int, code: int, socketio: SocketIO) -> None:
    """Count a refused request."""
    if (recorder := _recorders.get(socketio)) is not None:
        recorder.refused(status, code)


@hookimpl
def socketio_connected(namespace: str, socketio: SocketIO) -> None:
    """Count a client."""
    if (recorder := _recorders.get(socketio)) is not None:
        recorder.connected(socketio, namespace)


@hookimpl
def socketio_client_refused(namespace: str, socketio: SocketIO) -> None:
    """Count a client that may not join a namespace."""
    if (recorder := _recorders.get(socketio)) is not None:
        recorder.client_refused(socketio, namespace)


@hookimpl
def socketio_disconnected(namespace: str, reason: str, socketio: SocketIO) -> None:
    """Count a client that left."""
    if (recorder := _recorders.get(socketio)) is not None:
        recorder.disconnected(socketio, namespace, reason)


@hookimpl
def socketio_event_before(
    namespace: str, event: str, args: tuple[Any, ...], waited_s: float, socketio: SocketIO
) -> None:
    """Count an event and its waiting time."""
    if (recorder := _recorders.get(socketio)) is not None:
        recorder.event_before(socketio, namespace, event, args, waited_s)


@hookimpl
def socketio_event_after(namespace: str, event: str, duration_s: float, socketio: SocketIO) -> None:
    """Count a handler's time."""
    if (recorder := _recorders.get(socketio)) is not None:
        recorder.event_after(socketio, namespace, event, duration_s)


@hookimpl
def socketio_event_error(
    namespace: str, event: str, error: BaseException, duration_s: float, socketio: SocketIO
) -> None:
    """Count a handler's error."""
    if (recorder := _recorders.get(socketio)) is not None:
        recorder.event_error(socketio, namespace, event, error, duration_s)


@hookimpl
def socketio_emit(event: str, namespace: str, socketio: SocketIO) -> None:
    """Count what is emitted."""
    if (recorder := _recorders.get(socketio)) is not None:
        recorder.emitted(socketio, namespace, event)


@hookimpl
def socketio_delivered(
    event: str, namespace: str, recipients: int, size_bytes: int, socketio: SocketIO
) -> None:
    """Count what clients are sent."""
    if (recorder := _recorders.get(socketio)) is not None:
        recorder.delivered(socketio, namespace, event, recipients, size_bytes)


@hookimpl
def socketio_ack(namespace: str, event: str, latency_s: float, socketio: SocketIO) -> None:
    """Count what clients acknowledge."""
    if (recorder := _recorders.get(socketio)) is not None:
        recorder.acknowledged(socketio, namespace, event, latency_s)


@hookimpl
def socketio_ack_expired(namespace: str, event: str, socketio: SocketIO) -> None:
    """Count what clients have not acknowledged."""
    if (recorder := _recorders.get(socketio)) is not None:
        recorder.expired(socketio, namespace, event)


@hookimpl
def socketio_outbox_overflow(policy: str, socketio: SocketIO) -> None:
    """Count a client that does not read."""
    if (recorder := _recorders.get(socketio)) is not None:
        recorder.overflowed(policy)


@hookimpl
def socketio_workers_saturated(socketio: SocketIO) -> None:
    """Count that there are no more workers."""
    if (recorder := _recorders.get(socketio)) is not None:
        recorder.saturated()
