"""What this plugin registers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_socketio_core.contracts import AsyncModeInfo, QueueInfo, WebSocketProviderInfo
from flask_socketio_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from flask_socketio_core.contracts import AsyncMode, MessageQueue, WebSocketProvider


def load_mode() -> type[AsyncMode]:
    from .mode import TortoiseMode

    return TortoiseMode


def load_provider() -> type[WebSocketProvider]:
    from .websocket import TortoiseProvider

    return TortoiseProvider


def load_queue() -> type[MessageQueue]:
    from .queue import SpoolQueue

    return SpoolQueue


@hookimpl
def socketio_async_modes() -> AsyncModeInfo:
    return AsyncModeInfo(
        name="tortoise", priority=120, load=load_mode, summary="wsgiref, one thread per request"
    )


@hookimpl
def socketio_websocket_providers() -> WebSocketProviderInfo:
    return WebSocketProviderInfo(name="shell", priority=10, load=load_provider, async_modes=("tortoise",))


@hookimpl
def socketio_message_queues() -> QueueInfo:
    return QueueInfo(name="spool", schemes=("spool",), load=load_queue, summary="files in a folder")
