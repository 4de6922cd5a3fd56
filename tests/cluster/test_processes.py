"""Processes that fork, and that end in a hurry."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.nodes import Bus, Node

from .buses import make_bus

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(120)

PROGRAMS = Path(__file__).parent / "programs"
TESTS = Path(__file__).parent.parent


@pytest.fixture(params=["redis", "streams", "rabbitmq", "kafka"])
def bus(request: pytest.FixtureRequest) -> Bus:
    return make_bus(request, request.param)


@pytest.fixture
def node(bus: Bus) -> Iterator[Node]:
    node = Node(bus).start()
    yield node
    node.close()


def start(program: str, *arguments: str) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(TESTS), *filter(None, sys.path)])
    return subprocess.Popen(
        [sys.executable, str(PROGRAMS / program), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )


def run(program: str, bus: Bus) -> str:
    """Run a program to its end and return what it wrote."""
    with start(program, bus.url, bus.channel) as process:
        output, _ = process.communicate(timeout=40)
        assert process.returncode == 0, output
        return output


def test_a_forked_child_sends_under_an_identity_of_its_own(node: Node, bus: Bus) -> None:
    member = node.connect()
    output = run("prefork.py", bus)
    expected = {"parent before", "parent after"}
    expected |= {f"child {number} {message}" for number in range(3) for message in ("first", "second")}
    received = [event[1] for event in member.wait_for(8)]
    assert sorted(received) == sorted(expected), output


def test_a_program_that_ends_right_after_its_last_emit_loses_nothing(node: Node, bus: Bus) -> None:
    member = node.connect()
    started = time.monotonic()
    run("hasty.py", bus)
    assert time.monotonic() - started < 20
    assert sorted(event[1] for event in member.wait_for(300)) == list(range(300))
