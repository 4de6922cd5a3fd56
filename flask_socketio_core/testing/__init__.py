"""What applications and plugin authors test with."""

from __future__ import annotations

from ..app.test_client import SocketIOTestClient

__all__ = ["SocketIOTestClient"]
