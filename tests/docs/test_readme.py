"""What the README shows is true: the application, the CLI's output, the plugin, the commands."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

from support.documents import ROOT, page

from .programs import environment, run, serving

README = page("README.md")
#: The plugins behind the output that the README shows: a plain install, gevent and Redis.
SHOWN = ("async-gevent", "async-threading", "queue-host", "queue-memory", "queue-redis")
KINDS = {
    "Async mode": "async mode",
    "WebSocket provider": "WebSocket provider",
    "Message queue": "message queue",
    "Store": "store",
}
ROW = re.compile(r"^(?P<mark>[* ])  (?P<name>[\w-]+)  +(?P<rest>\S.*)$")

pytestmark = pytest.mark.timeout(90)


def test_the_application_is_the_example() -> None:
    example = ast.parse((ROOT / "examples/echo.py").read_text())
    assert ast.get_docstring(example)
    example.body = example.body[1:]
    shown = README.block("app.py")
    assert ast.dump(ast.parse(shown)) == ast.dump(example)
    assert len([line for line in shown.splitlines() if line.strip()]) <= 15


def test_the_application_answers(tmp_path: Path) -> None:
    README.write(tmp_path, "app.py")
    client = "\n".join(
        (
            "import socketio, sys",
            "client = socketio.SimpleClient()",
            "client.connect(sys.argv[1])",
            "print(client.call('message', 'hello'), client.receive(timeout=5))",
            "client.disconnect()",
        )
    )
    serve = ("-m", "flask", "--app", "app", "run", "--port", "PORT")
    with serving(*serve, cwd=tmp_path) as url:
        assert run("-c", client, url, cwd=tmp_path) == "got it ['message', 'hello']\n"


def shown_table() -> dict[str, dict[str, bool]]:
    """Return names and selection by kind of part, as the README's console block shows them."""
    (block,) = README.blocks("console")
    found: dict[str, dict[str, bool]] = {}
    kind = ""
    for line in block.text.splitlines():
        title = next((title for title in KINDS if line.strip().startswith(f"{title}  ")), "")
        if title:
            kind = KINDS[title]
            found[kind] = {}
        elif kind and (row := ROW.match(line)):
            found[kind][row["name"]] = row["mark"] == "*"
    return found


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the CLI says, with the plugins that the README shows and its application behind a queue."""
    folder = tmp_path_factory.mktemp("described")
    queue = 'SocketIO(app, message_queue="redis://127.0.0.1/0")'
    (folder / "app.py").write_text(README.block("app.py").replace("SocketIO(app)", queue))
    command = ("-m", "flask", "--app", "app", "socketio", "plugins", "--json")
    found: dict[str, Any] = json.loads(run(*command, cwd=folder, env=environment(*SHOWN)))
    return found


@pytest.mark.parametrize("kind", KINDS.values())
def test_the_output_of_the_cli_has_the_names_that_it_shows(kind: str, described: dict[str, Any]) -> None:
    real = {
        part["name"]: part["selected"]
        for plugin in described["plugins"]
        for part in plugin["parts"]
        if part["kind"] == kind
    }
    shown = shown_table()[kind]
    assert set(shown) == set(real)
    if kind != "WebSocket provider":  # which are usable depends on gevent-websocket being installed
        assert shown == real


def test_the_output_of_the_cli_fits_the_readme() -> None:
    (block,) = README.blocks("console")
    assert block.text.startswith("$ flask --app app socketio plugins\n")
    assert max(map(len, block.text.splitlines())) <= 100


def test_the_plugin_has_twenty_lines() -> None:
    lines = (README.block("pyproject.toml") + README.block("socketio_slowlog.py")).splitlines()
    assert len([line for line in lines if line.strip()]) <= 20


def test_extras_that_the_readme_names_exist() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    section = project.partition("[project.optional-dependencies]\n")[2].partition("\n[")[0]
    extras = set(re.findall(r"^([\w-]+) = ", section, re.MULTILINE))
    named = set(",".join(re.findall(r"flask-socketio-core\[([\w,-]+)\]", README.text)).split(","))
    named |= set(re.findall(r"^\| `([\w-]+)`", README.text, re.MULTILINE))
    assert named <= extras
    assert extras - named <= {"all", "gevent-websocket"}


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "docs/tutorial.md"])
def test_make_targets_that_a_page_names_exist(name: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = " ".join(re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)).split()
    groups = " ".join(re.findall(r"^GROUPS := (.*)$", makefile, re.MULTILINE)).split()
    groups += [path.parent.name for path in ROOT.glob("plugins/*/pyproject.toml")]
    targets = {*phony, *(f"test-{group}" for group in groups)}
    named = {
        word
        for found in re.findall(r"(?:^|`)make ([\w -]+?)(?=  |`| [A-Z]+=|$)", page(name).text, re.MULTILINE)
        for word in found.split()
    }
    assert named - {"test-KIND_NAME"} <= targets


def test_every_path_that_contributing_names_exists() -> None:
    table = page("CONTRIBUTING.md").text.partition("## Where things are")[2].partition("\n## ")[0]
    paths = [
        path
        for row in re.findall(r"^\| (.*?) \|", table, re.MULTILINE)
        for path in re.findall(r"`([^`]+)`", row)
    ]
    base = ROOT / "flask_socketio_core"
    missing = [
        path for path in paths if not (list(ROOT.glob(path.rstrip("/"))) or list(base.glob(path.rstrip("/"))))
    ]
    assert paths
    assert missing == []


@pytest.mark.parametrize("folder", ["", "app", "contracts"])
def test_the_tree_on_the_architecture_page_is_the_one_that_is_there(folder: str) -> None:
    tree = page("docs/architecture.md").text.partition("flask_socketio_core/\n")[2].partition("\nplugins/")[0]
    indent = " " * (8 if folder else 4)
    if folder:
        tree = re.split(r"\n {4}(?! )", tree.partition(f"\n    {folder}/")[2])[0]
    named = [
        name.rstrip("/")
        for line in tree.splitlines()
        if re.match(rf"{indent}\w", line)
        for name in re.split(r" {3,}", line.strip())[0].split()
    ]
    modules = {
        path.stem
        for path in (ROOT / "flask_socketio_core" / folder).iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert sorted(named) == sorted(modules - ({"__init__"} if folder else set()))
