"""Has the page of the Admin UI in the wheel: its released build, which is not in the repository.

Where it cannot be fetched, because npm is missing or its registry out of reach, the wheel is made without it, with a
warning, and the application says at ``/admin/`` what to do. ``FLASK_SOCKETIO_ADMIN_UI_REQUIRED=1`` makes that an error,
for releases.
"""

from __future__ import annotations

import os
import runpy
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Page(BuildHookInterface):  # type: ignore[misc]  # it is there where wheels are made only
    """Fetches the page before files are collected, for an editable installation, too."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        # By its path: what is built is not installed yet.
        build = runpy.run_path(str(Path(self.root, "flask_socketio_admin_ui", "build.py")))
        try:
            build["fetch"]()
        except build["Unreachable"] as error:
            if os.environ.get("FLASK_SOCKETIO_ADMIN_UI_REQUIRED") == "1":
                raise
            self.app.display_warning(f"without the page of the Admin UI: {error}")
