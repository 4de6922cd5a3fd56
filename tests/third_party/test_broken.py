"""Strangers' plugins with one slip each: told with the distribution and the cause, in the list and to who asks."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from flask import Flask
from flask.cli import FlaskGroup

from flask_socketio_core import SocketIO
from flask_socketio_core.errors import InvalidHook, PartBroken

HERE = Path(__file__).parent
#: Each stranger's distribution as it is listed, and its entry point.
PIGEON = ("socketio_pigeon", "socketio-pigeon 1.0", "queue-pigeon")
TORTOISE = ("socketio_tortoise", "socketio-tortoise 3.1", "tortoise")
#: What an application asks for to get each part.
QUEUE = {"message_queue": "pigeon://:let-me-in@127.0.0.1:1"}
MODE = {"async_mode": "tortoise"}
PROVIDER = {"async_mode": "tortoise", "websocket_provider": "shell"}


@dataclass(frozen=True)
class Slip:
    """A line that a stranger wrote wrongly.

    :param file: where, in the package.
    :param line: what is right.
    :param wrong: what is there instead.
    :param cause: class of the error behind ``PartBroken``.
    :param said: what the list says behind ``error:``, the cause included.
    :param seen: the list shows it without an application that uses the part.
    """

    file: str
    line: str
    wrong: str
    cause: str
    said: str
    seen: bool = True


def broken_hook(hook: str, info: str) -> list[Slip]:
    """Return slips in what describes a part."""
    line = f"    return {info}("
    return [
        Slip("hooks.py", line, f'    raise LookupError("none today")\n{line}', "LookupError", "none today"),
        Slip("hooks.py", line, "    return dict(", "InvalidHook", f"{hook} returned {{'name': "),
        Slip("hooks.py", line, f"    return [1, {info}(load=2)]\n{line}", "TypeError", "missing"),
        Slip(
            "hooks.py", "from __future__", "import no_such\nfrom __future__", "SyntaxError", "must occur at"
        ),
    ]


def broken_load(part: str, file: str, base: str, missing: str) -> list[Slip]:
    """Return slips in what loads a part, and in the head of its class."""
    line = f"    return {part}\n"
    return [
        Slip("hooks.py", line, "", "InvalidDescriptor", f"load returned None, expected a subclass of {base}"),
        Slip(
            "hooks.py",
            line,
            "    return dict\n",
            "InvalidDescriptor",
            "load returned <class 'dict'>, expected",
        ),
        Slip(
            "hooks.py",
            line,
            f"    return {part}.__new__({part})\n",
            "InvalidDescriptor",
            "return the class itself",
        ),
        Slip("hooks.py", line, "    import no_such_library\n", "ModuleNotFoundError", "'no_such_library'"),
        Slip(
            file,
            f"def {missing}(",
            f"def no_{missing}(",
            "InvalidDescriptor",
            f"not implement {missing} of {base}",
        ),
    ]


def broken_making(part: str, file: str, base: str) -> list[Slip]:
    """Return slips that show when a part is made."""
    head = f"class {part}({base}):"
    raising = f'{head}\n    def __new__(cls, *a, **k):\n        raise KeyError(*a, "not my day")\n'
    silent = f"{head}\n    def __new__(cls, *a, **k):\n        return object.__new__(object)\n"
    return [
        Slip(file, head, raising, "KeyError", "not my day", seen=False),
        Slip(file, head, silent, "InvalidDescriptor", "call super().__init__(...)", seen=False),
    ]


QUEUE_SLIPS = [
    *broken_hook("socketio_message_queues", "QueueInfo"),
    *broken_load("PigeonQueue", "queue.py", "MessageQueue", "ping"),
    *broken_making("PigeonQueue", "queue.py", "MessageQueue"),
    Slip("queue.py", "    capabilities:", "    abilities:", "InvalidDescriptor", "PigeonQueue has no capabilities"),
    Slip("queue.py", "MAX_BYTES = 4 ", "MAX_BYTES = 0.5 ", "InvalidDescriptor", "max_message_bytes=524288.0: expected"),
    Slip("hooks.py", '("pigeon",)', '("pigeon")', "InvalidDescriptor", "write ('pigeon',)"),
    Slip("hooks.py", '("pigeon",)', '("pigeon://",)', "InvalidDescriptor", "write 'pigeon'"),
    Slip("hooks.py", '("pigeon",)', '("Pigeon",)', "InvalidDescriptor", "write 'pigeon'"),
    Slip("hooks.py", "load=load", "load=print()", "InvalidDescriptor", "load=None: expected a function"),
    Slip("queue.py", 'float, 2.0, "sec', 'float, "2", "sec', "InvalidDescriptor", "default='2' does not suit it"),
]  # fmt: skip
MODE_SLIPS = [
    *broken_hook("socketio_async_modes", "AsyncModeInfo"),
    *broken_load("TortoiseMode", "mode.py", "AsyncMode", "spawn"),
    *broken_making("TortoiseMode", "mode.py", "AsyncMode"),
    Slip("mode.py", "    capabilities:", "    abilities:", "InvalidDescriptor", "TortoiseMode has no capabilities"),
    Slip("mode.py", '= "tortoise"', '= "turtle"', "InvalidDescriptor", "expected that of its descriptor"),
    Slip("mode.py", "    name:", "    title:", "InvalidDescriptor", "has no name, write in its body: name = "),
    Slip("hooks.py", "priority=1", "probe=lambda facts: None, priority=1", "InvalidDescriptor", "probe returned None"),
    Slip("hooks.py", "priority=120", 'priority="high"', "InvalidDescriptor", "priority='high': expected a whole"),
]  # fmt: skip
PROVIDER_SLIPS = [
    *broken_hook("socketio_websocket_providers", "WebSocketProviderInfo")[:3],
    *broken_load("TortoiseProvider", "websocket.py", "WebSocketProvider", "detect"),
    broken_making("TortoiseProvider", "websocket.py", "WebSocketProvider")[0],
    Slip("websocket.py", "def open(", "def opened(", "InvalidDescriptor", "implements neither of locate and open"),
    Slip("hooks.py", '("tortoise",)', '("tortoise")', "InvalidDescriptor", "write ('tortoise',)"),
]  # fmt: skip


def rows(package: tuple[str, str, str], asked: dict[str, Any], slips: list[Slip]) -> list[Any]:
    return [pytest.param(package, asked, slip, id=f"{package[0]}: {slip.said:.50}") for slip in slips]


ROWS = [
    *rows(PIGEON, QUEUE, QUEUE_SLIPS),
    *rows(TORTOISE, MODE, MODE_SLIPS),
    *rows(TORTOISE, PROVIDER, PROVIDER_SLIPS),
]


@pytest.fixture
def install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Callable[..., None]:
    """Return a function that installs a stranger's distribution with one line replaced."""

    def forget(package: str) -> None:
        for name in [name for name in sys.modules if name.split(".")[0] == package]:
            del sys.modules[name]

    def put(package: tuple[str, str, str], slip: Slip | None = None) -> None:
        name, distribution, entry_point = package
        folder = tmp_path / name
        shutil.copytree(HERE / name / name, folder, ignore=shutil.ignore_patterns("__pycache__"))
        if slip is not None:
            source = (folder / slip.file).read_text()
            assert slip.line in source
            (folder / slip.file).write_text(source.replace(slip.line, slip.wrong, 1))
        project, version = distribution.split()
        info = tmp_path / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[flask_socketio_core]\n{entry_point} = {name}.hooks\n")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setenv("SOCKETIO_LOAD_PLUGINS", f"async-threading,queue-memory,{entry_point}")
        request.addfinalizer(lambda: forget(name))

    return put


def listed(create_app: Callable[[], Flask], *arguments: str) -> Result:
    """Run `flask socketio plugins`."""
    return CliRunner().invoke(FlaskGroup(create_app=create_app), ["socketio", "plugins", *arguments])


def faults(result: Result, package: tuple[str, str, str]) -> list[str]:
    """Return the errors of a distribution, and of its parts, in the list."""
    found: list[Mapping[str, Any]] = json.loads(result.output)["plugins"]
    own = next(plugin for plugin in found if f"{plugin['distribution']} {plugin['version']}" == package[1])
    return [item["status"] for item in (own, *own["parts"]) if item["status"] != "ok"]


@pytest.mark.parametrize(("package", "asked", "slip"), ROWS)
def test_a_slip_is_told_with_its_distribution_and_its_cause(
    install: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    package: tuple[str, str, str],
    asked: dict[str, Any],
    slip: Slip,
) -> None:
    install(package, slip)
    monkeypatch.setenv("FLASK_RUN_FROM_CLI", "true")

    def create_app() -> Flask:
        app = Flask("shop")
        SocketIO(app, **asked)
        return app

    with pytest.raises(PartBroken) as caught:
        create_app()
    text = " ".join(str(caught.value).split())
    assert package[1] in text
    assert slip.said in text
    assert type(caught.value.__cause__).__name__ == slip.cause

    table = listed(create_app)
    assert table.exit_code == 1
    assert f"error: {slip.cause}: " in " ".join(table.output.split())
    assert "let-me-in" not in text + table.output

    # Without an application that asks for it, a part is loaded to see whether it can be, and not made.
    alone = listed(lambda: Flask("other"), "--json")
    told = [fault.partition(": ")[2].partition(":")[0] for fault in faults(alone, package)]
    assert (alone.exit_code, told) == ((1, [slip.cause]) if slip.seen else (0, []))


@pytest.mark.parametrize(("package", "asked"), [(PIGEON, QUEUE), (TORTOISE, PROVIDER)])
def test_without_a_slip_there_is_nothing_to_tell(
    install: Callable[..., None], package: tuple[str, str, str], asked: dict[str, Any]
) -> None:
    install(package)
    app = Flask("shop")
    SocketIO(app, **asked)
    result = listed(lambda: app, "--json")
    assert (result.exit_code, faults(result, package)) == (0, [])


@pytest.mark.parametrize(
    ("package", "hook"),
    [
        (PIGEON, "socketio_message_queues"),
        (TORTOISE, "socketio_async_modes"),
        (TORTOISE, "socketio_websocket_providers"),
    ],
)
def test_a_hook_without_its_mark_is_told(
    install: Callable[..., None], package: tuple[str, str, str], hook: str
) -> None:
    slip = Slip("hooks.py", f"@hookimpl\ndef {hook}", f"def {hook}", "InvalidHook", "")
    install(package, slip)
    told = rf"\({re.escape(package[1])}\) has a function {hook} that is not marked"
    with pytest.raises(InvalidHook, match=told):
        SocketIO(Flask("shop"))
    result = listed(lambda: Flask("shop"), "--json")
    assert result.exit_code == 1
    assert [fault for fault in faults(result, package) if re.search(told, fault)]
