"""Where authors of message queues find options and URLs: :mod:`flask_socketio_core.contracts.queues` has them."""

from __future__ import annotations

from .contracts.queues import QueueURL, Setting, describe, mask, parse, read, unavailable

__all__ = ["QueueURL", "Setting", "describe", "mask", "parse", "read", "unavailable"]
