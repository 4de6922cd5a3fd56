"""An application that answers at once, and nothing else: what a request costs in a web server at least.

Run directly with Werkzeug's or gevent's server, or by gunicorn. Environment: ``APP_SERVER`` (``werkzeug`` or
``gevent``), ``APP_PORT``.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

BODY = b'42["tick",{"seq":0,"text":"the quick brown fox jumps"}]'
"""As long as the answer to a poll in the case ``poll``; its headers are as many."""
HEADERS = [
    ("Content-Type", "text/plain; charset=UTF-8"),
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Access-Control-Allow-Credentials", "true"),
    ("Content-Length", str(len(BODY))),
]


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer (WSGI)."""
    start_response("200 OK", HEADERS)
    return [BODY]


def main() -> None:
    """Serve, without a log line per request."""
    port = int(os.environ["APP_PORT"])
    if os.environ["APP_SERVER"] == "gevent":
        from gevent.pywsgi import WSGIServer

        WSGIServer(("127.0.0.1", port), app, log=None).serve_forever()
    else:
        from werkzeug.serving import WSGIRequestHandler, make_server

        class Quiet(WSGIRequestHandler):
            def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
                """Log nothing."""

        make_server("127.0.0.1", port, app, threaded=True, request_handler=Quiet).serve_forever()


if __name__ == "__main__":
    main()
