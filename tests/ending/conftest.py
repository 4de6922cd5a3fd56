"""Servers that are ended by the tests, each of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.wire import drop_all


@pytest.fixture(autouse=True)
def leave_nothing_open() -> Iterator[None]:
    """Drop the connections that the test did not close."""
    yield
    drop_all()
