"""The page, served by the application itself: same origin, and set up to connect to this server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from flask import Blueprint, Response, request, send_from_directory

from flask_socketio_core.errors import ConfigurationError

from . import build

if TYPE_CHECKING:
    from flask import Flask

    from flask_socketio_core import SocketIO

BLUEPRINT = "socketio_admin_ui"
HOSTED = "https://admin.socket.io"
FIRST_SCRIPT = '<script src="js/'
YEAR_S = 31_536_000
POLICY = "; ".join(
    (
        "default-src 'self'",
        "connect-src *",  # it can be told to connect to another server
        "img-src 'self' data:",
        "style-src 'self' 'unsafe-inline' https://fonts.googleapis.com https://cdn.jsdelivr.net",
        "font-src https://fonts.gstatic.com https://cdn.jsdelivr.net",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'none'",
    )
)
"""The page loads a font and icons from elsewhere, and no scripts."""

CONNECTION = """\
// Where the Admin UI keeps the server that it connects to; the login is kept beside it, under "session_id".
try {
  const connection = %s;
  connection.server_url = location.origin;
  for (const [key, value] of Object.entries(connection)) localStorage.setItem(key, value);
} catch (error) {
  console.warn("the Admin UI has to be told which server it is for:", error);
}
"""

MISSING = f"""\
The page of the Admin UI is not in this installation of flask-socketio-admin-ui: npm could not fetch it when the wheel
was made. Run

    {build.COMMAND}

where npm works, or open {HOSTED} and allow its origin: cors_allowed_origins=["{HOSTED}"].
"""


def serve(socketio: SocketIO, app: Flask, url: str, namespace: str) -> None:
    """Serve the page at a path of an application; again after a fork, it is served already.

    :raises ConfigurationError: if the application has something else there.
    """
    if BLUEPRINT in app.blueprints:
        return
    if any(rule.rule.rstrip("/") == url.rstrip("/") for rule in app.url_map.iter_rules()):
        raise ConfigurationError(
            f"the application has a view of its own at {url}: set SOCKETIO_ADMIN_UI_URL to another path"
        )
    blueprint = Blueprint(BLUEPRINT, __name__, url_prefix=url.rstrip("/"))

    @blueprint.get("/")
    def index() -> Response:
        if not build.is_here():
            return Response(MISSING, 404, mimetype="text/plain")
        page = (build.FOLDER / "index.html").read_text(encoding="utf-8")
        with_connection = page.replace(
            FIRST_SCRIPT, f'<script src="connection.js"></script>{FIRST_SCRIPT}', 1
        )
        response = Response(with_connection, mimetype="text/html")
        response.headers["Content-Security-Policy"] = POLICY
        return _fresh(response)

    @blueprint.get("/connection.js")
    def connection() -> Response:
        path = request.script_root + socketio.sockio_mw.engineio_path.rstrip("/")
        told = {"namespace": namespace, "path": path, "parser": "default"}
        return _fresh(Response(CONNECTION % json.dumps(told), mimetype="text/javascript"))

    @blueprint.get("/<path:name>")
    def file(name: str) -> Response:
        return send_from_directory(
            build.FOLDER, name, max_age=YEAR_S
        )  # their names change with what is in them

    app.register_blueprint(blueprint)


def _fresh(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-cache"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
