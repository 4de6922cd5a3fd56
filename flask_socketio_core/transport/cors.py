"""Which origins may talk to the server, and what browsers are told about it."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

from ..common.origins import ANY, DEFAULT_PORTS, Origin, OriginList, parse
from ..common.quoting import printable

if TYPE_CHECKING:
    from ..common.headers import Headers
    from ..common.options import Options

_FIELD_NAMES = re.compile(r"[\w!#$%&'*+.^`|~-]+(?:[ \t]*,[ \t]*[\w!#$%&'*+.^`|~-]+)*", re.ASCII)
"""Names of header fields. Source: RFC 9110, section 5.1."""


class Cors:
    """The ``cors_allowed_origins`` and ``cors_credentials`` options at work.

    A callable is asked with ``(origin, environ)``, or with ``(origin)`` alone if it takes one argument.

    Source: the forms accepted by python-engineio.
    """

    def __init__(self, options: Options) -> None:
        self._setting = options.cors_allowed_origins
        self._credentials = options.cors_credentials
        self._asks_with_environ = callable(self._setting) and _takes_two(self._setting)
        self._listed = OriginList(self._setting if isinstance(self._setting, tuple) else ())

    @property
    def asks(self) -> bool:
        """Whether the application is asked about each request."""
        return callable(self._setting)

    def refusal(self, environ: dict[str, Any]) -> str | None:
        """Return why a request's origin is refused, or ``None`` if it is allowed."""
        origin = environ.get("HTTP_ORIGIN")
        if origin is None or self._setting == () or self._allows(origin, environ):
            return None
        shown = printable(origin)
        text = f"origin {shown} is not allowed, expected {self._expected(environ)}"
        if self._setting is None and parse(origin) == _forwarded_origin(environ) is not None:
            return (
                f"{text}; a proxy says {shown} in headers that count only where the application expects them: "
                f"app.wsgi_app = ProxyFix(app.wsgi_app, {_proxy_fix_arguments(environ)}), with werkzeug's ProxyFix"
            )
        return (
            f"{text}; allow it with cors_allowed_origins=[{shown!r}], or put werkzeug's ProxyFix around the app if it "
            "runs behind a proxy"
        )

    def headers(self, environ: dict[str, Any]) -> Headers:
        """Return the response headers for a request, none when the handling is switched off."""
        if self._setting == ():
            return []
        headers: Headers = []
        origin = environ.get("HTTP_ORIGIN")
        if origin is not None and parse(origin) is not None and self._allows(origin, environ):
            headers.append(("Access-Control-Allow-Origin", origin))
            requested = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "")
            if _FIELD_NAMES.fullmatch(requested):
                headers.append(("Access-Control-Allow-Headers", requested))
        if environ["REQUEST_METHOD"] == "OPTIONS":
            headers.append(("Access-Control-Allow-Methods", "OPTIONS, GET, POST"))
        if self._credentials:
            headers.append(("Access-Control-Allow-Credentials", "true"))
        return headers

    def _allows(self, text: str, environ: dict[str, Any]) -> bool:
        setting = self._setting
        if setting == ANY:
            return True
        if callable(setting):
            return bool(setting(text, environ) if self._asks_with_environ else setting(text))
        origin = parse(text)
        if origin is None:
            return False
        return origin == own_origin(environ) if setting is None else origin in self._listed

    def _expected(self, environ: dict[str, Any]) -> str:
        if self._setting is not None:
            return repr(self._setting)
        own = own_origin(environ)
        return "the server's own, but the request has no valid Host" if own is None else str(own)


def own_origin(environ: dict[str, Any]) -> Origin | None:
    """Return the origin under which a browser reached this server; ``None`` if the request does not say.

    What a proxy forwards counts through werkzeug's ``ProxyFix``, which has changed the environ by now. Only that the
    browser reached the same ``Host`` by TLS is believed without it: a page can forge nothing by this, and most proxies
    in front of applications without ``ProxyFix`` say just that. See ``docs/adr/0007-forwarded-headers.md``.
    """
    scheme = _first(environ, "wsgi.url_scheme")  # uWSGI puts the whole of X-Forwarded-Proto there
    if _first(environ, "HTTP_X_FORWARDED_PROTO").lower() in ("https", "wss"):
        scheme = "https"
    origin = parse(f"{scheme}://{environ.get('HTTP_HOST', '')}")
    return origin if origin is not None and origin.scheme in DEFAULT_PORTS else None


def _forwarded_origin(environ: dict[str, Any]) -> Origin | None:
    """Return the origin that forwarded headers speak of, if they count or not."""
    scheme = _first(environ, "HTTP_X_FORWARDED_PROTO") or _first(environ, "wsgi.url_scheme")
    host = _first(environ, "HTTP_X_FORWARDED_HOST") or environ.get("HTTP_HOST", "")
    port = _first(environ, "HTTP_X_FORWARDED_PORT")
    if port and host:
        host = re.sub(r":[0-9]*$", "", host) + f":{port}"
    return parse(f"{scheme}://{host}")


def _proxy_fix_arguments(environ: dict[str, Any]) -> str:
    parts = ("for", "proto", "host", "port")
    return ", ".join(f"x_{part}=1" for part in parts if f"HTTP_X_FORWARDED_{part.upper()}" in environ)


def _first(environ: dict[str, Any], header: str) -> str:
    """Return the first item of a list, which is what the proxy next to the browser said."""
    value: str = environ.get(header, "")
    return value.partition(",")[0].strip()


def _takes_two(function: Any) -> bool:
    try:
        inspect.signature(function).bind(None, None)
    except (TypeError, ValueError):
        return False
    return True
