"""What this plugin brings: gevent on its own server and under uWSGI, with their WebSockets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flask_socketio_core.contracts import AsyncModeInfo, WebSocketProviderInfo
from flask_socketio_core.hookspecs import hookimpl

from . import probes

if TYPE_CHECKING:
    from flask_socketio_core.contracts import AsyncMode, WebSocketProvider

INSTALL = "pip install flask-socketio-async-gevent"
GEVENT = "gevent>=23.9"


def load_gevent() -> type[AsyncMode]:
    from .mode import GeventMode

    return GeventMode


def load_uwsgi() -> type[AsyncMode]:
    from .mode import UwsgiMode

    return UwsgiMode


def load_uwsgi_provider() -> type[WebSocketProvider]:
    from .uwsgi import UwsgiProvider

    return UwsgiProvider


def load_gevent_websocket() -> type[WebSocketProvider]:
    from .websocket import GeventWebSocketProvider

    return GeventWebSocketProvider


def load_environ_socket() -> type[WebSocketProvider]:
    from .websocket import EnvironSocketProvider

    return EnvironSocketProvider


def load_builtin() -> type[WebSocketProvider]:
    from .websocket import PywsgiProvider

    return PywsgiProvider


@hookimpl
def socketio_async_modes() -> Sequence[AsyncModeInfo]:
    """Offer gevent twice: under uWSGI the server is another one."""
    return (
        AsyncModeInfo(
            name="gevent_uwsgi",
            priority=90,
            load=load_uwsgi,
            requires=(GEVENT,),
            probe=probes.suits_uwsgi,
            install=INSTALL,
            summary="gevent under uWSGI",
        ),
        AsyncModeInfo(
            name="gevent",
            priority=80,
            load=load_gevent,
            requires=(GEVENT,),
            probe=probes.suits_gevent,
            install=INSTALL,
            summary="gevent's pywsgi, gunicorn gevent",
            patch="gevent.monkey:patch_all",
        ),
    )


@hookimpl
def socketio_websocket_providers() -> Sequence[WebSocketProviderInfo]:
    """Offer a provider per server; where gevent-websocket has opened the connection, it goes first."""
    return (
        WebSocketProviderInfo(
            name="uwsgi",
            priority=30,
            load=load_uwsgi_provider,
            async_modes=("gevent_uwsgi",),
            requires=(GEVENT,),
            install=INSTALL,
            summary="uWSGI with --gevent and --http-websockets",
        ),
        WebSocketProviderInfo(
            name="gevent-websocket",
            priority=20,
            load=load_gevent_websocket,
            async_modes=("gevent",),
            requires=(GEVENT, "gevent-websocket>=0.10.1"),
            install="pip install flask-socketio-async-gevent[gevent-websocket]",
            summary="gevent-websocket's handler and worker",
        ),
        WebSocketProviderInfo(
            name="gevent-gunicorn",
            priority=15,
            load=load_environ_socket,
            async_modes=("gevent",),
            requires=(GEVENT,),
            install=INSTALL,
            summary="gunicorn -k gevent, a patched flask run",
        ),
        WebSocketProviderInfo(
            name="gevent-builtin",
            priority=10,
            load=load_builtin,
            async_modes=("gevent",),
            requires=(GEVENT,),
            install=INSTALL,
            summary="gevent's pywsgi, nothing more needed",
        ),
    )
