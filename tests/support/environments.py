"""Fresh virtual environments, and this repository's wheels to install into them.

As fixtures: ``from support.environments import fresh_environment, wheels`` in a ``conftest.py``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PROJECTS = [ROOT, *sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))]
#: Seconds for one command that talks to the package index.
INDEX_LIMIT_S = 240


@dataclass(frozen=True)
class Environment:
    """A virtual environment that sees nothing of this repository, and has no pip: ours installs into it.

    :param wheels: folder with this repository's wheels, where pip looks first.
    """

    folder: Path
    wheels: Path

    def run(
        self, program: str, *arguments: str | Path, cwd: Path | None = None, limit_s: float = INDEX_LIMIT_S
    ) -> str:
        """Run one of the environment's programs and return what it printed; the test fails if the program does."""
        return run(self.folder / "bin" / program, *arguments, cwd=cwd or self.folder, limit_s=limit_s)

    def install(self, *requirements: str | Path) -> None:
        """Install with pip from the wheels and the package index."""
        self.pip("install", "--quiet", "--find-links", self.wheels, *requirements)

    def uninstall(self, *distributions: str) -> None:
        self.pip("uninstall", "--quiet", "--yes", *distributions)

    def pip(self, *arguments: str | Path) -> None:
        """Let the tests' own pip work on this environment: to give it one takes longer than most installations."""
        ours = (sys.executable, "-m", "pip", "--disable-pip-version-check")
        run(*ours, "--python", self.folder / "bin" / "python", *arguments, cwd=self.folder)


def run(*command: str | Path, cwd: Path, limit_s: float = INDEX_LIMIT_S) -> str:
    """Run a command out of reach of the environment that runs the tests, and return what it printed."""
    inherited = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")
    }
    result = subprocess.run(
        command,
        cwd=cwd,
        env=inherited,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=limit_s,
    )
    if result.returncode:
        output = (result.stdout + result.stderr)[-6000:]
        pytest.fail(f"{' '.join(map(str, command))} failed:\n{output}", pytrace=False)
    return result.stdout


@pytest.fixture(scope="session")
def package_index() -> None:
    """Skip where no package index can be reached, unless ``REQUIRE_BROKERS=1``, as in CI, wants every test run."""
    command = [sys.executable, "-m", "pip", "index", "versions", "pluggy"]
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=INDEX_LIMIT_S)
    if result.returncode and os.environ.get("REQUIRE_BROKERS") != "1":
        pytest.skip("no package index can be reached")


@pytest.fixture(scope="session")
def wheels(package_index: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheels of the core and of each plugin, built once per test run.

    They share one environment with what builds them; that an environment of its own does as well is shown by the
    test of the README's command.
    """
    folder = tmp_path_factory.mktemp("wheels")
    builder = make_environment(tmp_path_factory.mktemp("builder"), folder)
    builder.install("hatchling")
    options = (
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--check-build-dependencies",
        "--wheel-dir",
        folder,
    )
    builder.pip("wheel", *options, *PROJECTS)
    return folder


@pytest.fixture(scope="session")
def fresh_environment(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Environment]:
    """Make an empty environment with the Python that runs the tests."""
    return lambda: make_environment(tmp_path_factory.mktemp("environment"), wheels)


def make_environment(folder: Path, wheels: Path) -> Environment:
    environment = Environment(folder / "environment", wheels)
    run(sys.executable, "-m", "venv", "--without-pip", environment.folder, cwd=folder)
    return environment
