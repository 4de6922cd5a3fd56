"""Where plugins find the hooks: :mod:`flask_socketio_core.contracts.hookspecs` has them."""

from __future__ import annotations

from .contracts.hookspecs import hookimpl

__all__ = ["hookimpl"]
