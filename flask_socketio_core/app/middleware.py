"""The WSGI middleware between the web server and the Flask application."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import TYPE_CHECKING

from werkzeug.middleware.proxy_fix import ProxyFix

from .compatibility.middleware import MiddlewareAttributes

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from .binding import Binding


MOST_LAYERS = 20
"""So deep ``ProxyFix`` is looked for inside other middleware: more than anybody stacks."""


class SocketIOMiddleware(MiddlewareAttributes):
    """Take the requests to the Socket.IO path, and pass on the others.

    It stands at ``app.wsgi_app``. Middleware added after ``init_app`` is outside of it and sees Socket.IO's requests.
    Of that added before, only ``ProxyFix`` counts for them: by it the application says which forwarded headers it
    believes.

    :param binding: the parts that serve them; replaced if ``init_app`` is called again for the application.
    :param wsgi_app: what stood at ``app.wsgi_app`` before.
    """

    binding: Binding

    def __init__(self, binding: Binding, wsgi_app: WSGIApplication) -> None:
        self.wsgi_app = wsgi_app
        self.bind(binding)

    def bind(self, binding: Binding) -> None:
        """Serve with other parts from now on."""
        self.binding = binding
        self._prefix = binding.options.endpoint
        self._handle = _behind_proxies(binding.handle, self.wsgi_app)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request (WSGI)."""
        binding = self.binding
        environ["flask.app"] = binding.app
        if not binding.plugins_set_up.is_set():
            binding.set_up()
        if environ.get("PATH_INFO", "").startswith(self._prefix):
            return self._handle(environ, start_response)
        return self.wsgi_app(environ, start_response)


def _behind_proxies(handle: WSGIApplication, wsgi_app: object) -> WSGIApplication:
    """Return ``handle`` behind a copy of each ``ProxyFix`` that stands before ``wsgi_app``."""
    fixes: list[ProxyFix] = []
    for _ in range(MOST_LAYERS):
        if isinstance(wsgi_app, ProxyFix):
            fixes.append(wsgi_app)
        wsgi_app = getattr(wsgi_app, "app", None) or getattr(wsgi_app, "wsgi_app", None)
    for fix in reversed(fixes):
        outer = copy.copy(fix)
        outer.app = handle
        handle = outer
    return handle
