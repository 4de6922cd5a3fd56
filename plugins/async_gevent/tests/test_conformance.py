"""The gevent mode does what every async mode must."""

from __future__ import annotations

from typing import ClassVar

from flask_socketio_async_gevent.mode import GeventMode
from flask_socketio_core.contracts import AsyncMode
from flask_socketio_core.testing.conformance.async_modes import AsyncModeConformance


class TestGeventMode(AsyncModeConformance):
    mode_class: ClassVar[type[AsyncMode]] = GeventMode
