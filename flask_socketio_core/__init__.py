"""Socket.IO for Flask in which every moving part is a plugin."""

from __future__ import annotations

from .context import call, close_room, disconnect, emit, join_room, leave_room, rooms, send
from .errors import ConnectionRefusedError
from .extension import SocketIO
from .hookspecs import hookimpl
from .namespace import Namespace
from .testing.client import SocketIOTestClient

__all__ = [
    "ConnectionRefusedError",
    "Namespace",
    "SocketIO",
    "SocketIOTestClient",
    "call",
    "close_room",
    "disconnect",
    "emit",
    "hookimpl",
    "join_room",
    "leave_room",
    "rooms",
    "send",
]
