"""The examples in the documentation work as they stand there."""

from __future__ import annotations

import ast
import importlib
import logging
import re
from pathlib import Path

import pytest
from flask import Flask

import flask_socketio_core
from flask_socketio_core import SocketIO
from flask_socketio_core.selection import ASYNC_MODE, Plugins
from support.environments import ROOT
from support.plugins import MakeDistribution

PAGES = ("plugins.md", "hooks.md")
FOR_APPLICATIONS = [f"flask_socketio_core.{name}" for name in flask_socketio_core.__all__]


def blocks(page: str, language: str = "python") -> list[str]:
    text = (ROOT / "docs" / page).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_every_example_is_python(page: str) -> None:
    for number, source in enumerate(blocks(page)):
        compile(source, f"{page}, example {number}", "exec")


def test_the_plugin_in_20_lines_has_20_lines_and_runs(
    make_distribution: MakeDistribution, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    source, project = blocks("plugins.md")[0], blocks("plugins.md", "toml")[0]
    assert len([line for line in (source + project).splitlines() if line]) <= 20
    monkeypatch.setenv("SOCKETIO_LOAD_PLUGINS", "slowlog")
    make_distribution("socketio-slowlog", plugins={"slowlog": ("socketio_slowlog", source)})
    plugins = Plugins()
    with caplog.at_level(logging.WARNING):
        plugins.event_after(sid="s", namespace="/", event="quick", duration_s=0.1)
        plugins.event_after(sid="s", namespace="/", event="slow", duration_s=0.7)
    assert [record.getMessage() for record in caplog.records] == ["event slow took 0.7 s"]


def test_the_observer_in_full_runs(
    make_distribution: MakeDistribution, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SOCKETIO_LOAD_PLUGINS", "audit")
    make_distribution("socketio-audit", plugins={"audit": ("socketio_audit", blocks("hooks.md")[-1])})
    with caplog.at_level(logging.WARNING):
        Plugins().event_after(sid="s", namespace="/", event="slow", duration_s=0.7)
    assert "event slow took 0.7 s" in caplog.text


def test_the_plugin_that_asks_its_copies_runs(
    make_distribution: MakeDistribution, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source,) = (block for block in blocks("plugins.md") if "on_topic" in block)
    monkeypatch.setenv("SOCKETIO_LOAD_PLUGINS", "whereami,async-threading,queue-memory")
    make_distribution("socketio-whereami", plugins={"whereami": ("socketio_whereami", source)})
    servers = [SocketIO(Flask(name), message_queue="memory://whereami") for name in ("first", "second")]
    try:
        for socketio in servers:
            app = socketio._binding().app
            assert app is not None
            socketio.test_client(app)
        names_of_all = importlib.import_module("socketio_whereami").names_of_all
        assert names_of_all(servers[1]) == ["I am first", "I am second"]
    finally:
        for socketio in servers:
            socketio.close()


def promised_modules() -> list[str]:
    """Return the modules that the page lets a plugin import."""
    table = (ROOT / "docs" / "plugins.md").read_text().partition("What a plugin may import")[2]
    return re.findall(r"^\| `([a-z_.]+)` \|", table.partition("\n\n### ")[0], re.MULTILINE)


@pytest.mark.parametrize(
    "folder", sorted((ROOT / "plugins").glob("*/flask_socketio_*")), ids=lambda path: path.name
)
def test_our_plugins_import_what_the_page_lets_others_import(folder: Path) -> None:
    allowed = tuple(f"flask_socketio_core.{name}" for name in promised_modules())
    imported = [
        name
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("flask_socketio_core")
        for name in [node.module or ""] + [f"{node.module}.{alias.name}" for alias in node.names]
        if name != "flask_socketio_core" and name not in FOR_APPLICATIONS
    ]
    assert imported
    assert [
        name for name in imported if not f"{name}.".startswith(tuple(f"{part}." for part in allowed))
    ] == []


@pytest.mark.parametrize("name", promised_modules())
def test_what_a_plugin_may_import_is_in_the_reference(name: str) -> None:
    reference = (ROOT / "docs" / "plugin_api.md").read_text()
    assert re.search(rf"^.. auto\w+:: flask_socketio_core\.{re.escape(name)}\b", reference, re.MULTILINE)


def test_the_priorities_in_the_table_are_those_of_our_modes() -> None:
    text = (ROOT / "docs" / "plugins.md").read_text()
    table = {name: int(number) for number, name in re.findall(r"^\| (\d+) \| (\w+) \|$", text, re.MULTILINE)}
    ours = {part.name: part.priority for part in Plugins().describe().parts if part.kind == ASYNC_MODE}
    assert {name: table[name] for name in ours} == ours
