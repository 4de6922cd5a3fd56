"""Runs one scenario of ``browser.cjs`` in Node.js, with a real Chromium."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HERE = Path(__file__).resolve().parent
NODE_MODULES = HERE.parent / "js" / "node_modules"
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SCENARIO_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 5.0  # Node closes Chromium, and its profile, on TERM


def find_chromium() -> str | None:
    """Return the path of an installed Chromium or Chrome."""
    return next((path for name in CHROMIUM_NAMES if (path := shutil.which(name))), None)


def require_browser() -> tuple[str, str]:
    """Return the paths of Node.js and Chromium; skip where one is missing, or fail if ``REQUIRE_BROKERS=1``."""
    node, chromium = shutil.which("node"), find_chromium()
    if node and chromium and (NODE_MODULES / "playwright-core").is_dir():
        return node, chromium
    missing = (
        "Node.js" if not node else "Chromium" if not chromium else "playwright-core (npm ci in tests/js)"
    )
    if os.environ.get("REQUIRE_BROKERS") == "1":
        pytest.fail(f"REQUIRE_BROKERS=1, and the browser tests need {missing}", pytrace=False)
    pytest.skip(f"the browser tests need {missing}")


def run_scenario(
    name: str,
    *,
    screenshots: Path,
    actions: Mapping[str, Callable[[], None]] | None = None,
    **arguments: str,
) -> None:
    """Run a scenario to its end.

    :param screenshots: folder for what the pages looked like.
    :param actions: what the scenario may ask us to do while it waits, by name.
    :param arguments: what the scenario needs to know, such as the URL.
    :raises AssertionError: with what the scenario wrote, if it failed or took longer than two minutes.
    """
    node, chromium = require_browser()
    screenshots.mkdir(parents=True, exist_ok=True)
    settings = {**arguments, "chromium": chromium, "screenshots": str(screenshots)}
    errors = screenshots / f"{name}.log"
    with errors.open("wb") as output:
        process = subprocess.Popen(
            [node, str(HERE / "browser.cjs"), name, json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
            env={**os.environ, "NODE_PATH": str(NODE_MODULES)},
            start_new_session=True,
        )
    watchdog = threading.Timer(SCENARIO_TIMEOUT_S, process.terminate)
    watchdog.start()
    try:
        _answer(process, actions or {})
        status = process.wait(SCENARIO_TIMEOUT_S)
    finally:
        watchdog.cancel()
        watchdog.join()
        _end(process)
    assert status == 0, f"scenario {name!r} failed (status {status}):\n{errors.read_text()}"


def _answer(process: subprocess.Popen[str], actions: Mapping[str, Callable[[], None]]) -> None:
    """Do what the scenario asks, one line at a time, until it closes its output."""
    assert process.stdin is not None
    assert process.stdout is not None
    for line in process.stdout:
        actions[line.strip()]()
        process.stdin.write("done\n")
        process.stdin.flush()


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT_S)
    if process.poll() is None:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
