"""WebSockets on eventlet's web server, plain, hidden and encrypted."""

from __future__ import annotations

from typing import ClassVar

from flask_socketio_core.testing.conformance.providers import WebSocketProviderConformance
from support.tls import certificate, needs_openssl

PATCH = {"PATCH": "eventlet:monkey_patch"}


class OnEventlet(WebSocketProviderConformance):
    mode: ClassVar[str] = "flask_socketio_async_eventlet.mode:EventletMode"
    provider: ClassVar[str] = "flask_socketio_async_eventlet.websocket:EventletProvider"
    environment: ClassVar[dict[str, str]] = PATCH


class TestEventlet(OnEventlet):
    pass


class TestEventletBehindMiddleware(OnEventlet):
    """The connection is still found: the server shows it in the environ a second time."""

    environment: ClassVar[dict[str, str]] = {**PATCH, "MIDDLEWARE": "1"}


class TestEventletBlocking(OnEventlet):
    form: ClassVar[str] = "blocking"
    environment: ClassVar[dict[str, str]] = {**PATCH, "BLOCKING": "1"}


class TestEventletUnpatched(OnEventlet):
    environment: ClassVar[dict[str, str]] = {}


@needs_openssl
class TestEventletEncrypted(OnEventlet):
    form: ClassVar[str] = "blocking"
    environment: ClassVar[dict[str, str]] = {**PATCH, "TLS": ",".join(certificate())}
