"""Discover, check, select and describe plugins; see README.md in this folder."""

from __future__ import annotations

from .description import Description, PartDescription, PluginDescription
from .manager import Plugins
from .records import Selection

__all__ = ["Description", "PartDescription", "PluginDescription", "Plugins", "Selection"]
