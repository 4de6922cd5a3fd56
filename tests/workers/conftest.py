"""A directory in which workers meet."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def runtime() -> Iterator[Path]:
    """Make a directory whose name is short enough for a socket in it."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)
