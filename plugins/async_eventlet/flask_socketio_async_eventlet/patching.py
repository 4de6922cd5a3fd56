"""How an application patches its process for eventlet."""

from __future__ import annotations

PATCH_LINE = "import eventlet; eventlet.monkey_patch()"
