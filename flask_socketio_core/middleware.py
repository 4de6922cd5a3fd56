"""The WSGI middleware between the web server and the Flask application."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from .binding import Binding


class SocketIOMiddleware:
    """Take the requests to the Socket.IO path, and pass on the others.

    It stands at ``app.wsgi_app``. Middleware added after ``init_app`` is outside of it and sees Socket.IO's requests.

    :param binding: the parts that serve them; replaced if ``init_app`` is called again for the application.
    :param wsgi_app: what stood at ``app.wsgi_app`` before.
    """

    def __init__(self, binding: Binding, wsgi_app: WSGIApplication) -> None:
        self.wsgi_app = wsgi_app
        self.bind(binding)

    def bind(self, binding: Binding) -> None:
        """Serve with other parts from now on."""
        self.binding = binding
        self._prefix = binding.options.endpoint

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request (WSGI)."""
        environ["flask.app"] = self.binding.app
        if environ.get("PATH_INFO", "").startswith(self._prefix):
            return self.binding.handle(environ, start_response)
        return self.wsgi_app(environ, start_response)
