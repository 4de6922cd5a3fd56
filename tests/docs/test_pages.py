"""Every page: its links lead somewhere, its Python is Python and imports what exists."""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.metadata
import json
import re
from pathlib import Path

import pytest

from support.clients import JAVA_VERSION, JS
from support.documents import ROOT, Page, page, pages

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


def test_what_the_page_for_who_is_on_call_quotes_is_what_the_program_says() -> None:
    table = page("docs/start/on_call.md").text.partition("## From what you see to what to do")[2]
    quoted = re.findall(r"^\| ([^|]*) \|", table.partition("\n## ")[0], re.MULTILINE)
    texts = [text for cell in quoted for text in re.findall(r"`([^`]+)`", cell) if " " in text]
    pieces = {piece.strip() for text in texts for piece in text.split("...") if len(piece.strip()) > 3}
    assert len(pieces) > 10
    assert sorted(piece for piece in pieces if piece not in said()) == []


def test_the_clients_that_are_said_to_be_tested_are_those_of_the_tests() -> None:
    table = page("docs/clients.md").text.partition("In other languages:")[2]
    rows = re.findall(r"^\| (\w+).* \| ([^|]*\d[^|]*) \|$", table, re.MULTILINE)
    tested = {language: re.findall(r"\d+(?:\.\d+)*", text) for language, text in rows}
    packages = json.loads((JS / "package.json").read_text())["dependencies"]
    versions = [text.rpartition("^")[2] for name, text in packages.items() if "client" in name]
    assert set(tested) == {"JavaScript", "Java", "Python"}
    assert len(tested["JavaScript"]) == len(versions)
    assert [text for text in versions if not text.startswith(tuple(tested["JavaScript"]))] == []
    assert tested["Java"] == [JAVA_VERSION]
    assert tested["Python"] == [importlib.metadata.version("python-socketio").partition(".")[0]]


@functools.cache
def said() -> str:
    """Return all texts in the source of the core, and its command lines."""
    sources = [path.read_text() for path in (ROOT / "flask_socketio_core").rglob("*.py")]
    texts = [
        node.value
        for source in sources
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    return "\n".join([*texts, "flask socketio check"])
