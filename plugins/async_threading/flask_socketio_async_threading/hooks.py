"""What this plugin brings: an async mode of OS threads, and the WebSockets of servers that run threads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flask_socketio_core.contracts import OK, AsyncModeInfo, Verdict, WebSocketProviderInfo
from flask_socketio_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from flask_socketio_core.contracts import AsyncMode, WebSocketProvider
    from flask_socketio_core.contracts.process import ProcessFacts

INSTALL = "pip install flask-socketio-async-threading"


def load_mode() -> type[AsyncMode]:
    from .mode import ThreadingMode

    return ThreadingMode


def load_werkzeug() -> type[WebSocketProvider]:
    from .websocket import WerkzeugProvider

    return WerkzeugProvider


def load_gunicorn() -> type[WebSocketProvider]:
    from .websocket import GunicornProvider

    return GunicornProvider


def suits(facts: ProcessFacts) -> Verdict:
    """Return whether OS threads can be had: not where a library has replaced them, or runs the requests."""
    if facts.uwsgi_loop is not None:
        return Verdict(
            usable=False,
            reason=f"uWSGI runs its loop {facts.uwsgi_loop!r}, where a waiting thread would stop all requests: leave "
            f"out async_mode= and install flask-socketio-async-{facts.uwsgi_loop}, or start uWSGI with "
            f"--enable-threads --threads 100 instead of --{facts.uwsgi_loop}",
        )
    if facts.patched_by is None:
        return OK
    return Verdict(
        usable=False,
        reason=f"{facts.patched_by} has monkey-patched this process, so there are no OS threads; remove the patching, "
        f"or install flask-socketio-async-{facts.patched_by}",
    )


@hookimpl
def socketio_async_modes() -> AsyncModeInfo:
    """Offer the mode that works everywhere and is chosen when nothing better is there."""
    return AsyncModeInfo(
        name="threading",
        priority=0,
        load=load_mode,
        requires=("werkzeug>=3.0",),
        probe=suits,
        install=INSTALL,
        summary="OS threads; Werkzeug, gunicorn gthread",
    )


@hookimpl
def socketio_websocket_providers() -> Sequence[WebSocketProviderInfo]:
    """Offer WebSockets on the two servers that run an application in threads."""
    return (
        WebSocketProviderInfo(
            name="werkzeug",
            priority=20,
            load=load_werkzeug,
            async_modes=("threading",),
            install=INSTALL,
            summary="Werkzeug's server: socketio.run(), flask run",
        ),
        WebSocketProviderInfo(
            name="gunicorn",
            priority=10,
            load=load_gunicorn,
            async_modes=("threading",),
            install=INSTALL,
            summary="gunicorn with gthread or sync workers",
        ),
    )
