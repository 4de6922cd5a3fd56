"""What the tests of the documentation share."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest

from support.documents import ROOT


@pytest.fixture(scope="session")
def reference() -> ModuleType:
    """The tool that writes the generated parts of the documentation."""
    spec = importlib.util.spec_from_file_location("reference", ROOT / "tools" / "reference.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
