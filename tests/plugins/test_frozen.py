"""A frozen program, as PyInstaller makes it, has only the modules and the metadata that it was built with."""

from __future__ import annotations

import sys
from importlib import metadata

import pytest

from flask_socketio_core.errors import PartBroken, PartNotInstalled, UnknownPart
from flask_socketio_core.selection import Plugins
from support.plugins import Describing, MakeDistribution, mode

AGAIN = "build it again where that is installed, with PyInstaller's"


@pytest.fixture(autouse=True)
def frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)


def test_no_metadata_at_all_names_the_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "distributions", list)
    with pytest.raises(PartNotInstalled, match="no plugin can be found") as raised:
        Plugins()
    assert f"{AGAIN} --recursive-copy-metadata flask-socketio-core --hidden-import" in str(raised.value)


def test_a_plugin_without_metadata_names_the_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    core = metadata.distribution("flask-socketio-core")
    monkeypatch.setattr(metadata, "distributions", lambda: [core])
    plugins = Plugins(extra=[Describing(modes=[mode("other")])])
    flags = "--recursive-copy-metadata flask-socketio-async-gevent --hidden-import flask_socketio_async_gevent.hooks"
    with pytest.raises(PartNotInstalled, match=f"{AGAIN} {flags}"):
        plugins.select_async_mode("gevent")
    with pytest.raises(UnknownPart, match=f"did you mean 'gevent'.*{AGAIN} {flags}"):
        plugins.select_async_mode("geven")


def test_a_library_without_metadata_names_the_flag(nothing_installed: None) -> None:
    needy = mode("needy", requires=("not-there>=1",), install="pip install needy")
    with pytest.raises(PartNotInstalled, match=f"{AGAIN} --copy-metadata not-there$"):
        Plugins(extra=[Describing(modes=[needy])]).select_async_mode("needy")


def test_a_missing_module_names_the_flag(make_distribution: MakeDistribution) -> None:
    make_distribution(
        "absent-minded", plugins={"async-absent": ("absent_minded_hooks", "import not_there_at_all")}
    )
    with pytest.raises(PartBroken, match=f"{AGAIN} --hidden-import not_there_at_all"):
        Plugins().select_async_mode("absent")
