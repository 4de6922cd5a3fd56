"""Where authors of message queues find options and URLs: :mod:`flask_socketio_core.contracts.queues` has them."""

from __future__ import annotations

from .contracts.queues import (
    ClientErrors,
    QueueURL,
    Setting,
    check_size,
    describe,
    mask,
    parse,
    read,
    unavailable,
)

__all__ = [
    "ClientErrors",
    "QueueURL",
    "Setting",
    "check_size",
    "describe",
    "mask",
    "parse",
    "read",
    "unavailable",
]
