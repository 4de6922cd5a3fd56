"""The core's own queue, registered as any plugin registers its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..contracts import QueueInfo
from ..contracts.hookspecs import hookimpl

if TYPE_CHECKING:
    from ..contracts import MessageQueue


def _load() -> type[MessageQueue]:
    from .memory import MemoryQueue

    return MemoryQueue


@hookimpl
def socketio_message_queues() -> QueueInfo:
    """Describe ``memory://``."""
    return QueueInfo(name="memory", schemes=("memory",), load=_load, summary="inside one process")
