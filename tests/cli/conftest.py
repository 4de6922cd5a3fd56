"""Run `flask socketio ...` inside the test process, with an application that the test makes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from click.testing import CliRunner, Result
from flask import Flask
from flask.cli import FlaskGroup

from .apps import Shop, make_app


@pytest.fixture
def few_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Load the plugins that are always there, whatever else is installed."""
    monkeypatch.setenv("SOCKETIO_LOAD_PLUGINS", "async-threading,queue-memory")


@pytest.fixture
def invoke(few_plugins: None, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Return a function that runs a command: ``invoke(make_app, "plugins", "--json")``."""
    monkeypatch.setenv("FLASK_RUN_FROM_CLI", "true")  # Flask sets it for good; here it is undone

    def run(create_app: Callable[[], Flask], *arguments: str) -> Result:
        group = FlaskGroup(create_app=create_app)
        return CliRunner().invoke(group, ["socketio", *arguments])

    return run


@pytest.fixture
def shop() -> Iterator[Shop]:
    shop = Shop()
    yield shop
    shop.close()


@pytest.fixture
def run(invoke: Callable[..., Result], shop: Shop) -> Callable[..., Result]:
    return lambda *arguments: invoke(make_app(**shop.options), *arguments)
