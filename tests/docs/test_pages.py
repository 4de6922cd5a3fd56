"""Every page: its links lead somewhere, its Python is Python and imports what exists."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

from support.documents import ROOT, Page, pages

PAGES = pages()
#: A page stays readable in an editor. Tables and code are as wide as they are.
WIDTH = 140
TESTS = ("tests/**/*.py", "plugins/*/tests/**/*.py", "flask_socketio_core/testing/conformance/*.py")
TEST = re.compile(r"^ *def (test_\w+)\(", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_link_leads_nowhere(page: Page) -> None:
    broken = []
    for target in page.links():
        path, _, anchor = target.partition("#")
        goal = (page.path.parent / path).resolve() if path else page.path
        if not goal.exists() or (anchor and goal.suffix == ".md" and anchor not in Page(goal).anchors()):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_in_a_page_can_be_parsed(page: Page) -> None:
    for block in page.blocks("python"):
        try:
            ast.parse(block.text)
        except SyntaxError as error:
            pytest.fail(f"{page.name}, code block of line {block.line}: {error}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_imports_from_this_project_exists(page: Page) -> None:
    missing = [
        f"line {block.line}: from {module} import {name}"
        for block in page.blocks("python")
        for module, name in own_imports(block.text)
        if not exists(module, name)
    ]
    assert missing == []


@pytest.fixture(scope="module")
def tests() -> frozenset[str]:
    """The names of all tests: those of the project, and those that it gives to authors of plugins."""
    files = [path for place in TESTS for path in ROOT.glob(place)]
    return frozenset(name for path in files for name in TEST.findall(path.read_text("utf-8")))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tests_that_a_page_names_exist(page: Page, tests: frozenset[str]) -> None:
    assert set(re.findall(r"`(test_\w+)`", page.text)) - tests == set()


def test_each_fault_names_its_test() -> None:
    (faults,) = (page for page in PAGES if page.name == "docs/faults.md")
    rows = re.findall(r"^\| .*\|$", faults.text, re.MULTILINE)
    assert len(rows) > 20
    assert [row for row in rows if not re.search(r"\| (`test_\w+`(, )?)+ \|$|\| test \|$", row)] == []


def own_imports(source: str) -> list[tuple[str, str]]:
    return [
        (node.module, alias.name)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("flask_socketio_")
        for alias in node.names
        if node.module is not None
    ]


def exists(module: str, name: str) -> bool:
    try:
        return hasattr(importlib.import_module(module), name) or bool(
            importlib.import_module(f"{module}.{name}")
        )
    except ImportError:
        return False


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_has_one_title_and_no_endless_lines(page: Page) -> None:
    lines = page.text.splitlines()
    assert [line for line in lines[:1] if line.startswith("# ")], f"{page.name} does not begin with its title"
    long = [number for number, line in enumerate(lines, 1) if len(line) > WIDTH and not line.startswith("|")]
    assert long == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        path = waiting.pop()
        if path not in reached:
            reached.add(path)
            targets = [link.partition("#")[0] for link in Page(path).links()]
            goals = [(path.parent / target).resolve() for target in targets if target]
            waiting += [goal for goal in goals if goal.suffix == ".md" and goal.exists()]
            waiting += [found for goal in goals if goal.is_dir() for found in goal.glob("*.md")]
    assert [page.name for page in PAGES if page.path not in reached] == []
