"""Proxies and load balancers in front of the servers under test."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from support.servers import STOP_TIMEOUT_S, wait_until
from support.wire.http import HttpError, request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

READY_S = 10.0
"""How long one may take until it passes requests on, seconds."""


@contextmanager
def running(command: list[str], is_ready: Callable[[], bool]) -> Iterator[None]:
    """Run a proxy; skip the test where its program is not installed.

    :param is_ready: whether it passes requests on.
    """
    if shutil.which(command[0]) is None:
        pytest.skip(f"the program {command[0]} is not installed")
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        assert wait_until(is_ready, timeout_s=READY_S), f"{command[0]} did not answer"
        yield
    finally:
        process.terminate()
        process.wait(STOP_TIMEOUT_S)


def answers(port: int, path: str, *, timeout_s: float = 5.0) -> bool:
    """Return whether a page is answered there in time."""
    try:
        return request(port, "GET", path, timeout_s=timeout_s).status == 200
    except (OSError, HttpError):
        return False
