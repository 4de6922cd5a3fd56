"""Why a client was disconnected: the values that disconnect handlers receive.

Source: python-socketio's ``Server.reason``.
"""

from __future__ import annotations

from typing import Final


class Reason:
    """The disconnect reasons, as class attributes."""

    CLIENT_DISCONNECT: Final = "client disconnect"
    SERVER_DISCONNECT: Final = "server disconnect"
    PING_TIMEOUT: Final = "ping timeout"
    TRANSPORT_CLOSE: Final = "transport close"
    TRANSPORT_ERROR: Final = "transport error"
