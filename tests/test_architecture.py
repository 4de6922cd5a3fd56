"""The arrows between the core's modules point one way, and none points at a plugin.

Each rule takes a folder with the core in it and returns what breaks it, so that a test can break it in a copy.
"""

from __future__ import annotations

import ast
import inspect
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from flask_socketio_core import queues

ROOT = Path(__file__).resolve().parent.parent
CORE = "flask_socketio_core"
#: From the ground up. A module may import what stands in its own row or in a row before it, type-only imports included.
#: A folder stands for all modules in it, except for those that are named themselves.
ROWS = (
    ("common.quoting",),
    ("errors",),
    ("common",),
    ("websocket_protocol",),
    ("contracts",),
    ("hookspecs", "queues", "selection", "store", "transport"),
    ("server",),
    ("cluster",),
    ("app",),
    ("cli", "namespace", "test_client", "testing", "__pyinstaller"),
    ("__init__",),
)
ROW_OF = {name: number for number, names in enumerate(ROWS) for name in names}
#: What only a plugin may import.
PLUGIN_TERRITORY = re.compile(
    r"(flask_socketio_(?!core(\.|$))\w+|eventlet|gevent|geventwebsocket|uwsgi|redis|kafka|kombu)(\.|$)"
)
PLUGIN_PACKAGE = re.compile(
    r"flask[-_]socketio[-_]((async|queue|observe)[-_][a-z]|admin[-_]ui|limits|presence)"
)
#: Folders in ``contracts`` that export nothing themselves.
PARENTS = ("contracts.concurrency", "contracts.host")
MODE_NAMES = {"async_mode", "mode", "async_mode_name"}
#: Flask and the library of its commands. One module outside of these folders asks whether ``flask run`` is running.
FLASK = re.compile(r"(flask|click)(\.|$)")
KNOWS_FLASK = ("app", "cli", "contracts.process")
#: What is above the engine reaches it through these: what it is told, how it is made, the call that waits, the watch,
#: jobs in order, and which workers of other web servers run.
ENGINE = ("server", "transport", "websocket_protocol")
DOORS = (
    "server.interface",
    "server.engine",
    "server.calling",
    "server.watchdog",
    "server.mailbox",
    "transport.handover.looking",
)
#: The test client is a transport of its own, without a network; the conformance suites have a client that is none.
TRANSPORTS_OF_OTHERS = ("app.test_client", "app.test_transport", "testing.echo")
#: What has the plugin manager's library: its user, the marker of the specifications.
PLUGGY = ("selection", "contracts.hookspecs")
#: What knows of forks, and what knows its own process again after it has replaced its program.
KNOWS_FORKS = ("contracts.fork", "cli.launch")
#: What a plugin may import, besides ``contracts`` and what is in it.
DOORS_OF_PLUGINS = ("errors", "hookspecs", "queues")
#: What the ``SocketIO`` object has for its own parts; a plugin asks it for what it wants, as ``wrap_handlers()``.
PARTS_OF_SOCKETIO = re.compile(r"handlers|_\w+")
SOCKETIO_NAMES = {"socketio", "_socketio"}


@dataclass(frozen=True)
class Import:
    """One import.

    :param name: in the core without its name: ``server.packets``, ``__init__`` for the package itself; else in full.
    :param what: the name that is imported from it, or ``""``.
    """

    line: int
    name: str
    what: str
    ours: bool


class Package:
    """The modules of one package by their dotted names, without that of the package."""

    def __init__(self, folder: Path, name: str = CORE) -> None:
        self.folder = folder
        self.name = name
        self.paths = {self._dotted(path): path for path in sorted((folder / name).rglob("*.py"))}

    def _dotted(self, path: Path) -> str:
        parts = path.relative_to(self.folder / self.name).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)

    @cached_property
    def imports(self) -> dict[str, list[Import]]:
        """What each module imports, anywhere in it."""
        return {name: list(self._imports(path)) for name, path in self.paths.items()}

    def _imports(self, path: Path) -> Iterator[Import]:
        package = path.relative_to(self.folder).parent.parts
        for node in import_statements(path.read_text()):
            if isinstance(node, ast.Import):
                yield from (self._import(node.lineno, alias.name, "") for alias in node.names)
            else:
                base = package[: len(package) - node.level + 1] if node.level else ()
                module = ".".join([*base, *([node.module] if node.module else [])])
                yield from (self._import(node.lineno, module, alias.name) for alias in node.names)

    def _import(self, line: int, module: str, what: str) -> Import:
        if module != self.name and not module.startswith(f"{self.name}."):
            return Import(line, module, what, False)
        inner = module[len(self.name) + 1 :]
        below = f"{inner}.{what}" if inner else what
        if below in self.paths:
            return Import(line, below, "", True)
        return Import(line, inner or "__init__", what, True)


@cache
def parse(text: str) -> ast.Module:
    """Parse a module; once, for all the copies that have it as it is."""
    return ast.parse(text)


@cache
def import_statements(text: str) -> list[ast.Import | ast.ImportFrom]:
    return [node for node in ast.walk(parse(text)) if isinstance(node, (ast.Import, ast.ImportFrom))]


def within(name: str, places: tuple[str, ...]) -> bool:
    """Say whether a module is one of these or in one of these folders."""
    return any(name == place or name.startswith(f"{place}.") for place in places)


def place_of(name: str) -> str:
    """Return the longest name in ``ROWS`` that stands for a module, or the module's own."""
    parts = name.split(".")
    heads = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
    return next((head for head in heads if head in ROW_OF), name)


# ------------------------------------------------------------------------------------------------------ the rules


def without_a_row(core: Package) -> list[str]:
    return [name for name in core.paths if place_of(name) not in ROW_OF]


def backward_arrows(core: Package) -> list[str]:
    return [
        f"{name}, line {found.line}: imports {found.name}"
        for name, imports in core.imports.items()
        for found in imports
        if found.ours and ROW_OF.get(place_of(found.name), 0) > ROW_OF.get(place_of(name), len(ROWS))
    ]


def circles(package: Package) -> list[str]:
    """Return the sets of modules that import each other, in whatever way, type-only imports included."""
    reached: dict[str, set[str]] = {}
    arrows = {
        name: {found.name for found in imports if found.ours} for name, imports in package.imports.items()
    }
    for name in arrows:
        seen, waiting = set[str](), [name]
        while waiting:
            for target in arrows.get(waiting.pop(), set()) - seen:
                seen.add(target)
                waiting.append(target)
        reached[name] = seen
    found = {
        frozenset(other for other in reached[name] if name in reached.get(other, ()))
        for name in arrows
        if name in reached[name]
    }
    return sorted(", ".join(sorted(circle)) for circle in found)


def names_of_plugins(core: Package) -> list[str]:
    imports = [
        f"{name}, line {found.line}: imports {found.name}"
        for name, all_imports in core.imports.items()
        for found in all_imports
        if not found.ours and PLUGIN_TERRITORY.match(f"{found.name}.{found.what}")
    ]
    for name, path in core.paths.items():
        tree = parse(path.read_text())
        imports += [
            f"{name}, line {node.lineno}: names {node.value!r}"
            for node in strings_outside_docstrings(tree)
            if PLUGIN_PACKAGE.search(str(node.value))
        ]
        imports += [f"{name}, line {node.lineno}: compares a mode's name" for node in mode_comparisons(tree)]
    return imports


def flask_elsewhere(core: Package) -> list[str]:
    return [
        f"{name}, line {found.line}: imports {found.name}"
        for name, imports in core.imports.items()
        for found in imports
        if not found.ours and FLASK.match(found.name) and not within(name, KNOWS_FLASK)
    ]


def ways_past_the_doors_of_the_engine(core: Package) -> list[str]:
    return [
        f"{name}, line {found.line}: imports {found.name}"
        for name, imports in core.imports.items()
        for found in imports
        if found.ours
        and within(found.name, ENGINE)
        and not within(name, (*ENGINE, "contracts", *TRANSPORTS_OF_OTHERS))
        and found.name not in DOORS
    ]


def pluggy_elsewhere(core: Package) -> list[str]:
    return [
        f"{name}, line {found.line}: imports pluggy"
        for name, imports in core.imports.items()
        for found in imports
        if found.name.split(".")[0] == "pluggy" and not within(name, PLUGGY)
    ]


def forks_elsewhere(package: Package) -> list[str]:
    """Return where the interpreter is to tell of forks, or process ids are compared, except in the module for that."""
    return [
        f"{name}, line {node.lineno}: {ast.unparse(node)}"
        for name, path in package.paths.items()
        for node in ast.walk(parse(path.read_text()))
        if (isinstance(node, ast.Attribute) and ast.unparse(node) == "os.register_at_fork")
        or (isinstance(node, ast.Compare) and "getpid" in ast.unparse(node))
        if not within(name, KNOWS_FORKS)
    ]


def clients_of_tests_in_production(core: Package) -> list[str]:
    """Return the modules that are loaded with the package and load a test client."""
    testing = ("testing", "test_client", "app.test_client", "app.test_transport")
    found, seen, waiting = [], {"__init__"}, ["__init__"]
    while waiting:
        name = waiting.pop()
        for target in at_import(core, name) - seen:
            seen.add(target)
            if within(target, testing):
                found.append(f"{name} loads {target}")
            else:
                waiting.append(target)
    return found


def beside_the_room(plugin: Package, core: Package, allowed: tuple[str, ...]) -> list[str]:
    """Return what a plugin imports of the core that is not promised: neither in the room and in its ``__all__``, nor
    what an application imports.
    """
    wrong = []
    for name, imports in plugin.imports.items():
        for found in imports:
            if not within(found.name, (CORE,)):
                continue
            inner = found.name[len(CORE) + 1 :]
            below = f"{inner}.{found.what}" if inner else found.what
            module = below if below in core.paths else inner
            if not module and found.what in exports(core, "__init__"):
                continue
            if not within(module, allowed):
                wrong.append(f"{name}, line {found.line}: imports {module or CORE}")
            elif (
                module == inner and within(module, ("contracts",)) and found.what not in exports(core, module)
            ):
                wrong.append(f"{name}, line {found.line}: {module} does not promise {found.what}")
    return wrong


def into_the_parts(plugin: Package) -> list[str]:
    """Return where a plugin uses what the ``SocketIO`` object has for its own parts."""
    return [
        f"{name}, line {node.lineno}: {ast.unparse(node)}"
        for name, path in plugin.paths.items()
        for node in ast.walk(parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and named(node.value) in SOCKETIO_NAMES
        and PARTS_OF_SOCKETIO.fullmatch(node.attr)
    ]


def unnamed_exports(core: Package) -> list[str]:
    """Return the modules of the plugins' room without ``__all__``."""
    return [
        name
        for name in core.paths
        if within(name, ("contracts",)) and name not in PARENTS and not exports(core, name)
    ]


RULES: dict[str, Callable[[Package], list[str]]] = {
    rule.__name__: rule
    for rule in (
        without_a_row,
        backward_arrows,
        circles,
        names_of_plugins,
        flask_elsewhere,
        ways_past_the_doors_of_the_engine,
        pluggy_elsewhere,
        forks_elsewhere,
        clients_of_tests_in_production,
        unnamed_exports,
    )
}
#: For each rule, a line in a module that breaks it.
BREAKS = {
    "without_a_row": ("stray", "import sys"),
    "backward_arrows": ("transport.session", "from ..server.clients import Client"),
    "circles": ("transport.upgrade", "from .websocket import WebSocketEntrance"),
    "names_of_plugins": ("cluster.link", "from redis import Redis"),
    "flask_elsewhere": ("server.clients", "from flask import Flask"),
    "ways_past_the_doors_of_the_engine": ("app.sending", "from ..server.rooms import Rooms"),
    "pluggy_elsewhere": ("cluster.cluster", "import pluggy"),
    "forks_elsewhere": ("cluster.link", "STARTED_HERE = PID == os.getpid()"),
    "clients_of_tests_in_production": ("app.sending", "from .test_client import SocketIOTestClient"),
    "unnamed_exports": ("contracts.stray", "import sys"),
}


@pytest.fixture(scope="module")
def core() -> Package:
    package = Package(ROOT)
    assert len(package.paths) > 50, f"{CORE} has no modules: is this test in the repository?"
    return package


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / CORE, tmp_path / CORE, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.mark.parametrize("rule", RULES)
def test_nothing_breaks(rule: str, core: Package) -> None:
    assert RULES[rule](core) == []


@pytest.mark.parametrize("rule", RULES)
def test_a_module_that_breaks_it_is_found_by(rule: str, copied: Path) -> None:
    name, line = BREAKS[rule]
    path = copied / CORE / (name.replace(".", "/") + ".py")
    before = path.read_text() if path.exists() else ""
    path.write_text(f"{before}\n{line}\n")
    complaints = RULES[rule](Package(copied))
    assert len(complaints) == 1 and name in complaints[0]


@pytest.mark.parametrize(
    "line",
    [
        "import eventlet.hubs",
        "NAME = 'flask-socketio-async-gevent'",
        "def green(mode): return mode.name == 'gevent' or async_mode == 'gevent'",
        "def load():\n    import kombu",
    ],
)
def test_a_plugin_is_found_in_whatever_form_the_core_names_it(line: str, copied: Path) -> None:
    path = copied / CORE / "cluster" / "link.py"
    path.write_text(f"{path.read_text()}\n{line}\n")
    assert len(names_of_plugins(Package(copied))) == 1


@pytest.mark.parametrize("line", ["from ..app.extension import SocketIO", "from .. import SocketIO"])
def test_an_arrow_back_is_found_where_only_types_are_imported(line: str, copied: Path) -> None:
    path = copied / CORE / "server" / "rooms.py"
    path.write_text(path.read_text().replace("if TYPE_CHECKING:\n", f"if TYPE_CHECKING:\n    {line}\n", 1))
    assert len(backward_arrows(Package(copied))) == 1


PLUGINS = [Package(path.parent, path.name) for path in sorted((ROOT / "plugins").glob("*/flask_socketio_*"))]


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda plugin: plugin.name)
def test_our_plugins_use_what_every_author_may_use(plugin: Package, core: Package) -> None:
    assert beside_the_room(plugin, core, ("contracts", *DOORS_OF_PLUGINS)) == []
    assert into_the_parts(plugin) == []
    assert circles(plugin) == []
    assert forks_elsewhere(plugin) == []


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("from flask_socketio_core.server.rooms import Rooms", "imports server.rooms"),
        ("from flask_socketio_core import __version__", f"imports {CORE}"),
        (
            "from flask_socketio_core.contracts.urls import mask_logs",
            "contracts.urls does not promise mask_logs",
        ),
    ],
)
def test_a_plugin_that_uses_more_is_found(line: str, complaint: str, core: Package, tmp_path: Path) -> None:
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "hooks.py").write_text(f"{line}\n")
    found = beside_the_room(Package(tmp_path, "strange"), core, ("contracts", *DOORS_OF_PLUGINS))
    assert found == [f"hooks, line 1: {complaint}"]


@pytest.mark.parametrize(
    "line", ["socketio.handlers.add()", "self._socketio._handlers", "socketio._binding()"]
)
def test_a_plugin_that_uses_parts_of_the_object_is_found(line: str, tmp_path: Path) -> None:
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "hooks.py").write_text(
        f"socketio.wrap_handlers(limited)\nsocketio.server.handlers\n{line}\n"
    )
    (found,) = into_the_parts(Package(tmp_path, "strange"))
    assert found.startswith("hooks, line 3: ")


@pytest.mark.parametrize("name", [name for name in Package(ROOT).paths if within(name, ("contracts",))])
def test_what_the_room_promises_is_there(name: str, core: Package) -> None:
    module = import_module(f"{CORE}.{name}")
    assert [export for export in exports(core, name) if not hasattr(module, export)] == []


def test_what_authors_of_queues_may_use_is_named() -> None:
    assert sorted(queues.__all__) == sorted(name for name in vars(queues) if is_public(queues, name))
    page = (ROOT / "docs" / "plugins.md").read_text()
    assert [name for name in queues.__all__ if f"`{name}" not in page and f"queues.{name}(" not in page] == []


# ------------------------------------------------------------------------------------------------------- reading


def is_public(module: ModuleType, name: str) -> bool:
    return not name.startswith("_") and name != "annotations" and not inspect.ismodule(getattr(module, name))


def exports(core: Package, name: str) -> list[str]:
    """Return a module's ``__all__``, nothing if it has none."""
    for node in parse(core.paths[name].read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return []


def at_import(core: Package, name: str) -> set[str]:
    """Return the modules that are loaded with a module: what it imports outside of functions and of type checks."""
    lines: set[int] = set()
    waiting: list[ast.AST] = [parse(core.paths[name].read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            lines.add(node.lineno)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            waiting += ast.iter_child_nodes(node)
    return {found.name for found in core.imports[name] if found.ours and found.line in lines}


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
