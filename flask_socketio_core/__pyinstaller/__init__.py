"""What PyInstaller has to know to freeze an application; it finds this through the entry point ``pyinstaller40``.

Source: PyInstaller's manual, "Providing PyInstaller Hooks with your Package".
"""

from __future__ import annotations

from pathlib import Path


def get_hook_dirs() -> list[str]:
    """Return the folder of the hooks, one file for each package that needs one."""
    return [str(Path(__file__).parent)]
