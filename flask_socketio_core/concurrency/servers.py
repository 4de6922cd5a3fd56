"""Which web server made a WSGI environ."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


def name_server(environ: WSGIEnvironment) -> str | None:
    """Name the server for a message; ``None`` if there is no sign of one, as with a test client."""
    if "uwsgi.version" in environ:
        return "uWSGI"
    software: str = environ.get("SERVER_SOFTWARE", "")
    if software:
        return software
    keys = [key for key in environ if key.endswith((".input", ".socket")) and not key.startswith("wsgi.")]
    return f"the server of {keys[0].partition('.')[0]}" if keys else None


def is_gunicorn(environ: WSGIEnvironment) -> bool:
    """Say whether gunicorn made the environ, whichever its worker class."""
    return "gunicorn" in environ.get("SERVER_SOFTWARE", "") or "gunicorn.socket" in environ
