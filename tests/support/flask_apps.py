"""An application and its ``SocketIO`` object, made per test and ended with it; a conftest.py imports the fixtures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pytest
from flask import Flask
from flask import request as flask_request

from flask_socketio_core import SocketIO, SocketIOTestClient
from flask_socketio_core.app.extension import MIDDLEWARES

__all__ = ["app", "connect", "end", "make_app", "needs_trusted_hosts", "new_app", "socketio"]

needs_trusted_hosts = pytest.mark.skipif(
    "TRUSTED_HOSTS" not in Flask.default_config, reason="Flask before 3.1 does not know TRUSTED_HOSTS"
)

request: Any = flask_request
"""Flask's, with the attributes that we set and that Flask knows nothing about."""

MakeApp: TypeAlias = Callable[..., tuple[Flask, SocketIO]]
Connect: TypeAlias = Callable[..., SocketIOTestClient]
End: TypeAlias = Callable[[Flask], Flask]


def new_app(name: str = "app", **config: Any) -> Flask:
    """Make an application without a ``SocketIO`` object."""
    app = Flask(name, static_folder=None)
    app.config.update({"SECRET_KEY": "only for tests", "TESTING": True, **config})
    return app


@pytest.fixture
def end() -> Iterator[End]:
    """Take applications whose connections, queues and workers end with the test."""
    apps: list[Flask] = []

    def later(app: Flask) -> Flask:
        apps.append(app)
        return app

    yield later
    for app in apps:
        for middleware in app.extensions.get(MIDDLEWARES, {}).values():
            middleware.binding.shutdown(timeout_s=1)
            middleware.binding.mode.close()


@pytest.fixture
def make_app(end: End) -> MakeApp:
    """Make an application with a ``SocketIO`` object that has the given options."""

    def make(config: dict[str, Any] | None = None, **options: Any) -> tuple[Flask, SocketIO]:
        app = end(new_app(**(config or {})))
        options.setdefault("async_mode", "threading")
        return app, SocketIO(app, **options)

    return make


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    """An application with a ``SocketIO`` object."""
    return make_app()[0]


@pytest.fixture
def socketio(app: Flask) -> SocketIO:
    """The application's ``SocketIO`` object."""
    extension: SocketIO = app.extensions["socketio"]
    return extension


@pytest.fixture
def connect(app: Flask, socketio: SocketIO) -> Connect:
    """Connect a client to the application."""
    return lambda namespace=None, **options: socketio.test_client(app, namespace, **options)
