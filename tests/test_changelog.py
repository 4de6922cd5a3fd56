"""Fragments become the changelog, and each one says where it belongs."""

from __future__ import annotations

import datetime
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
DAY = datetime.date(2030, 1, 2)


@pytest.fixture(scope="module")
def changelog() -> ModuleType:
    """``tools/changelog.py``, which is a program and no importable module."""
    spec = importlib.util.spec_from_file_location("changelog_tool", ROOT / "tools" / "changelog.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # dataclasses look their module up while they are made.
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
    return module


def fragment(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_every_fragment_in_this_repository_can_be_placed(changelog: ModuleType) -> None:
    changelog.read_all()


def test_release_lists_breaking_changes_first(changelog: ModuleType, tmp_path: Path) -> None:
    fragments = sorted(
        changelog.Fragment.read(path)
        for path in (
            fragment(tmp_path, "a.core.fixed.md", "a crash\nis gone\n"),
            fragment(tmp_path, "b.queue_redis.breaking.md", "the option is renamed"),
        )
    )
    assert changelog.render(fragments, "1.2", DAY) == (
        "## 1.2 (2030-01-02)\n"
        "\n### Breaking\n\n- queue_redis: the option is renamed\n"
        "\n### Fixed\n\n- core: a crash is gone\n"
    )


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("a.nothing.fixed.md", r"'nothing' is no package\n  available: core, async_eventlet"),
        ("a.core.mended.md", r"'mended' is no type of change\n  available: breaking, added"),
        ("a.md", "'' is no package"),
    ],
)
def test_misnamed_fragment_is_refused_with_the_names_there_are(
    changelog: ModuleType, tmp_path: Path, name: str, problem: str
) -> None:
    with pytest.raises(changelog.BadFragment, match=problem):
        changelog.Fragment.read(fragment(tmp_path, name, "text"))


def test_empty_fragment_is_refused(changelog: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(changelog.BadFragment, match="is empty"):
        changelog.Fragment.read(fragment(tmp_path, "a.core.fixed.md", " \n"))


@pytest.mark.parametrize("older", ["", "\n## 1.1 (2029-01-01)\n\n- core: older\n"])
def test_newest_release_stands_above_the_older_ones(changelog: ModuleType, older: str) -> None:
    result = changelog.insert(f"# Changelog\n\nWords.\n{older}", "## 1.2\n\n- core: new\n")
    assert result == f"# Changelog\n\nWords.\n\n## 1.2\n\n- core: new\n{older}"
