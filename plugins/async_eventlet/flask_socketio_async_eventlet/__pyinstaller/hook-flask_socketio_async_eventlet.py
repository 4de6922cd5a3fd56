"""eventlet chooses its hub by name, and patches modules of dnspython by name."""

from __future__ import annotations

from PyInstaller.utils.hooks import collect_submodules

hiddenimports = [*collect_submodules("eventlet.hubs"), *collect_submodules("dns")]
