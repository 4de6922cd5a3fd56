"""Discover, check, select and describe plugins; see README.md in this folder."""

from __future__ import annotations

from .description import (
    ASYNC_MODE,
    MESSAGE_QUEUE,
    STORE,
    WEBSOCKET_PROVIDER,
    Description,
    PartDescription,
    PluginDescription,
    SettingDescription,
)
from .manager import Plugins
from .records import Selection
from .requirements import missing as unmet_requirements

__all__ = [
    "ASYNC_MODE",
    "MESSAGE_QUEUE",
    "STORE",
    "WEBSOCKET_PROVIDER",
    "Description",
    "PartDescription",
    "PluginDescription",
    "Plugins",
    "Selection",
    "SettingDescription",
    "unmet_requirements",
]
