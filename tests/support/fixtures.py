"""Fixtures that several folders of tests have; a conftest.py, or a module of tests, imports them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.wire import drop_all

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["leave_nothing_open"]


@pytest.fixture(autouse=True)
def leave_nothing_open() -> Iterator[None]:
    """Drop the connections that the test did not close."""
    yield
    drop_all()
