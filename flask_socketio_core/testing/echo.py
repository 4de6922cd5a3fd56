"""A web server's WebSockets without the engine: a WSGI app that echoes through one mode and one provider.

The conformance suite for providers runs it under the server in question, in a process of its own::

    python -m flask_socketio_core.testing.echo my_package.mode:MyMode my_package.websocket:MyProvider 8000
    MODE=... PROVIDER=... gunicorn "flask_socketio_core.testing.echo:make_app()"

``PATCH=gevent.monkey:patch_all`` names a function that is called before anything else. ``MIDDLEWARE=1`` hides the
server's objects behind a middleware, ``MIDDLEWARE=start_response`` that function only. ``BLOCKING=1`` uses the
provider's blocking form only, ``TLS=certificate,key`` serves TLS, ``HIDDEN_MODULES=a,b`` makes modules look as if they
were not installed.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

for _name in filter(None, os.environ.get("HIDDEN_MODULES", "").split(",")):
    sys.modules[_name] = None  # type: ignore[assignment]  # the import system's own sign for "not there"
if "PATCH" in os.environ:
    _module, _, _function = os.environ["PATCH"].partition(":")
    getattr(importlib.import_module(_module), _function)()

import logging
import time

from ..contracts import ServeOptions
from ..contracts.detach import detach
from ..errors import ProtocolError
from ..websocket_protocol.frames import CLOSE, PING, FrameReader, build_frame, close_frame, pong_frame
from ..websocket_protocol.handshake import check_upgrade, response_head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from ..contracts import AsyncMode, SocketLocation, WebSocketProvider
    from ..contracts.detach import Detached

MAX_MESSAGE_BYTES = 1_000_000


class EchoApp:
    """Echo every message; answer plain requests with what the process holds.

    :param mode: watches the descriptors.
    :param provider: finds the connections.
    :param blocking: use the blocking form even where the other one can be had.
    """

    def __init__(self, mode: AsyncMode, provider: WebSocketProvider, *, blocking: bool = False) -> None:
        self.mode = mode
        self.provider = provider
        self._blocking = blocking
        self._requests = 0
        self._open = {"detached": 0, "blocking": 0}
        self._without_start_response = 0

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        verdict = self.mode.check_request(environ)
        if not verdict.usable:
            return self._answer(start_response, "500 Unsuitable", {"reason": verdict.reason})
        if environ.get("HTTP_UPGRADE", "").lower() == "websocket":
            return self._upgrade(environ, start_response)
        self._requests += 1
        if environ["PATH_INFO"].startswith("/poll"):
            return self._poll(environ, start_response)
        if environ["PATH_INFO"] == "/stop":
            self.mode.stop()
        return self._answer(start_response, "200 OK", self._state())

    def _poll(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request on its connection if that may be taken; ``/poll/hidden`` is one behind middleware."""
        given = start_response if environ["PATH_INFO"] == "/poll" else partial(start_response)
        location = self.provider.locate(environ, given) if self.provider.detect(environ) else None
        if location is None or not location.carries_polls:
            return self._answer(start_response, "200 OK", {"form": "kept"})
        detached = detach(location)
        with contextlib.closing(detached.sock):
            head = "HTTP/1.1 200 OK\r\nContent-Length: 17\r\nConnection: close\r\n\r\n"
            detached.sock.send(head.encode() + b'{"form": "taken"}')
        return detached.respond(start_response, "200 OK")

    def _state(self) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "requests": self._requests,
            "cpu_s": time.process_time(),
            "fds": len(os.listdir("/proc/self/fd")),
            "without_start_response": self._without_start_response,
            **self._open,
        }

    def _answer(self, start_response: StartResponse, status: str, content: dict[str, Any]) -> list[bytes]:
        body = json.dumps(content).encode()
        start_response(status, [("Content-Length", str(len(body))), ("Content-Type", "application/json")])
        return [body]

    def _upgrade(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        accept = check_upgrade(environ)
        if not self.provider.detect(environ):
            return self._answer(start_response, "501 Not Detected", {})
        location = None if self._blocking else self.provider.locate(environ, start_response)
        if location is not None:
            return self._detach(location, accept, start_response)
        noting = NotingStartResponse(start_response)
        transport = self.provider.open(environ, noting, max_message_bytes=MAX_MESSAGE_BYTES)
        if transport is None:
            return self._answer(start_response, "501 Not Opened", {})
        self._without_start_response += not noting.called
        self._open["blocking"] += 1
        code = 1000
        try:
            while (message := transport.receive()) is not None:
                transport.send(message)
        except ProtocolError as error:
            code = error.close_code
        except OSError:
            pass  # the client is gone
        finally:
            transport.close(code)
            self._open["blocking"] -= 1
        return []

    def _detach(
        self, location: SocketLocation, accept: str, start_response: StartResponse
    ) -> Iterable[bytes]:
        detached = detach(location)
        if not location.handshake_done:
            detached.sock.send(response_head(accept))
        self._open["detached"] += 1
        connection = EchoConnection(self.mode, detached, partial(self._closed, "detached"))
        connection.start()
        return detached.respond(start_response)

    def _closed(self, form: str) -> None:
        self._open[form] -= 1


class EchoConnection:
    """A detached connection that echoes."""

    def __init__(self, mode: AsyncMode, detached: Detached, on_close: Callable[[], None]) -> None:
        self._mode = mode
        self._sock = detached.sock
        self._first_bytes = detached.first_bytes
        self._reader = FrameReader(MAX_MESSAGE_BYTES)
        self._on_close = on_close
        self._handle: Any = None
        self._unsent = b""

    def start(self) -> None:
        """Echo what came with the handshake, then whatever comes."""
        if self._first_bytes and not self._take(self._first_bytes):
            self._close()
        else:
            self._handle = self._mode.watch(self._sock.fileno(), self._on_readable)

    def _on_readable(self) -> None:
        if self._handle is None:
            return  # watch() has not returned yet; we are called again at once
        try:
            data = self._sock.recv(65_536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data or not self._take(data):
            self._handle.cancel()
            self._close()

    def _take(self, data: bytes) -> bool:
        """Echo messages; ``False`` when the connection is over."""
        for opcode, value in self._reader.feed(data):
            payload = value.encode() if isinstance(value, str) else value
            if opcode == CLOSE:
                self._send(close_frame(int.from_bytes(payload[:2], "big") or 1000))
                return False
            self._send(pong_frame(payload) if opcode == PING else build_frame(opcode, payload))
        if self._reader.error is not None:
            self._send(close_frame(self._reader.error.close_code))
        return self._reader.error is None

    def _send(self, frame: bytes) -> None:
        # An echo server may wait for its client for a moment; the engine never does.
        self._unsent += frame
        try:
            self._unsent = self._unsent[self._sock.send(self._unsent) :]
        except BlockingIOError:
            pass
        except OSError:
            self._unsent = b""
            return
        if self._unsent:
            self._mode.call_later(0.01, partial(self._send, b""))

    def _close(self) -> None:
        self._sock.close()
        self._on_close()


class NotingStartResponse:
    """``start_response``, with what a provider may look for on it, that notes whether it was called."""

    def __init__(self, inner: StartResponse) -> None:
        self._inner = inner
        self.called = False

    def __call__(self, *arguments: Any) -> Any:
        self.called = True
        return self._inner(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class HidingMiddleware:
    """What a middleware may do: wrap ``start_response`` and the request's body."""

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if os.environ["MIDDLEWARE"] != "start_response":
            environ["wsgi.input"] = HiddenInput(environ["wsgi.input"])
        return self._app(environ, lambda *arguments: start_response(*arguments))


class HiddenInput:
    """A request's body without anything else."""

    def __init__(self, body: Any) -> None:
        self.read = body.read


def load(name: str) -> Any:
    """Import ``module:attribute``."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def make_app(mode: str = "", provider: str = "") -> WSGIApplication:
    """Make the application from names, or from the environment."""
    app: WSGIApplication = EchoApp(
        load(mode or os.environ["MODE"])(),
        load(provider or os.environ["PROVIDER"])(),
        blocking="BLOCKING" in os.environ,
    )
    return HidingMiddleware(app) if "MIDDLEWARE" in os.environ else app


def main(mode: str, provider: str, port: int) -> None:
    """Serve until a signal comes."""
    logging.basicConfig(level=logging.INFO)
    app = EchoApp(load(mode)(), load(provider)(), blocking="BLOCKING" in os.environ)
    files = os.environ.get("TLS", "").split(",")
    tls = {"certfile": files[0], "keyfile": files[1]} if len(files) == 2 else {}
    options = ServeOptions(allow_unsafe_werkzeug=True, tls=tls)
    app.mode.serve(HidingMiddleware(app) if "MIDDLEWARE" in os.environ else app, "127.0.0.1", port, options)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
