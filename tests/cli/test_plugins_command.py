"""`flask socketio plugins` shows what there is, what is selected, and why."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from click.testing import Result
from flask import Flask

from flask_socketio_core import SocketIO
from flask_socketio_core.cli.plugins_view import view
from flask_socketio_core.selection import (
    ASYNC_MODE,
    MESSAGE_QUEUE,
    Description,
    PartDescription,
    PluginDescription,
    Plugins,
)

from .apps import make_app

Invoke = Callable[..., Result]


def line_of(result: Result, name: str) -> str:
    return next(line for line in result.output.splitlines() if line[1:].split()[:1] == [name])


def test_it_marks_the_selected_parts_and_says_why(invoke: Invoke) -> None:
    result = invoke(make_app(message_queue="memory://"), "plugins")
    assert result.exit_code == 0
    mode = line_of(result, "threading")
    assert mode.startswith("*")
    assert "flask-socketio-async-threading " in mode
    assert "ok: the only one usable here" in mode
    assert line_of(result, "werkzeug").startswith("*")
    assert line_of(result, "memory").startswith("*")
    assert "ok: claims memory://" in line_of(result, "memory")


def test_what_is_not_selected_is_not_marked(invoke: Invoke) -> None:
    memory = line_of(invoke(make_app(), "plugins"), "memory")
    assert memory.startswith(" ")
    assert memory.endswith("ok: not asked for")


def test_a_wish_is_the_reason(invoke: Invoke) -> None:
    result = invoke(make_app(async_mode="threading"), "plugins")
    assert "asked for with" in line_of(result, "threading")


def test_json_is_what_programs_get_from_the_object(invoke: Invoke) -> None:
    result = invoke(make_app(message_queue="memory://"), "plugins", "--json")
    shown = json.loads(result.output)
    app = Flask("shop")
    description = SocketIO(app, message_queue="memory://").plugins
    assert {**shown, "notes": []} == {**json.loads(json.dumps(description.to_dict())), "notes": []}
    assert (shown["async_mode"], shown["message_queue"]) == ("threading", "memory")


def test_json_names_distribution_version_path_hooks_and_status(invoke: Invoke) -> None:
    plugins = json.loads(invoke(make_app(), "plugins", "--json").output)["plugins"]
    memory = next(plugin for plugin in plugins if plugin["name"] == "queue-memory")
    assert memory["distribution"] == "flask-socketio-core"
    assert memory["version"]
    assert memory["path"].endswith("hooks.py")
    assert memory["hooks"] == ["socketio_message_queues", "socketio_stores"]
    assert memory["status"] == "ok"


def test_an_application_without_socketio_is_told(invoke: Invoke) -> None:
    result = invoke(lambda: Flask("shop"), "plugins")
    assert "'shop' has no SocketIO object. This is what is selected by default." in result.output
    assert line_of(result, "threading").startswith("*")


def test_an_application_that_cannot_be_loaded_hides_no_plugin(invoke: Invoke) -> None:
    def broken() -> Flask:
        raise ZeroDivisionError("division by zero")

    result = invoke(broken, "plugins")
    assert "ZeroDivisionError: division by zero" in result.output
    assert line_of(result, "threading").startswith("*")


def test_a_wish_that_cannot_be_granted_is_shown_with_the_table(invoke: Invoke) -> None:
    result = invoke(make_app(async_mode="theading"), "plugins")
    assert result.exit_code == 1
    assert (
        "error: UnknownPart: async_mode='theading' is not provided by any installed plugin" in result.output
    )
    assert "did you mean 'threading'?" in result.output
    assert "threading" in line_of(result, "threading")


def test_a_plugin_left_out_by_the_environment_is_shown_as_skipped(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOCKETIO_LOAD_PLUGINS", "async-threading")
    result = invoke(make_app(), "plugins")
    assert "skipped: not named in" in line_of(result, "queue-memory")


def test_it_fails_if_no_mode_can_be_had(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOCKETIO_LOAD_PLUGINS", "queue-memory")
    result = invoke(lambda: Flask("shop"), "plugins")
    assert result.exit_code == 1
    assert "error: no async mode can be used in this process" in result.output


def test_everything_that_is_installed_fits_100_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOCKETIO_LOAD_PLUGINS", raising=False)
    page = view(Plugins(strict=False).describe())
    assert [line for line in page.splitlines() if len(line) > 100] == []


def test_long_names_and_long_errors_fit_100_columns() -> None:
    part = PartDescription(
        kind=ASYNC_MODE,
        name="fibers",
        priority=50,
        status="error: " + "ImportError: libfibers.so.7: cannot open shared object file " * 5,
    )
    queue = PartDescription(
        kind=MESSAGE_QUEUE, name="pigeons", schemes=tuple(f"pigeon+{n}" for n in range(40))
    )
    plugin = PluginDescription(
        name="async-fibers",
        distribution="a-distribution-with-quite-a-long-name",
        version="2026.11.24rc1",
        path="/somewhere/hooks.py",
        hooks=("socketio_async_modes",),
        status="ok",
        parts=(part, queue),
    )
    description = Description(plugins=(plugin,), problems=("word " * 60,))
    page = view(description, ("A note. " * 30,))
    assert [line for line in page.splitlines() if len(line) > 100] == []
    assert "pigeon+39" in page


def test_a_plugin_that_implements_no_hook_is_shown_as_that() -> None:
    # Such as one whose entry point names the package in place of the module with its hooks.
    plugin = PluginDescription(
        name="idle", distribution="socketio-idle", version="1.0", path="", hooks=(), status="ok", parts=()
    )
    assert "ok: implements no hook" in view(Description(plugins=(plugin,)))


def test_it_says_what_flask_run_would_get() -> None:
    page = view(Description(plugins=(), async_mode="green", under_flask_run="plain"))
    assert "Under `flask run` the async mode is plain." in page


def test_it_says_what_can_be_installed() -> None:
    page = view(Description(plugins=(), installable=("fibers", "owl")))
    assert 'Not installed: fibers owl (pip install "flask-socketio-core[fibers]")' in page
