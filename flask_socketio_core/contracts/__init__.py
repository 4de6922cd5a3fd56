"""All that a plugin may import: the seams, the hooks, and what the plugins of each kind are put together from.

A plugin's hooks (:mod:`~flask_socketio_core.contracts.hookspecs`) return the *descriptors* here
(:class:`AsyncModeInfo`, :class:`WebSocketProviderInfo`, :class:`QueueInfo`, :class:`StoreInfo`); they are data, cheap
to make, and import nothing heavy. The class behind a descriptor is loaded only when it was selected, by calling the
descriptor's ``load``.
A descriptor checks its fields when it is made: one of another type or form raises
:class:`~flask_socketio_core.errors.InvalidDescriptor`, which says what to write.

What ``__all__`` names, here and in the modules of this package, is kept as docs/stability.md says.
"""

from __future__ import annotations

from .async_mode import (
    AsyncCapabilities,
    AsyncMode,
    AsyncModeInfo,
    Event,
    Handle,
    Listener,
    Lock,
    ReadWaiter,
    ServeOptions,
    Task,
)
from .message_queue import MessageQueue, QueueCapabilities, QueueInfo
from .store import Position, Store, StoreCapabilities, StoreInfo, Stretch
from .verdict import OK, Probe, Verdict, always_usable
from .websocket_provider import (
    BlockingTransport,
    KeepAlive,
    SocketLocation,
    WebSocketProvider,
    WebSocketProviderInfo,
)

__all__ = [
    "OK",
    "AsyncCapabilities",
    "AsyncMode",
    "AsyncModeInfo",
    "BlockingTransport",
    "Event",
    "Handle",
    "KeepAlive",
    "Listener",
    "Lock",
    "MessageQueue",
    "Position",
    "Probe",
    "QueueCapabilities",
    "QueueInfo",
    "ReadWaiter",
    "ServeOptions",
    "SocketLocation",
    "Store",
    "StoreCapabilities",
    "StoreInfo",
    "Stretch",
    "Task",
    "Verdict",
    "WebSocketProvider",
    "WebSocketProviderInfo",
    "always_usable",
]
