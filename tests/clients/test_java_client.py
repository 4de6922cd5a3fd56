"""The official Java client over every kind of server; the checks themselves are in ``tests/java``."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from support.clients import java_libraries
from support.servers import TESTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.servers import Server

SCRIPT = TESTS / "java" / "Client.java"
#: Seconds for compiling the script and one run of all checks; a passing one takes five.
RUN_TIMEOUT_S = 90

CHECKS = re.findall(r'checks\.put\("([^"]+)"', SCRIPT.read_text())


@pytest.fixture(scope="session")
def outcome_of(running: Server) -> Callable[[str], str | None]:
    """Look up what went wrong in a check; all of them run at the first look."""
    outcomes: dict[str, Any] = {}

    def look_up(check: str) -> str | None:
        if not outcomes:
            command = [
                "java",
                "-XX:TieredStopAtLevel=1",
                "-cp",
                f"{java_libraries()}/*",
                str(SCRIPT),
                running.url,
            ]
            done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False)
            assert done.returncode == 0, done.stderr
            outcomes.update(json.loads(done.stdout))
        found: str | None = outcomes.get(check, "the check did not run")
        return found

    return look_up


@pytest.mark.timeout(RUN_TIMEOUT_S + 10)
@pytest.mark.parametrize("check", CHECKS)
def test_java_client(outcome_of: Callable[[str], str | None], check: str) -> None:
    problem = outcome_of(check)
    assert problem is None, problem


def test_checks_of_the_script_are_found() -> None:
    assert len(CHECKS) > 10
