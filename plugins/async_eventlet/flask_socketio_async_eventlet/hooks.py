"""What this plugin brings: eventlet's hub, its web server and that server's WebSockets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_socketio_core.contracts import OK, AsyncModeInfo, Verdict, WebSocketProviderInfo
from flask_socketio_core.hookspecs import hookimpl

from .patching import PATCH_LINE

if TYPE_CHECKING:
    from flask_socketio_core.contracts import AsyncMode, WebSocketProvider
    from flask_socketio_core.contracts.process import ProcessFacts

INSTALL = "pip install flask-socketio-async-eventlet"
REQUIRES = ("eventlet>=0.40.3",)
WORKERS = ("geventlet",)
"""gunicorn's workers that run eventlet; its newest releases have none any more."""


def load_mode() -> type[AsyncMode]:
    from .mode import EventletMode

    return EventletMode


def load_provider() -> type[WebSocketProvider]:
    from .websocket import EventletProvider

    return EventletProvider


def suits(facts: ProcessFacts) -> Verdict:
    """Return whether eventlet can run the requests of the server around us."""
    if facts.patched_by not in (None, "eventlet"):
        return _no(f"{facts.patched_by} has monkey-patched this process: patch with `{PATCH_LINE}` instead")
    if facts.uwsgi:
        return _no("uWSGI is the server, which has no eventlet loop: use gevent there")
    if facts.gunicorn_worker is not None and facts.gunicorn_worker not in WORKERS:
        return _no(
            f"gunicorn runs {facts.gunicorn_worker} workers: call socketio.run(app) instead of gunicorn"
        )
    if facts.flask_run and facts.patched_by is None:
        return _no(f"`flask run` serves with threads: use `flask socketio run`, or begin with `{PATCH_LINE}`")
    return OK


def _no(reason: str) -> Verdict:
    return Verdict(usable=False, reason=reason)


@hookimpl
def socketio_async_modes() -> AsyncModeInfo:
    """Offer eventlet, which is chosen first when nothing speaks against it."""
    return AsyncModeInfo(
        name="eventlet",
        priority=100,
        load=load_mode,
        requires=REQUIRES,
        probe=suits,
        install=INSTALL,
        summary="eventlet's hub and web server",
        patch="eventlet:monkey_patch",
    )


@hookimpl
def socketio_websocket_providers() -> WebSocketProviderInfo:
    """Offer the WebSockets of every server that eventlet runs."""
    return WebSocketProviderInfo(
        name="eventlet",
        priority=10,
        load=load_provider,
        async_modes=("eventlet",),
        requires=REQUIRES,
        install=INSTALL,
        summary="eventlet's web server",
    )
