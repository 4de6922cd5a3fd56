"""Sessions: forked from the HTTP session, or Flask's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Flask, jsonify, request, session
from flask.sessions import SessionInterface, SessionMixin

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask.wrappers import Request, Response

    from support.apps.scenario.journal import Note


class _StoredSession(dict[str, Any], SessionMixin):
    def __init__(self, key: str, values: dict[str, Any]) -> None:
        super().__init__(values)
        self.key = key
        self.modified = False

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, value)
        self.modified = True


class ServerSideSessions(SessionInterface):
    """Sessions kept in this process, named by a cookie, as Flask-Session would do with a store."""

    def __init__(self) -> None:
        self.store: dict[str, dict[str, Any]] = {}

    def open_session(self, app: Flask, request: Request) -> _StoredSession:  # Flask's signature
        key = request.cookies.get("key", "anonymous")
        return _StoredSession(key, self.store.get(key, {}))

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        if isinstance(session, _StoredSession):
            self.store[session.key] = dict(session)
            response.set_cookie("key", session.key)


def configure(app: Flask, settings: Mapping[str, Any]) -> None:
    """Set what must be set before the first request."""
    if settings.get("sessions") == "server-side":
        app.session_interface = ServerSideSessions()


def register(socketio: Any, app: Flask, library: Any, note: Note) -> None:
    """Add the handlers and views."""

    @app.get("/session")
    def read_session() -> Any:
        return jsonify(dict(session))

    @app.get("/session/set")
    def set_session() -> Any:
        session.update(request.args)
        return jsonify(dict(session))

    @socketio.on("session get")
    def get(*names: str) -> dict[str, Any]:
        return {name: session.get(name) for name in names}

    @socketio.on("session set")
    def set_value(name: str, value: Any) -> dict[str, Any]:
        session[name] = value
        return dict(session)

    @socketio.on("session pop")
    def pop_value(name: str) -> Any:
        return session.pop(name, "nothing")

    @socketio.on("session kind")
    def kind() -> list[bool]:
        return [isinstance(session._get_current_object(), dict), hasattr(session, "permanent")]

    @socketio.on("session get", namespace="/session")
    def get_elsewhere(*names: str) -> dict[str, Any]:
        return {name: session.get(name) for name in names}

    @socketio.on("disconnect", namespace="/session")
    def disconnect(reason: str) -> None:
        note("session at disconnect", reason, {name: session[name] for name in sorted(session)})

    @socketio.on("connect", namespace="/session")
    def connect() -> None:
        session["visits"] = session.get("visits", 0) + 1

    socketio.on_event("fence", lambda: None, namespace="/session")
