"""The Flask context of a handler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Flask, current_app, g, request, url_for

if TYPE_CHECKING:
    from support.apps.scenario.journal import Note


def register(socketio: Any, app: Flask, library: Any, note: Note) -> None:
    """Add the handlers."""

    @app.before_request
    def before() -> None:
        g.before_request_ran = True

    @app.teardown_request
    def teardown(error: BaseException | None) -> None:
        if getattr(request, "event", {"message": None})["message"] == "context teardown":
            note("teardown_request", error)

    @app.teardown_appcontext
    def teardown_app(error: BaseException | None) -> None:
        if getattr(g, "note_teardown", False):
            note("teardown_appcontext", error)

    @app.get("/some/<page>")
    def some_page(page: str) -> str:
        return page

    @socketio.on("context")
    def context(*args: Any) -> dict[str, Any]:
        return {
            "sid": request.sid,
            "namespace": request.namespace,
            "event": request.event,
            "args": {name: value for name, value in request.args.items() if name not in ("sid", "who", "t")},
            "header": request.headers.get("X-Test"),
            "cookie": request.cookies.get("taste"),
            "path": request.path,
            "method": request.method,
            "app": current_app.name == app.name,
            "extension": current_app.extensions["socketio"] is socketio,
            "url_for": url_for("some_page", page="x"),
            "before_request_ran": g.get("before_request_ran", False),
            "remote_addr": request.remote_addr,
        }

    @socketio.on("context g")
    def remember(value: Any) -> Any:
        before = g.get("value")
        g.value = value
        return before

    @socketio.on("context teardown")
    def with_teardown() -> None:
        g.note_teardown = True
        note("handler ran")
