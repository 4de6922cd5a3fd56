"""The module that Flask-SocketIO has its test client in."""

from __future__ import annotations

from .app.test_client import SocketIOTestClient

__all__ = ["SocketIOTestClient"]
