"""Kombu imports the transport of a URL by name."""

from __future__ import annotations

from PyInstaller.utils.hooks import collect_submodules

hiddenimports = collect_submodules("kombu.transport")
