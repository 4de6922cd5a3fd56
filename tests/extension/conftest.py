"""Fixtures for the Flask side."""

from __future__ import annotations

from support.flask_apps import app, connect, end, make_app, socketio

__all__ = ["app", "connect", "end", "make_app", "socketio"]
