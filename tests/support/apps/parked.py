"""An application whose clients poll, with views that look at the polls which wait."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from flask import Flask, jsonify
from flask import request as http_request
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_socketio_core.transport.parked import ParkedConnection
from flask_socketio_core.transport.polling import PollingTransport
from flask_socketio_core.transport.session import Session
from support.apps import base


def make_app() -> tuple[Flask, Any]:
    """Make the application and its extension object."""
    library = base.library()
    journal = base.Journal()
    app = Flask(__name__)
    if base.settings().get("middleware") == "inside":
        app.wsgi_app = adds_a_header(app.wsgi_app)  # type: ignore[method-assign]
    socketio = library.SocketIO(app, **base.options())
    if base.settings().get("middleware") == "outside":
        app.wsgi_app = adds_a_header(app.wsgi_app)  # type: ignore[method-assign]

    @socketio.observe
    def socketio_refused(environ: dict[str, Any], status: int, message: str) -> None:
        journal.note("refused", environ["REQUEST_METHOD"], status, message)

    if base.settings().get("adds_headers", True):

        @socketio.observe
        def socketio_response_headers(environ: dict[str, Any], first: bool) -> dict[str, str]:
            return {"X-First": str(first)}

    served: list[str] = []
    app.wsgi_app = noting(app.wsgi_app, served)  # type: ignore[method-assign]

    @socketio.on("disconnect")
    def disconnect(reason: str) -> None:
        journal.note("disconnect", reason)

    @socketio.on("who")
    def who() -> str:
        sid: str = http_request.sid
        return sid

    @app.get("/emit")
    def emit() -> str:
        asked = http_request.args
        text = asked.get("text") or "x" * int(asked.get("size", 1))
        for _ in range(int(asked.get("count", 1))):
            socketio.emit("news", text, to=asked.get("to"), skip_sid=asked.get("skip"))
        return ""

    @app.get("/kick")
    def kick() -> str:
        return str(socketio.kick(to=http_request.args["sid"]))

    @app.get("/fork")
    def fork() -> str:
        pid = os.fork()
        if pid == 0:
            time.sleep(8)
            os._exit(0)
        return str(pid)

    @app.get("/polled")
    def polled() -> str:
        sid = http_request.args["sid"]
        sessions = (thing for thing in gc.get_objects() if isinstance(thing, Session) and thing.sid == sid)
        return str(
            any(isinstance(each.transport, PollingTransport) and each.transport.polled for each in sessions)
        )

    @app.get("/state")
    def state() -> Any:
        things = gc.get_objects()
        sessions = [thing for thing in things if isinstance(thing, Session)]
        return jsonify(
            threads=threading.active_count(),
            descriptors=len(os.listdir("/proc/self/fd")),
            parked=sum(isinstance(thing, ParkedConnection) for thing in things),
            served=sum(method == "GET /socket.io/" for method in served),
            unread=[session.unread_bytes for session in sessions],
        )

    if base.settings().get("fix"):
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1)  # type: ignore[method-assign]
    base.add_views(app, socketio, journal)
    return app, socketio


def noting(wsgi_app: Any, served: list[str]) -> Any:
    """Return an application that notes which requests the web server has passed to it."""

    def through(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        served.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
        return wsgi_app(environ, start_response)

    return through


def adds_a_header(wsgi_app: Any) -> Any:
    """Return an application whose responses say that they came through middleware."""

    def through(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            return start_response(status, [*headers, ("X-Middleware", "yes")], *more)

        return wsgi_app(environ, start)

    return through
