"""The official JavaScript clients over every kind of server; the checks themselves are in ``tests/js``."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.clients import CURRENT, JS, node
from support.servers import (
    GUNICORN_GEVENT,
    GUNICORN_GTHREAD,
    MODE_KINDS,
    AppSpec,
    Server,
    ServerKind,
    kind_params,
    serving,
)

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds for one run of all checks; a passing one takes two or three.
RUN_TIMEOUT_S = 90

PREVIOUS = "socket.io-client-3"
OLD = "socket.io-client-2"


def _check_names() -> list[str]:
    """Read the names of the checks out of the script, so that each is a test of its own."""
    body = (JS / "client.mjs").read_text().split("const checks = {", 1)[1]
    return re.findall(r'^  async "?([^"(]+)"?\(\)', body, re.MULTILINE)


CHECKS = _check_names()


def _run(script: str, *arguments: str) -> dict[str, Any]:
    command = [node(), str(JS / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="session")
def outcome_of(running: Server) -> Callable[[str, str], str | None]:
    """Look up what went wrong in a check; all checks of a client run at the first look."""
    outcomes: dict[str, dict[str, Any]] = {}

    def look_up(package: str, check: str) -> str | None:
        if package not in outcomes:
            outcomes[package] = _run("client.mjs", package, running.url)
        found: str | None = outcomes[package].get(check, "the check did not run")
        return found

    return look_up


@pytest.mark.timeout(RUN_TIMEOUT_S + 10)
@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("package", [CURRENT, PREVIOUS])
def test_javascript_client(outcome_of: Callable[[str, str], str | None], package: str, check: str) -> None:
    problem = outcome_of(package, check)
    assert problem is None, problem


@pytest.mark.usefixtures(
    "outcome_of"
)  # it was run by the tests above, or not at all; here two clients are looked at
def test_javascript_clients_leave_with_the_right_reason(server: Server) -> None:
    _run("client.mjs", CURRENT, server.url)
    left = {
        entry[2]: entry[1]
        for entry in server.wait_journal("disconnect")
        if str(entry[2]).startswith("js left")
    }
    assert left == {"js left websocket": "client disconnect", "js left polling": "client disconnect"}


@pytest.mark.parametrize("transport", ["polling", "websocket"])
def test_client_of_the_2_line_is_refused(server: Server, transport: str) -> None:
    told = _run("old_client.mjs", OLD, server.url, transport)
    assert told["event"] == "connect_error"
    assert "this client speaks Engine.IO protocol 3" in server.log_text()


@pytest.mark.timeout(RUN_TIMEOUT_S + 10)
@pytest.mark.parametrize("compressing", kind_params(*MODE_KINDS, GUNICORN_GTHREAD, GUNICORN_GEVENT))
def test_javascript_client_agrees_on_compression(compressing: ServerKind, tmp_path: Path) -> None:
    spec = AppSpec(app="clients", options={"websocket_compression": True})
    with serving(compressing, spec, tmp_path) as server:
        told = _run("compressed.mjs", server.url)
    assert told["agreed"] == "permessage-deflate"
    assert told["same"]
    assert told["received"] < 20_000  # of 400 kB


def test_checks_of_the_script_are_found() -> None:
    assert len(CHECKS) > 15
    assert Path(JS / "client.mjs").read_text().count("\n  async ") == len(CHECKS)
