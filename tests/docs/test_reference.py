"""The reference says what the code says."""

from __future__ import annotations

import inspect
import re
from types import ModuleType
from typing import Any

import pytest

import flask_socketio_core
from flask_socketio_core import Namespace, SocketIO, SocketIOTestClient, errors
from flask_socketio_core.app.facade import ServerFacade
from flask_socketio_core.common import options
from flask_socketio_core.contracts.settings import SETTINGS
from support.documents import page, pages


def test_generated_parts_are_current(reference: ModuleType) -> None:
    stale = [
        path.name
        for path in reference.pages()
        if reference.fill(path.read_text("utf-8")) != path.read_text("utf-8")
    ]
    assert stale == [], "run tools/reference.py"


def test_a_part_that_does_not_exist_is_an_error(reference: ModuleType) -> None:
    with pytest.raises(reference.CannotGenerate, match=r"no part 'optoins'\n  available: options"):
        reference.fill("<!-- generated: optoins -->\n<!-- end -->")


LIMITS: dict[str, Any] = {
    setting.name: setting.default
    for setting in (*options.SETTINGS.values(), *SETTINGS)
    if setting.kind in (int, float)
}
"""The options that are numbers, those of every queue included, with their defaults."""
NO_LIMITS = {"ping_interval", "ping_interval_grace", "compression_threshold", "max_loop_block"}
NO_LIMITS |= {"heartbeat_interval_s", "replay_window_s", "once_ttl"}
"""Those that bound nothing a client could take."""


def test_every_limit_and_its_default_are_on_the_security_page() -> None:
    section = page("docs/security.md").text.partition("\n## Limits\n")[2].partition("\n## ")[0]
    shown = dict(re.findall(r"^\| `(\w+)` \| ([^|]*) \|", section, re.MULTILINE))
    assert set(shown) == set(LIMITS) - NO_LIMITS, (
        "an option that is a number has a row under Limits in docs/security.md, or a place in NO_LIMITS"
    )
    wrong = {
        name: text
        for name, text in shown.items()
        if LIMITS[name] is not None and amount(text) != LIMITS[name]
    }
    assert wrong == {}


def amount(text: str) -> float:
    """Return the number that a cell begins with, in the unit of the option."""
    number, unit = (text + " ").split(" ")[:2]
    return float(number.replace(",", "")) * {"MB": 1e6, "MiB": 1 << 20}.get(unit, 1)


@pytest.mark.parametrize("name", options.option_names())
def test_every_option_is_in_the_reference(name: str) -> None:
    assert f"`{name}`" in page("docs/options.md").text


def test_defaults_are_those_of_the_code(reference: ModuleType) -> None:
    rows = [line.split(" | ") for line in reference.options().splitlines()[2:]]
    shown = {row[0].strip("| `"): row[2].strip("`") for row in rows}
    used = options.Options()
    for name, text in shown.items():
        value = getattr(used, name)
        assert eval(text) == (list(value) if isinstance(value, tuple) else value), name


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, thing in vars(errors).items()
        if inspect.isclass(thing) and issubclass(thing, errors.SocketIOError)
    ],
)
def test_every_error_says_what_to_do(name: str) -> None:
    assert any(line.startswith(f"| `{name}`") for line in page("docs/errors.md").text.splitlines())


@pytest.mark.parametrize("thing", flask_socketio_core.__all__)
def test_every_public_name_is_in_the_reference(thing: str) -> None:
    text = "".join(page(f"docs/{name}.md").text for name in ("api", "errors", "hooks"))
    assert re.search(rf"\b{thing}\b", text)


@pytest.mark.parametrize("owner", [SocketIO, Namespace, ServerFacade, SocketIOTestClient])
def test_every_public_method_has_a_docstring_for_the_reference(owner: type) -> None:
    assert re.search(
        rf"^.. autoclass:: [\w.]+\.{owner.__name__}\n   :members:", page("docs/api.md").text, re.M
    )
    methods = inspect.getmembers(owner, inspect.isfunction)
    assert [name for name, method in methods if not name.startswith("_") and not method.__doc__] == []


@pytest.mark.parametrize("variable", ["SOCKETIO_LOAD_PLUGINS", "SOCKETIO_TRACE_PLUGINS"])
def test_every_environment_variable_is_in_the_reference(variable: str) -> None:
    assert variable in page("docs/options.md").text


def test_pages_with_generated_parts_are_found(reference: ModuleType) -> None:
    assert {path.name for path in reference.pages()} == {
        "attributes.md",
        "errors.md",
        "options.md",
        "plugins.md",
        "queues.md",
        "stores.md",
    }
    assert len(pages()) > len(reference.pages())
