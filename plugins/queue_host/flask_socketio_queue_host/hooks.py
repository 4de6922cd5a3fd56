"""What this plugin registers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_socketio_core.contracts import QueueInfo
from flask_socketio_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from flask_socketio_core.contracts import MessageQueue


def _load() -> type[MessageQueue]:
    from .queue import HostQueue

    return HostQueue


@hookimpl
def socketio_message_queues() -> QueueInfo:
    """Describe ``host://``."""
    return QueueInfo(
        name="host",
        schemes=("host",),
        load=_load,
        for_workers="host://{name}",
        install="pip install flask-socketio-queue-host",
        summary="processes of one host, no broker",
    )
