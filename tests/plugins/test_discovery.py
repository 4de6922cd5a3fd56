"""What pluggy's own loader lets pass: duplicates, broken plugins, misspelt hooks."""

from __future__ import annotations

import logging
import subprocess
import sys
import types
from pathlib import Path

import pytest

from flask_socketio_core.errors import (
    ConfigurationError,
    DuplicatePlugin,
    InvalidHook,
    InvalidOption,
    PartBroken,
)
from flask_socketio_core.hookspecs import hookimpl
from flask_socketio_core.selection import Plugins
from support.plugins import Describing, MakeDistribution, mode, queue

QUEUE = """
from flask_socketio_core.contracts import QueueInfo
from flask_socketio_core.hookspecs import hookimpl

@hookimpl
def socketio_message_queues():
    return QueueInfo(name="pigeon", schemes=("pigeon",), load=lambda: object)
"""
MISSPELT = """
from flask_socketio_core.hookspecs import hookimpl

@hookimpl
def socketio_mesage_queues():
    return None
"""


def test_an_installed_plugin_is_found_with_its_distribution(
    make_distribution: MakeDistribution, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOCKETIO_LOAD_PLUGINS", "queue-pigeon")
    make_distribution("socketio-pigeon", version="2.1", plugins={"queue-pigeon": ("pigeon_hooks", QUEUE)})
    plugins = Plugins()
    selection = plugins.select_queue("pigeon://loft")
    assert str(selection.plugin) == "socketio-pigeon 2.1"
    listed = {plugin.name: plugin for plugin in plugins.describe().plugins}
    assert listed["queue-pigeon"].status == "ok"
    assert listed["queue-pigeon"].path.endswith("pigeon_hooks.py")
    assert listed["queue-pigeon"].hooks == ("socketio_message_queues",)


def test_two_entry_points_of_one_name_are_an_error_that_names_both_distributions(
    make_distribution: MakeDistribution,
) -> None:
    make_distribution("one-pigeon", plugins={"queue-pigeon": ("pigeon_one", QUEUE)})
    make_distribution("other-pigeon", version="3.0", plugins={"queue-pigeon": ("pigeon_other", QUEUE)})
    with pytest.raises(
        DuplicatePlugin, match="two distributions register a plugin named 'queue-pigeon'"
    ) as caught:
        Plugins()
    assert "one-pigeon 1.0" in str(caught.value)
    assert "other-pigeon 3.0" in str(caught.value)


def test_a_distribution_hides_another_copy_of_itself_further_down_the_path(
    make_distribution: MakeDistribution, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    make_distribution("socketio-pigeon", plugins={"queue-pigeon": ("pigeon_hooks", QUEUE)})
    assert "queue-pigeon" in {plugin.name for plugin in Plugins(strict=False).describe().plugins}
    newer = tmp_path / "newer" / "socketio_pigeon-2.0.dist-info"
    newer.mkdir(parents=True)
    (newer / "METADATA").write_text("Metadata-Version: 2.1\nName: socketio-pigeon\nVersion: 2.0\n")
    monkeypatch.syspath_prepend(newer.parent)
    assert "queue-pigeon" not in {plugin.name for plugin in Plugins(strict=False).describe().plugins}


def test_a_duplicate_can_still_be_listed(make_distribution: MakeDistribution) -> None:
    make_distribution("one-pigeon", plugins={"queue-pigeon": ("pigeon_one", QUEUE)})
    make_distribution("other-pigeon", plugins={"queue-pigeon": ("pigeon_other", QUEUE)})
    description = Plugins(strict=False).describe()
    assert any("other-pigeon" in problem for problem in description.problems)


def test_a_plugin_that_cannot_be_imported_is_listed_and_stops_no_other(
    make_distribution: MakeDistribution, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SOCKETIO_LOAD_PLUGINS", "queue-dove,queue-pigeon")
    make_distribution("socketio-pigeon", plugins={"queue-pigeon": ("pigeon_hooks", QUEUE)})
    make_distribution("socketio-dove", plugins={"queue-dove": ("dove_hooks", "import no_such_library")})
    with caplog.at_level(logging.WARNING):
        plugins = Plugins()
    assert plugins.select_queue("pigeon://").info.name == "pigeon"
    status = {plugin.name: plugin.status for plugin in plugins.describe().plugins}
    assert status["queue-dove"] == "error: ModuleNotFoundError: No module named 'no_such_library'"
    assert "plugin 'queue-dove' (socketio-dove 1.0) is broken and left out" in caplog.text


def test_a_broken_plugin_is_fatal_when_it_is_asked_for(
    make_distribution: MakeDistribution, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOCKETIO_LOAD_PLUGINS", "queue-dove")
    make_distribution("socketio-dove", plugins={"queue-dove": ("dove_hooks", "import no_such_library")})
    with pytest.raises(
        PartBroken,
        match=r"message_queue='dove://...' .*'queue-dove' \(socketio-dove 1.0\).* installed but broken: ",
    ) as caught:
        Plugins().select_queue("dove://loft")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_a_plugin_that_exits_the_process_at_import_is_not_caught(
    make_distribution: MakeDistribution, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOCKETIO_LOAD_PLUGINS", "queue-dove")
    make_distribution("socketio-dove", plugins={"queue-dove": ("dove_hooks", "raise KeyboardInterrupt")})
    with pytest.raises(KeyboardInterrupt):
        Plugins()


def test_a_misspelt_hook_is_an_error_that_names_its_plugin_and_the_nearest_hook(
    make_distribution: MakeDistribution, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOCKETIO_LOAD_PLUGINS", "queue-pigeon")
    make_distribution("socketio-pigeon", plugins={"queue-pigeon": ("pigeon_hooks", MISSPELT)})
    with pytest.raises(
        InvalidHook,
        match=r"plugin 'queue-pigeon' \(socketio-pigeon 1.0\) implements 'socketio_mesage_queues', which is no hook, "
        "did you mean 'socketio_message_queues'?",
    ):
        Plugins()


def test_a_misspelt_hook_can_still_be_listed(
    make_distribution: MakeDistribution, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOCKETIO_LOAD_PLUGINS", "queue-pigeon")
    make_distribution("socketio-pigeon", plugins={"queue-pigeon": ("pigeon_hooks", MISSPELT)})
    description = Plugins(strict=False).describe()
    listed = {plugin.name: plugin.status for plugin in description.plugins}
    assert listed["queue-pigeon"].startswith("error: InvalidHook: ")
    assert "socketio_mesage_queues" in description.problems[0]


def test_the_rest_of_the_plugins_is_not_blamed_for_a_misspelt_hook(nothing_installed: None) -> None:
    class Misspelt:
        @hookimpl
        def socketio_emits(self) -> None: ...

    plugins = Plugins(extra=[Describing(queues=[queue("pigeon", "pigeon")]), Misspelt()], strict=False)
    status = {plugin.name: plugin.status for plugin in plugins.describe().plugins}
    assert status["describing"] == "ok"
    assert "did you mean 'socketio_emit'?" in status["Misspelt"]


def test_a_hook_with_an_argument_that_does_not_exist_is_an_error(nothing_installed: None) -> None:
    class Curious:
        @hookimpl
        def socketio_emit(self, event: str, colour: str) -> None: ...

    with pytest.raises(InvalidHook, match=r"plugin 'Curious' .* implements a hook wrongly: .*colour"):
        Plugins(extra=[Curious()])


def test_a_function_with_a_hooks_name_and_no_mark_is_told(
    make_distribution: MakeDistribution, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOCKETIO_LOAD_PLUGINS", "queue-pigeon")
    unmarked = QUEUE.replace("@hookimpl\n", "")
    make_distribution("socketio-pigeon", plugins={"queue-pigeon": ("pigeon_hooks", unmarked)})
    with pytest.raises(
        InvalidHook,
        match=r"plugin 'queue-pigeon' \(socketio-pigeon 1.0\) has a function socketio_message_queues that is not "
        "marked, so it is never called; write @hookimpl above it",
    ):
        Plugins()


def test_a_module_that_imports_a_hooks_specification_has_no_unmarked_function(
    nothing_installed: None,
) -> None:
    from flask_socketio_core.contracts import hookspecs

    plugin = types.SimpleNamespace(socketio_emit=hookspecs.socketio_emit, __name__="reads")
    assert [item.status for item in Plugins(extra=[plugin]).describe().plugins if item.name == "reads"] == [
        "ok"
    ]


def test_a_hook_wrapper_is_refused(nothing_installed: None) -> None:
    class Wrapping:
        @hookimpl(wrapper=True)
        def socketio_emit(self):  # type: ignore[no-untyped-def]  # as a stranger would write it
            yield

    with pytest.raises(InvalidHook, match=r"plugin 'Wrapping' .* implements socketio_emit as a wrapper"):
        Plugins(extra=[Wrapping()])


def test_a_hook_that_raises_lists_its_plugin_as_broken(nothing_installed: None) -> None:
    class Raising:
        @hookimpl
        def socketio_async_modes(self) -> None:
            raise LookupError("no modes today")

    plugins = Plugins(extra=[Raising(), Describing(modes=[mode("good")])])
    assert plugins.select_async_mode().info.name == "good"
    status = {plugin.name: plugin.status for plugin in plugins.describe().plugins}
    assert status["Raising"] == "error: LookupError: no modes today"


@pytest.mark.parametrize("result", ["eventlet", 5, [queue("q", "q")], {"name": "eventlet"}], ids=repr)
def test_a_hook_that_returns_something_else_lists_its_plugin_as_broken(
    nothing_installed: None, result: object
) -> None:
    class Strange:
        @hookimpl
        def socketio_async_modes(self) -> object:
            return result

    plugins = Plugins(extra=[Strange(), Describing(modes=[mode("good")])])
    assert plugins.select_async_mode().info.name == "good"
    status = {plugin.name: plugin.status for plugin in plugins.describe().plugins}
    assert status["Strange"].startswith("error: InvalidHook: socketio_async_modes returned ")
    assert "expected AsyncModeInfo, a sequence of them, or None" in status["Strange"]


def test_the_environment_limits_what_is_loaded(
    make_distribution: MakeDistribution, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_distribution(
        "socketio-pigeon", plugins={"queue-pigeon": ("pigeon_hooks", "raise RuntimeError('loaded')")}
    )
    monkeypatch.setenv("SOCKETIO_LOAD_PLUGINS", "queue-memory")
    description = Plugins().describe()
    assert {part.name for part in description.parts} == {"memory"}
    skipped = {plugin.name for plugin in description.plugins if plugin.status.startswith("skipped: ")}
    assert "queue-pigeon" in skipped


def test_an_empty_list_loads_none(nothing_installed: None) -> None:
    assert Plugins().describe().parts == ()


def test_the_environment_may_not_name_a_plugin_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOCKETIO_LOAD_PLUGINS", "queue-memoir")
    with pytest.raises(
        InvalidOption, match=r"SOCKETIO_LOAD_PLUGINS names 'queue-memoir', .*did you mean 'queue-memory'"
    ):
        Plugins()


def test_the_environment_switches_tracing_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SOCKETIO_LOAD_PLUGINS", "queue-memory")
    monkeypatch.setenv("SOCKETIO_TRACE_PLUGINS", "1")
    Plugins().select_queue("memory://")
    trace = capsys.readouterr().err
    assert "loaded: 'queue-memory' (flask-socketio-core " in trace
    assert "socketio_message_queues -> 'queue-memory'" in trace
    assert "selected message queue memory: claims memory://" in trace


def test_without_the_switch_nothing_is_traced(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SOCKETIO_TRACE_PLUGINS", raising=False)
    Plugins().select_queue("memory://")
    assert capsys.readouterr().err == ""


def test_objects_registered_in_code_need_no_distribution(nothing_installed: None) -> None:
    first, second = Describing(modes=[mode("a")]), Describing(modes=[mode("b")])
    names = [
        plugin.name for plugin in Plugins(extra=[first, second]).describe().plugins if not plugin.distribution
    ]
    assert names == ["describing", "describing-2"]


def test_each_object_has_plugins_of_its_own(nothing_installed: None) -> None:
    one, other = (
        Plugins(extra=[Describing(modes=[mode("a")])]),
        Plugins(extra=[Describing(modes=[mode("b")])]),
    )
    assert (one.select_async_mode().info.name, other.select_async_mode().info.name) == ("a", "b")


def test_every_problem_is_a_configuration_error(make_distribution: MakeDistribution) -> None:
    make_distribution("one-pigeon", plugins={"queue-pigeon": ("pigeon_one", QUEUE)})
    make_distribution("other-pigeon", plugins={"queue-pigeon": ("pigeon_other", QUEUE)})
    assert all(isinstance(problem, ConfigurationError) for problem in Plugins(strict=False).problems)


def test_listing_imports_no_concurrency_library_and_no_client_library() -> None:
    # A process of its own: what other tests imported does not count. The Werkzeug and python-socketio that the core
    # itself imports are no business of the plugins.
    program = (
        "import sys\n"
        "from flask_socketio_core.selection import Plugins\n"
        "before = set(sys.modules)\n"
        "Plugins().describe()\n"
        "heavy = {'eventlet', 'gevent', 'geventwebsocket', 'redis', 'kombu', 'amqp', 'kafka'}\n"
        "print(sorted(heavy & (set(sys.modules) - before)))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert result.stdout.strip() == "[]"
