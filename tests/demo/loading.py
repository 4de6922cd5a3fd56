"""Imports an example from its file, as running it would, without its folder on the path."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    import pytest


def load_example(path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the module, fresh, and known to Flask under its name until the test ends."""
    spec = importlib.util.spec_from_file_location(f"example_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # Flask looks there for the folder of its templates
    spec.loader.exec_module(module)
    return module
