"""File descriptors: the limit is raised, and a reserve is kept."""

from __future__ import annotations

import logging
import resource
from collections.abc import Iterator

import pytest

from flask_socketio_core.transport.descriptors import RESERVE, most_connections, raise_limit


@pytest.fixture
def limits() -> Iterator[tuple[int, int]]:
    """Give the soft and the hard limit of this process, and put the soft one back."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield soft, hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_soft_limit_is_raised_to_the_hard_one(limits: tuple[int, int]) -> None:
    _, hard = limits
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    assert most_connections() == 256 - RESERVE
    raise_limit()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)


def test_a_limit_that_cannot_be_raised_is_no_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, limits: tuple[int, int]
) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("not allowed to raise maximum limit")

    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
    caplog.set_level(logging.INFO)
    with monkeypatch.context() as patched:
        patched.setattr(resource, "setrlimit", refuse)
        raise_limit()
    assert "the limit of 256 descriptors cannot be raised" in caplog.text
    assert most_connections() == 256 - RESERVE
