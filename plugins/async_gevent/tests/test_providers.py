"""WebSockets on gevent's servers: its own with and without gevent-websocket, gunicorn's, uWSGI's."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar

import pytest
from packaging.version import Version

from flask_socketio_core.testing.conformance.providers import WebSocketProviderConformance
from support.tls import certificate, needs_openssl

PACKAGE = "flask_socketio_async_gevent"
PATCH = {"PATCH": "gevent.monkey:patch_all"}
UWSGI = shutil.which("uwsgi") or shutil.which("uwsgi", path=str(Path(sys.executable).parent))


def needs(module: str) -> pytest.MarkDecorator:
    """Skip where a package is not installed."""
    return pytest.mark.skipif(importlib.util.find_spec(module) is None, reason=f"{module} is not installed")


class OnGevent(WebSocketProviderConformance):
    mode: ClassVar[str] = f"{PACKAGE}.mode:GeventMode"
    environment: ClassVar[dict[str, str]] = PATCH


class TestBuiltin(OnGevent):
    provider: ClassVar[str] = f"{PACKAGE}.websocket:PywsgiProvider"
    environment: ClassVar[dict[str, str]] = {**PATCH, "HIDDEN_MODULES": "geventwebsocket"}


@needs("_cffi_backend")
class TestBuiltinWithLibuv(OnGevent):
    provider: ClassVar[str] = f"{PACKAGE}.websocket:PywsgiProvider"
    environment: ClassVar[dict[str, str]] = {
        **PATCH,
        "HIDDEN_MODULES": "geventwebsocket",
        "GEVENT_LOOP": "libuv",
    }


class TestBuiltinWithPoll(OnGevent):
    provider: ClassVar[str] = f"{PACKAGE}.websocket:PywsgiProvider"
    environment: ClassVar[dict[str, str]] = {
        **PATCH,
        "HIDDEN_MODULES": "geventwebsocket",
        "GEVENT_BACKEND": "poll",
    }


class TestBuiltinBlocking(OnGevent):
    provider: ClassVar[str] = f"{PACKAGE}.websocket:PywsgiProvider"
    form: ClassVar[str] = "blocking"
    environment: ClassVar[dict[str, str]] = {**PATCH, "HIDDEN_MODULES": "geventwebsocket", "BLOCKING": "1"}


@needs("geventwebsocket")
class TestBuiltinOnTheHandlerOfGeventWebSocket(OnGevent):
    provider: ClassVar[str] = f"{PACKAGE}.websocket:PywsgiProvider"


@needs("geventwebsocket")
class TestGeventWebSocket(OnGevent):
    provider: ClassVar[str] = f"{PACKAGE}.websocket:GeventWebSocketProvider"


@needs_openssl
@needs("geventwebsocket")
class TestGeventWebSocketEncrypted(OnGevent):
    provider: ClassVar[str] = f"{PACKAGE}.websocket:GeventWebSocketProvider"
    form: ClassVar[str] = "blocking"
    environment: ClassVar[dict[str, str]] = {**PATCH, "TLS": ",".join(certificate())}


@needs_openssl
class TestBuiltinEncrypted(OnGevent):
    provider: ClassVar[str] = f"{PACKAGE}.websocket:PywsgiProvider"
    form: ClassVar[str] = "blocking"
    environment: ClassVar[dict[str, str]] = {
        **PATCH,
        "HIDDEN_MODULES": "geventwebsocket",
        "TLS": ",".join(certificate()),
    }


class TestBuiltinBehindMiddleware(OnGevent):
    """The connection is still found: by the handler behind ``start_response``, or by the request's body."""

    provider: ClassVar[str] = f"{PACKAGE}.websocket:PywsgiProvider"
    environment: ClassVar[dict[str, str]] = {
        **PATCH,
        "HIDDEN_MODULES": "geventwebsocket",
        "MIDDLEWARE": "start_response",
    }


@pytest.mark.skipif(
    Version(version("gevent")) < Version("24.10.1"), reason="gunicorn's worker needs gevent 24.10.1"
)
class OnGunicorn(OnGevent):
    worker: ClassVar[str] = "gevent"

    @classmethod
    def command(cls, port: int) -> list[str]:
        server = [sys.executable, "-m", "gunicorn", "--workers", "1", "--bind", f"127.0.0.1:{port}"]
        return [*server, "--worker-class", cls.worker, "flask_socketio_core.testing.echo:make_app()"]


class TestGunicornGevent(OnGunicorn):
    provider: ClassVar[str] = f"{PACKAGE}.websocket:EnvironSocketProvider"


class TestGunicornPywsgi(OnGunicorn):
    provider: ClassVar[str] = f"{PACKAGE}.websocket:PywsgiProvider"
    worker: ClassVar[str] = "gevent_pywsgi"


@needs("geventwebsocket")
class TestGunicornGeventWebSocket(OnGunicorn):
    provider: ClassVar[str] = f"{PACKAGE}.websocket:GeventWebSocketProvider"
    worker: ClassVar[str] = "geventwebsocket.gunicorn.workers.GeventWebSocketWorker"


@needs_openssl
class TestGunicornEncrypted(OnGunicorn):
    provider: ClassVar[str] = f"{PACKAGE}.websocket:EnvironSocketProvider"
    form: ClassVar[str] = "blocking"

    @classmethod
    def command(cls, port: int) -> list[str]:
        certfile, keyfile = certificate()
        return [*super().command(port), "--certfile", certfile, "--keyfile", keyfile]

    environment: ClassVar[dict[str, str]] = {**PATCH, "TLS": ",".join(certificate())}


@pytest.mark.skipif(UWSGI is None, reason="the program uwsgi is not installed")
class OnUwsgi(WebSocketProviderConformance):
    mode: ClassVar[str] = f"{PACKAGE}.mode:UwsgiMode"
    provider: ClassVar[str] = f"{PACKAGE}.uwsgi:UwsgiProvider"
    form: ClassVar[str] = "blocking"
    environment: ClassVar[dict[str, str]] = PATCH
    #: uWSGI keeps what it has read too much. No client sends before the answer, RFC 6455 forbids it.
    loses_early_bytes: ClassVar[bool] = True
    has_own_handshake: ClassVar[bool] = True

    @classmethod
    def command(cls, port: int) -> list[str]:
        paths = [argument for path in sys.path if path for argument in ("--pythonpath", path)]
        server = [str(UWSGI), *cls.how(port), "--gevent", "100", "--master", "--need-app", "--die-on-term"]
        return [*server, *paths, "--module", "flask_socketio_core.testing.echo:make_app()"]

    @classmethod
    def how(cls, port: int) -> list[str]:
        """Return the options that say how uWSGI listens."""
        return ["--http", f"127.0.0.1:{port}", "--http-websockets"]


class TestUwsgiRouter(OnUwsgi):
    pass


class TestUwsgiWithoutRouter(OnUwsgi):
    @classmethod
    def how(cls, port: int) -> list[str]:
        return ["--http-socket", f"127.0.0.1:{port}"]
