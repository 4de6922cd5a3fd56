"""Plugin objects for tests: what they describe is given by the test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flask_socketio_core.contracts import (
    AsyncMode,
    AsyncModeInfo,
    MessageQueue,
    QueueInfo,
    Store,
    StoreInfo,
    WebSocketProvider,
)
from flask_socketio_core.contracts import WebSocketProviderInfo as ProviderInfo
from flask_socketio_core.hookspecs import hookimpl

MakeDistribution = Callable[..., None]
"""What the fixture of that name returns: it takes the distribution's name, version and plugins."""


def mode(name: str, priority: int = 0, **more: Any) -> AsyncModeInfo:
    return AsyncModeInfo(**{"name": name, "priority": priority, "load": lambda: AsyncMode, **more})


def provider(name: str, priority: int = 0, **more: Any) -> ProviderInfo:
    return ProviderInfo(**{"name": name, "priority": priority, "load": lambda: WebSocketProvider, **more})


def queue(name: str, *schemes: str, **more: Any) -> QueueInfo:
    return QueueInfo(**{"name": name, "schemes": schemes, "load": lambda: MessageQueue, **more})


def store(name: str, *schemes: str, **more: Any) -> StoreInfo:
    return StoreInfo(**{"name": name, "schemes": schemes, "load": lambda: Store, **more})


class Describing:
    """A plugin that describes what it was given."""

    def __init__(
        self,
        *,
        name: str = "describing",
        modes: Sequence[AsyncModeInfo] = (),
        providers: Sequence[ProviderInfo] = (),
        queues: Sequence[QueueInfo] = (),
        stores: Sequence[StoreInfo] = (),
    ) -> None:
        self.__name__ = name
        self._modes, self._providers, self._queues, self._stores = modes, providers, queues, stores

    @hookimpl
    def socketio_async_modes(self) -> Sequence[AsyncModeInfo]:
        return self._modes

    @hookimpl
    def socketio_websocket_providers(self) -> Sequence[ProviderInfo]:
        return self._providers

    @hookimpl
    def socketio_message_queues(self) -> Sequence[QueueInfo]:
        return self._queues

    @hookimpl
    def socketio_stores(self) -> Sequence[StoreInfo]:
        return self._stores
