"""Take every installed plugin into the frozen application, with its metadata and that of what it requires.

Nothing imports a plugin by name, and metadata says what is installed, so PyInstaller sees neither. A plugin whose
library imports by name itself brings a hook of its own.
"""

from __future__ import annotations

from importlib import metadata

from packaging.requirements import Requirement
from PyInstaller.utils.hooks import copy_metadata

from flask_socketio_core.contracts.hookspecs import PROJECT_NAME

datas: list[tuple[str, str]] = []
hiddenimports: list[str] = []

for _point in metadata.entry_points(group=PROJECT_NAME):
    hiddenimports.append(_point.module)
    assert _point.dist is not None  # it came from one
    for _name in (_point.dist.name, *(Requirement(text).name for text in _point.dist.requires or ())):
        try:
            datas += copy_metadata(_name, recursive=True)
        except metadata.PackageNotFoundError:
            pass  # an extra that is not installed
