"""What is committed is of use on any machine."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
#: Each pattern is written so that it does not match its own text.
FOREIGN = {
    "a path of one machine": re.compile(r"(?<![\w.$}])/(?:home|Users|root|work)/\w"),
    "a package registry's host": re.compile(
        r"https?://[\w.-]*(?:pypi|pythonhosted|npmjs|yarnpkg|registry|repo1?\.maven|artifactory|nexus)[\w.-]*[/\s\"']"
    ),
    "a lock that records where packages came from": re.compile(r"\"resolved\": \"http"),
}


@pytest.fixture(scope="module")
def committed() -> list[Path]:
    """The files that git tracks."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout, so what is committed cannot be told")
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    return [path for name in listing.decode().split("\0") if name and (path := ROOT / name).is_file()]


@pytest.mark.parametrize("what", FOREIGN)
def test_no_committed_file_holds(what: str, committed: list[Path]) -> None:
    assert [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in committed
        for number, line in enumerate(text_of(path).splitlines(), 1)
        if FOREIGN[what].search(line)
    ] == []


def test_every_distribution_carries_the_same_licence(committed: list[Path]) -> None:
    assert committed
    licence = (ROOT / "LICENSE").read_text()
    differing = [path for path in ROOT.glob("plugins/*/LICENSE") if path.read_text() != licence]
    without = [
        path.parent
        for path in ROOT.glob("plugins/*/pyproject.toml")
        if not (path.parent / "LICENSE").exists()
    ]
    assert differing + without == []


def text_of(path: Path) -> str:
    """Return a file's text, nothing for one that is not text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""
