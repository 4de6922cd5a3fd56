"""WebSockets on Werkzeug's server and gunicorn's threaded workers, plain, hidden and encrypted."""

from __future__ import annotations

import sys
from typing import ClassVar

from flask_socketio_core.testing.conformance.providers import WebSocketProviderConformance
from support.tls import certificate, needs_openssl

PACKAGE = "flask_socketio_async_threading"


class OnThreads(WebSocketProviderConformance):
    mode: ClassVar[str] = f"{PACKAGE}.mode:ThreadingMode"


class TestWerkzeug(OnThreads):
    provider: ClassVar[str] = f"{PACKAGE}.websocket:WerkzeugProvider"


class TestWerkzeugBehindMiddleware(OnThreads):
    provider: ClassVar[str] = f"{PACKAGE}.websocket:WerkzeugProvider"
    form: ClassVar[str] = "blocking"
    environment: ClassVar[dict[str, str]] = {"MIDDLEWARE": "1"}
    loses_early_bytes: ClassVar[bool] = True


class TestWerkzeugBlocking(OnThreads):
    provider: ClassVar[str] = f"{PACKAGE}.websocket:WerkzeugProvider"
    form: ClassVar[str] = "blocking"
    environment: ClassVar[dict[str, str]] = {"BLOCKING": "1"}


class OnGunicorn(OnThreads):
    provider: ClassVar[str] = f"{PACKAGE}.websocket:GunicornProvider"
    worker: ClassVar[tuple[str, ...]] = ("--worker-class", "gthread", "--threads", "30")

    @classmethod
    def command(cls, port: int) -> list[str]:
        server = [sys.executable, "-m", "gunicorn", "--workers", "1", "--bind", f"127.0.0.1:{port}"]
        return [*server, *cls.worker, "flask_socketio_core.testing.echo:make_app()"]


class TestGunicornThreads(OnGunicorn):
    pass


class TestGunicornSync(OnGunicorn):
    worker: ClassVar[tuple[str, ...]] = ("--worker-class", "sync")


class TestGunicornBlocking(OnGunicorn):
    form: ClassVar[str] = "blocking"
    environment: ClassVar[dict[str, str]] = {"BLOCKING": "1"}


@needs_openssl
class TestWerkzeugEncrypted(OnThreads):
    provider: ClassVar[str] = f"{PACKAGE}.websocket:WerkzeugProvider"
    form: ClassVar[str] = "blocking"
    environment: ClassVar[dict[str, str]] = {"TLS": ",".join(certificate())}


@needs_openssl
class TestGunicornEncrypted(OnGunicorn):
    form: ClassVar[str] = "blocking"
    environment: ClassVar[dict[str, str]] = {"TLS": ",".join(certificate())}

    @classmethod
    def command(cls, port: int) -> list[str]:
        certfile, keyfile = certificate()
        return [*super().command(port), "--certfile", certfile, "--keyfile", keyfile]
