"""The acts: what clients do on the scenario application. Importing this package registers them all."""

from __future__ import annotations

from compat.acts import addressing, connecting, handling, naming, remembering, talking, watching

__all__ = ["addressing", "connecting", "handling", "naming", "remembering", "talking", "watching"]
