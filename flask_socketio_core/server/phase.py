"""Where a client stands in its life."""

from __future__ import annotations

import enum


class Phase(enum.Enum):
    """Where a client stands in its life."""

    PENDING = enum.auto()
    """The connect handler has not decided yet; what is sent to the client waits behind its CONNECT packet."""
    CONNECTED = enum.auto()
    GONE = enum.auto()
    """It left or was refused. What is sent to it is dropped."""
