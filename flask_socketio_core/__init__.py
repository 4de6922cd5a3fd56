"""Socket.IO for Flask in which every moving part is a plugin."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .app.context import call, close_room, disconnect, emit, join_room, leave_room, rooms, send
from .app.extension import SocketIO
from .app.namespace import Namespace
from .app.registration import SocketBlueprint, once
from .common.users import user
from .contracts.hookspecs import hookimpl
from .errors import EventRejected

if TYPE_CHECKING:
    from .app.test_client import SocketIOTestClient
    from .errors import ConnectionRefusedError

__all__ = [
    "ConnectionRefusedError",
    "EventRejected",
    "Namespace",
    "SocketBlueprint",
    "SocketIO",
    "SocketIOTestClient",
    "call",
    "close_room",
    "disconnect",
    "emit",
    "hookimpl",
    "join_room",
    "leave_room",
    "once",
    "rooms",
    "send",
    "user",
]

if not TYPE_CHECKING:  # or every misspelt name would pass a type check

    def __getattr__(name: str) -> Any:
        """Import what not every server needs when somebody asks for it: the test client, python-socketio's error."""
        if name == "ConnectionRefusedError":
            return importlib.import_module(f"{__name__}.errors").ConnectionRefusedError
        if name == "SocketIOTestClient":
            return importlib.import_module(f"{__name__}.app.test_client").SocketIOTestClient
        if name == "test_client":
            return importlib.import_module(f"{__name__}.test_client")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
