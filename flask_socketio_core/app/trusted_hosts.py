"""Which hosts an application answers to: what holds for its views holds for the Socket.IO path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import HTTPException

from ..common.quoting import printable

if TYPE_CHECKING:
    import flask

INVALID_SUBDOMAIN = "<invalid>"
"""What Werkzeug makes of a host that is neither ``SERVER_NAME`` nor below it, so that no rule matches.

Source: ``werkzeug.routing.Map.bind_to_environ``.
"""


def host_refusal(app: flask.Flask, environ: dict[str, Any]) -> str | None:
    """Say why Flask refuses a request's host, or ``None`` if it does not.

    Flask itself is asked, so that each of its releases decides as it does for a view: by ``TRUSTED_HOSTS`` since 3.1,
    and by ``SERVER_NAME`` where subdomains are matched, which before 3.1 is everywhere.
    """
    trusted = app.config.get("TRUSTED_HOSTS")
    if trusted is None:
        trusted = app.request_class.trusted_hosts
    server_name = app.config.get("SERVER_NAME")
    if not trusted and server_name is None:
        return None
    host = printable(environ.get("HTTP_HOST", ""))
    try:
        adapter = app.create_url_adapter(app.request_class(environ, populate_request=False))
    except HTTPException:
        return f"host {host!r} is not trusted, expected one of TRUSTED_HOSTS={trusted!r}"
    if adapter is not None and adapter.subdomain == INVALID_SUBDOMAIN:
        return f"host {host!r} is not served, expected SERVER_NAME={server_name!r}"
    return None
