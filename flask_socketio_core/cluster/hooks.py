"""The core's own queue and store, registered as any plugin registers its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..contracts import QueueInfo, StoreInfo
from ..contracts.hookspecs import hookimpl

if TYPE_CHECKING:
    from ..contracts import MessageQueue, Store


def _load() -> type[MessageQueue]:
    from .memory import MemoryQueue

    return MemoryQueue


def _load_store() -> type[Store]:
    from ..store.memory import MemoryStore

    return MemoryStore


@hookimpl
def socketio_message_queues() -> QueueInfo:
    """Describe ``memory://``."""
    return QueueInfo(name="memory", schemes=("memory",), load=_load, summary="inside one process")


@hookimpl
def socketio_stores() -> StoreInfo:
    """Describe ``memory://``."""
    return StoreInfo(name="memory", schemes=("memory",), load=_load_store, summary="inside one process")
