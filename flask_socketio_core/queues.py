"""Where authors of message queues find options and URLs: :mod:`flask_socketio_core.contracts.queues` has them."""

from __future__ import annotations

from .contracts.queues import (
    ADDRESS_DIGITS,
    ClientErrors,
    QueueURL,
    Setting,
    check_size,
    describe,
    mask,
    new_address,
    parse,
    read,
    unavailable,
)

__all__ = [
    "ADDRESS_DIGITS",
    "ClientErrors",
    "QueueURL",
    "Setting",
    "check_size",
    "describe",
    "mask",
    "new_address",
    "parse",
    "read",
    "unavailable",
]
