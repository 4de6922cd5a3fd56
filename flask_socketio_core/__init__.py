"""Socket.IO for Flask in which every moving part is a plugin."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .context import call, close_room, disconnect, emit, join_room, leave_room, rooms, send
from .errors import ConnectionRefusedError
from .extension import SocketIO
from .hookspecs import hookimpl
from .namespace import Namespace

if TYPE_CHECKING:
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

if not TYPE_CHECKING:  # or every misspelt name would pass a type check

    def __getattr__(name: str) -> Any:
        """Import the test client when somebody asks for it, which no server does."""
        if name == "SocketIOTestClient":
            return importlib.import_module(f"{__name__}.testing.client").SocketIOTestClient
        if name == "test_client":
            return importlib.import_module(f"{__name__}.test_client")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
