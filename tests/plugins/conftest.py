"""Distributions that exist for one test: found by importlib.metadata as any installed one is."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest

from support.plugins import MakeDistribution


@pytest.fixture
def make_distribution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> MakeDistribution:
    """Return a function that installs a distribution with plugins, given as ``{entry point: (module, source)}``."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(
        name: str, *, version: str = "1.0", plugins: Mapping[str, tuple[str, str]] | None = None
    ) -> None:
        info = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        lines = ["[flask_socketio_core]"]
        for point, (module, source) in (plugins or {}).items():
            lines.append(f"{point} = {module}")
            (tmp_path / f"{module}.py").write_text(source)
            request.addfinalizer(partial(_forget, module))
        (info / "entry_points.txt").write_text("\n".join(lines))

    return make


def _forget(module: str) -> None:
    sys.modules.pop(module, None)


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Load no installed plugin, so that a test sees only what it registers."""
    monkeypatch.setenv("SOCKETIO_LOAD_PLUGINS", "")
