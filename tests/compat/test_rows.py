"""COMPAT.md and its tests belong together."""

from __future__ import annotations

import ast
import re

from support.servers import TESTS

ROWS = (TESTS.parent / "COMPAT.md").read_text()
TEST_FILE = TESTS / "compat" / "test_differences.py"


def named_tests() -> list[str]:
    """Return the test named in the last column of each row."""
    rows = [
        line
        for line in ROWS.splitlines()
        if line.startswith("| ") and not line.startswith("| Flask-SocketIO 5.7")
    ]
    named = [re.search(r"\| `(test_\w+)` \|$", row) for row in rows]
    assert all(named), (
        f"a row names no test: {[row for row, name in zip(rows, named, strict=True) if name is None]}"
    )
    return [name[1] for name in named if name is not None]


def existing_tests() -> set[str]:
    """Return the tests of intended differences."""
    tree = ast.parse(TEST_FILE.read_text())
    return {
        node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def test_each_row_names_a_test_that_exists() -> None:
    assert set(named_tests()) - existing_tests() == set()


def test_each_test_of_a_difference_has_one_row() -> None:
    assert sorted(named_tests()) == sorted(existing_tests())
