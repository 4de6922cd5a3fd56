"""Processes that fork, and that end in a hurry."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.nodes import Bus, Node, wait_until

from .buses import broker_of, make_bus

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(120)

KINDS = ("redis", "streams", "rabbitmq", "kafka", "host")
PROGRAMS = Path(__file__).parent / "programs"
TESTS = Path(__file__).parent.parent


@pytest.fixture(params=KINDS)
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


def run(program: str, *buses: Bus) -> list[str]:
    """Run a program on each bus at once to its end and return what each wrote."""
    processes = [start(program, bus.url, bus.channel) for bus in buses]
    outputs = []
    for process in processes:
        with process:
            outputs.append(process.communicate(timeout=40)[0])
        assert process.returncode == 0, outputs[-1]
    return outputs


def test_a_forked_child_sends_under_an_identity_of_its_own(node: Node, bus: Bus) -> None:
    member = node.connect()
    output = run("prefork.py", bus)
    expected = {"parent before", "parent after"}
    expected |= {f"child {number} {message}" for number in range(3) for message in ("first", "second")}
    expected |= {f"worker {number}" for number in range(3)}
    received = [event[1] for event in member.wait_for(len(expected))]
    assert sorted(received) == sorted(expected), output


@pytest.mark.parametrize("url", ["host://", ""], ids=["host", "no queue"])
def test_tasks_that_use_a_forked_child_first_and_at_once_find_one_process(url: str) -> None:
    with start("first_use.py", url, "first-use") as process:
        output, _ = process.communicate(timeout=40)
    assert output.splitlines() == ["1 False"] * 10


def test_a_program_that_ends_right_after_its_last_emit_loses_nothing(node: Node, bus: Bus) -> None:
    member = node.connect()
    started = time.monotonic()
    run("hasty.py", bus)
    assert time.monotonic() - started < 20
    assert [event[1] for event in member.wait_for(300)] == list(range(300))


def test_a_program_that_ends_while_the_broker_is_away_says_what_is_lost(
    request: pytest.FixtureRequest,
) -> None:
    buses = [make_bus(request, kind) for kind in KINDS if broker_of(request, kind) is not None]
    started = time.monotonic()
    outputs = run(
        "hasty.py", *(dataclasses.replace(bus, url=re.sub(r":\d+", ":1", bus.url)) for bus in buses)
    )
    assert time.monotonic() - started < 20
    for bus, output in zip(buses, outputs, strict=True):
        assert "300 messages for" in output, bus.kind


def test_a_program_and_its_child_get_answers_of_a_client(node: Node, bus: Bus) -> None:
    member = node.connect()
    member.answer = ("yes",)
    with start("asking.py", bus.url, bus.channel, member.sid) as process:
        wait_until(lambda: (member.receive(), process.poll() is not None)[1], "end of the program", 60)
        output, _ = process.communicate()
    assert process.returncode == 0, output
    assert sorted(output.splitlines()) == sorted([str(["yes"]), str(["yes"] * 20), str(["yes"] * 20)])


def test_a_forked_child_has_no_question_of_its_parent(node: Node, bus: Bus) -> None:
    gate = threading.Event()
    node.servers.on_topic("echo", lambda payload, asker: payload)
    node.servers.on_topic("wait", lambda payload, asker: gate.wait(30) and payload)
    with start("forking_asker.py", bus.url, bus.channel) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "child: 0 questions, ['child']\n"
        gate.set()
        output, _ = process.communicate(timeout=40)
    assert output == "parent: ['parent']\n"
    assert process.returncode == 0
