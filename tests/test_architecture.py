"""The arrows between the core's modules point one way, and none points at a plugin."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from flask_socketio_core import queues

ROOT = Path(__file__).resolve().parent.parent
CORE = "flask_socketio_core"
#: From the ground up. A module or folder may import what stands in its own row or in a row before it, type-only
#: imports included. A new module has to be given its place here.
ROWS = (
    ("errors", "quoting", "foreign_options", "repeats", "sendable", "sids", "tracebacks", "values"),
    ("descriptor_rules", "json_modules", "keywords", "options", "origins", "process"),
    ("contracts",),
    ("hookspecs", "concurrency"),
    ("plugins",),
    ("calling", "cluster", "server"),
    (
        "addressing",
        "client_managers",
        "dispatch",
        "handlers",
        "light_context",
        "queues",
        "request_context",
        "trusted_hosts",
    ),
    (
        "binding",
        "compatibility",
        "extension",
        "facade",
        "middleware",
        "namespace",
        "registration",
        "running",
        "sending",
        "testing",
    ),
    ("context", "cli", "test_client", "__pyinstaller"),
    ("__init__",),
)
ROW_OF = {name: number for number, names in enumerate(ROWS) for name in names}
MODULES = sorted((ROOT / CORE).rglob("*.py"))
#: What only a plugin may import.
PLUGIN_TERRITORY = re.compile(
    r"(flask_socketio_(async|queue)_\w+|eventlet|gevent|geventwebsocket|uwsgi|redis|kafka|kombu)(\.|$)"
)
PLUGIN_PACKAGE = re.compile(r"flask[-_]socketio[-_](async|queue)[-_][a-z]")
QUEUE_MODULES = sorted((ROOT / "plugins").glob("queue_*/flask_socketio_*/*.py"))
#: What a message queue imports of the core, as docs/plugins.md says.
FOR_QUEUES = {"contracts", "errors", "hookspecs", "queues"}
MODE_NAMES = {"async_mode", "mode", "async_mode_name"}


def test_every_module_has_its_row() -> None:
    assert MODULES, f"{CORE} has no modules: is this test in the repository?"
    assert sorted({top_of(path) for path in MODULES} - set(ROW_OF)) == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT / CORE)))
def test_no_arrow_points_backwards(path: Path) -> None:
    own = top_of(path)
    limit = ROW_OF.get(own, len(ROWS))
    backward = [
        f"line {line}: {own} imports {name}"
        for line, name in core_imports(path)
        if ROW_OF.get(name, 0) > limit and name != own
    ]
    assert backward == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT / CORE)))
def test_the_core_knows_no_plugin(path: Path) -> None:
    tree = ast.parse(path.read_text())
    imports = [
        f"line {line}: imports {name}" for line, name in imports_of(path) if PLUGIN_TERRITORY.match(name)
    ]
    names = [
        f"line {node.lineno}: names {node.value!r}"
        for node in strings_outside_docstrings(tree)
        if PLUGIN_PACKAGE.search(str(node.value))
    ]
    compared = [f"line {node.lineno}: compares an async mode's name" for node in mode_comparisons(tree)]
    assert imports + names + compared == []


@pytest.mark.parametrize("path", QUEUE_MODULES, ids=lambda path: path.parent.name + "/" + path.name)
def test_our_queues_use_what_every_author_of_a_queue_may_use(path: Path) -> None:
    others = [f"line {line}: {name}" for line, name in core_imports(path) if name not in FOR_QUEUES]
    assert others == []


def test_what_authors_of_queues_may_use_is_named() -> None:
    assert sorted(queues.__all__) == sorted(name for name in vars(queues) if is_public(queues, name))
    page = (ROOT / "docs" / "plugins.md").read_text()
    assert [name for name in queues.__all__ if f"`{name}" not in page and f"queues.{name}(" not in page] == []


def test_only_the_plugin_manager_touches_pluggy() -> None:
    # The hook specifications need pluggy's marker, and the package hands a marker to plugin authors.
    allowed = {"plugins", "hookspecs", "__init__"}
    users = {
        top_of(path) for path in MODULES for _, name in imports_of(path) if name.split(".")[0] == "pluggy"
    }
    assert users <= allowed


def is_public(module: ModuleType, name: str) -> bool:
    return not name.startswith("_") and name != "annotations" and not inspect.ismodule(getattr(module, name))


def top_of(path: Path) -> str:
    """Return the name in ``ROWS`` that stands for ``path``."""
    return path.relative_to(ROOT / CORE).parts[0].removesuffix(".py")


def core_imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and row name of everything of the core that ``path`` imports."""
    for line, name in imports_of(path):
        parts = name.split(".")
        if parts[0] == CORE:
            yield line, parts[1] if len(parts) > 1 and parts[1] in ROW_OF else "__init__"


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and full dotted name of everything that ``path`` imports, anywhere in it."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def strings_outside_docstrings(tree: ast.Module) -> Iterator[ast.Constant]:
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node


def mode_comparisons(tree: ast.Module) -> Iterator[ast.Compare]:
    """Yield comparisons of a variable or attribute that holds a mode's name with a string."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            if any(named(side) in MODE_NAMES for side in sides) and any(map(holds_string, sides)):
                yield node


def named(node: ast.expr) -> str | None:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else None


def holds_string(node: ast.expr) -> bool:
    return any(isinstance(part, ast.Constant) and isinstance(part.value, str) for part in ast.walk(node))
