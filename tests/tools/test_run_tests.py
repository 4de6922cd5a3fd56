"""Every test belongs to one group, and make knows every group."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

TOOL = "run_tests"
ROOT = Path(__file__).resolve().parent.parent.parent


def test_no_test_file_is_in_two_groups_or_in_none(tool: ModuleType) -> None:
    groups = tool.all_groups()
    for name in tool.LEFT_OUT:
        del groups[name]
    files = [*ROOT.glob("tests/**/test_*.py"), *ROOT.glob("plugins/[a-z]*/tests/**/test_*.py")]
    files = [path for path in files if "node_modules" not in path.parts]
    assert {path: holders for path in files if len(holders := holding(groups, path)) != 1} == {}


def holding(groups: dict[str, list[str]], path: Path) -> list[str]:
    """Return the groups that run ``path``."""
    return [name for name, arguments in groups.items() if is_among(arguments, path)]


def is_among(arguments: list[str], path: Path) -> bool:
    ignored = [ROOT / word.partition("=")[2] for word in arguments if word.startswith("--ignore=")]
    wanted = [ROOT / word for word in arguments if not word.startswith("-")]
    return any(path.is_relative_to(folder) for folder in wanted) and not any(
        path.is_relative_to(folder) for folder in ignored
    )


def test_make_has_a_target_for_every_group(tool: ModuleType) -> None:
    (line,) = re.findall(r"^GROUPS := (.*) \$\(PLUGINS\)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {*line.split()} == {name for name in tool.all_groups() if not (ROOT / "plugins" / name).is_dir()}


def test_unknown_group_is_refused_with_the_names_there_are(
    tool: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tool.main(["coer"]) == 2
    assert re.search(r"no tests are called coer\n  available: .*core", capsys.readouterr().err)


def test_group_that_outstays_its_time_is_ended_and_fails(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "test_slow.py").write_text("import time\ndef test_slow(): time.sleep(60)\n")
    monkeypatch.setattr(tool, "GROUP_LIMIT_S", 1)
    with open(tmp_path / "output", "w+") as output:
        result = tool.run_group("slow", [str(tmp_path)], output)
    assert result.outcome == "ended: took longer than 1 s"
    assert not result.passed
