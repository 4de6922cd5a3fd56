"""Fragments become the changelog, and each one says where it belongs."""

from __future__ import annotations

import datetime
from pathlib import Path
from types import ModuleType

import pytest

TOOL = "changelog"
DAY = datetime.date(2030, 1, 2)


def fragment(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_every_fragment_in_this_repository_can_be_placed(tool: ModuleType) -> None:
    tool.refuse_changes_of_nothing(tool.read_all(), (tool.ROOT / "CHANGELOG.md").read_text())


def test_nothing_is_fixed_before_the_first_release(tool: ModuleType, tmp_path: Path) -> None:
    fixed = [tool.Fragment.read(fragment(tmp_path, "a.core.fixed.md", "a crash is gone"))]
    with pytest.raises(tool.BadFragment, match=r"a.core.fixed.md: nothing was released yet"):
        tool.refuse_changes_of_nothing(fixed, "# Changelog\n")
    tool.refuse_changes_of_nothing(fixed, "# Changelog\n\n## 1.0 (2029-01-01)\n")


def test_release_lists_breaking_changes_first(tool: ModuleType, tmp_path: Path) -> None:
    fragments = sorted(
        tool.Fragment.read(path)
        for path in (
            fragment(tmp_path, "a.core.fixed.md", "a crash\nis gone\n"),
            fragment(tmp_path, "b.queue_redis.breaking.md", "the option is renamed"),
        )
    )
    assert tool.render(fragments, "1.2", DAY) == (
        "## 1.2 (2030-01-02)\n"
        "\n### Breaking\n\n- queue_redis: the option is renamed\n"
        "\n### Fixed\n\n- core: a crash is gone\n"
    )


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("a.nothing.fixed.md", r"'nothing' is no package\n  available: core, "),
        ("a.core.mended.md", r"'mended' is no type of change\n  available: breaking, added"),
        ("a.md", "'' is no package"),
    ],
)
def test_misnamed_fragment_is_refused_with_the_names_there_are(
    tool: ModuleType, tmp_path: Path, name: str, problem: str
) -> None:
    with pytest.raises(tool.BadFragment, match=problem):
        tool.Fragment.read(fragment(tmp_path, name, "text"))


def test_empty_fragment_is_refused(tool: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(tool.BadFragment, match="is empty"):
        tool.Fragment.read(fragment(tmp_path, "a.core.fixed.md", " \n"))


@pytest.mark.parametrize("older", ["", "\n## 1.1 (2029-01-01)\n\n- core: older\n"])
def test_newest_release_stands_above_the_older_ones(tool: ModuleType, older: str) -> None:
    result = tool.insert(f"# Changelog\n\nWords.\n{older}", "## 1.2\n\n- core: new\n")
    assert result == f"# Changelog\n\nWords.\n\n## 1.2\n\n- core: new\n{older}"
