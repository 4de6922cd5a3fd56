"""Where Flask-SocketIO has its class-based handlers."""

from __future__ import annotations

from .app.namespace import Namespace

__all__ = ["Namespace"]
