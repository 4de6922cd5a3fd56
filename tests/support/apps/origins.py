"""Many applications in one process, below paths of their own, each with its own idea of who may come from where."""

from __future__ import annotations

from typing import Any

from flask import Flask, jsonify, request
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from support.apps import base

#: What a setting in JSON cannot hold.
CALLABLES: dict[str, Any] = {
    "asks about the origin": lambda origin: origin.endswith(".example"),
    "asks about the request": lambda origin, environ: environ["HTTP_HOST"] in origin,
}


def make_app() -> tuple[Flask, Any]:
    """Make the application that the others are mounted in, and its extension object.

    Settings: ``mounts`` has for each path ``options``, ``config``, ``fix`` (arguments of ``ProxyFix``) and ``early``
    (``ProxyFix`` is put on before ``SocketIO``).
    """
    library = base.library()
    app = Flask(__name__)
    socketio = library.SocketIO(app, **base.options())
    base.add_views(app, socketio, base.Journal())
    mounts: dict[str, Any] = {
        path: _mounted(library, **settings) for path, settings in base.settings()["mounts"].items()
    }
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, mounts)  # type: ignore[method-assign]  # how Flask wants it
    return app, socketio


def _mounted(
    library: Any,
    options: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
    fix: dict[str, int] | None = None,
    early: bool = False,
) -> Flask:
    app = Flask(__name__)
    app.config.update(config or {})
    if fix is not None and early:
        app.wsgi_app = ProxyFix(app.wsgi_app, **fix)  # type: ignore[method-assign]  # likewise
    given = {**base.options(), **(options or {})}
    origins = given.get("cors_allowed_origins")
    if isinstance(origins, str) and origins in CALLABLES:
        given["cors_allowed_origins"] = CALLABLES[origins]
    socketio = library.SocketIO(app, **given)
    if fix is not None and not early:
        app.wsgi_app = ProxyFix(app.wsgi_app, **fix)  # type: ignore[method-assign]  # likewise

    @socketio.on("who")
    def who() -> list[Any]:
        return [request.remote_addr, request.scheme, request.host]

    @app.get("/who")
    def view() -> Any:
        return jsonify([request.remote_addr, request.scheme, request.host])

    return app
