"""Which origins may talk to the server, and what browsers are told about it."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..options import Options

Headers = list[tuple[str, str]]


class Cors:
    """The ``cors_allowed_origins`` and ``cors_credentials`` options at work.

    A callable is asked with ``(origin, environ)``, or with ``(origin)`` alone if it takes one argument.

    Source: the forms accepted by python-engineio.
    """

    def __init__(self, options: Options) -> None:
        self._setting = options.cors_allowed_origins
        self._credentials = options.cors_credentials
        self._asks_with_environ = callable(self._setting) and _takes_two(self._setting)

    def refusal(self, environ: dict[str, Any]) -> str | None:
        """Return why a request's origin is refused, or ``None`` if it is allowed."""
        origin = environ.get("HTTP_ORIGIN")
        if origin is None or self._setting == () or self._allows(origin, environ):
            return None
        expected = ", ".join(same_origins(environ)) if self._setting is None else repr(self._setting)
        return (
            f"origin {origin} is not allowed, expected {expected}; allow it with cors_allowed_origins=[{origin!r}], "
            "or put werkzeug's ProxyFix around the app if it runs behind a proxy"
        )

    def headers(self, environ: dict[str, Any]) -> Headers:
        """Return the response headers for a request, none when the handling is switched off."""
        if self._setting == ():
            return []
        headers: Headers = []
        origin = environ.get("HTTP_ORIGIN")
        if origin is not None and self._allows(origin, environ):
            headers.append(("Access-Control-Allow-Origin", origin))
        if environ["REQUEST_METHOD"] == "OPTIONS":
            headers.append(("Access-Control-Allow-Methods", "OPTIONS, GET, POST"))
        requested = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS")
        if requested is not None:
            headers.append(("Access-Control-Allow-Headers", requested))
        if self._credentials:
            headers.append(("Access-Control-Allow-Credentials", "true"))
        return headers

    def _allows(self, origin: str, environ: dict[str, Any]) -> bool:
        setting = self._setting
        if setting is None:
            return origin in same_origins(environ)
        if callable(setting):
            return bool(setting(origin, environ) if self._asks_with_environ else setting(origin))
        if isinstance(setting, str):
            return setting in ("*", origin)
        return "*" in setting or origin in setting


def same_origins(environ: dict[str, Any]) -> list[str]:
    """Return the origins that are this server itself: as reached, and as seen from behind a proxy."""
    scheme, host = environ.get("wsgi.url_scheme", "http"), environ.get("HTTP_HOST")
    if host is None:
        return []
    origins = [f"{scheme}://{host}"]
    forwarded_proto = environ.get("HTTP_X_FORWARDED_PROTO")
    forwarded_host = environ.get("HTTP_X_FORWARDED_HOST")
    if forwarded_proto is not None or forwarded_host is not None:
        origins.append(f"{_first(forwarded_proto or scheme)}://{_first(forwarded_host or host)}")
    return origins


def _first(header: str) -> str:
    return header.split(",")[0].strip()


def _takes_two(function: Any) -> bool:
    try:
        inspect.signature(function).bind(None, None)
    except (TypeError, ValueError):
        return False
    return True
