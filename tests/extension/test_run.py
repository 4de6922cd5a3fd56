"""``run()`` and ``stop()``: what reaches the async mode, and that it serves."""

from __future__ import annotations

import logging
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
import flask.cli
import pytest
from flask import Flask
from werkzeug.debug import DebuggedApplication

from flask_socketio_core import SocketIO
from flask_socketio_core.app.extension import MIDDLEWARES
from flask_socketio_core.app.middleware import SocketIOMiddleware
from flask_socketio_core.app.running import address
from flask_socketio_core.contracts import ServeOptions
from flask_socketio_core.contracts.concurrency.servers import TLS_OPTIONS
from flask_socketio_core.errors import InvalidOption
from flask_socketio_core.testing.ports import free_port
from support.flask_apps import MakeApp
from support.servers import wait_until
from support.wire.recorder import Recorder


@pytest.fixture
def served(
    app: Flask, socketio: SocketIO, monkeypatch: pytest.MonkeyPatch
) -> list[tuple[str, int, ServeOptions]]:
    """Note what the async mode is asked to serve, and return at once."""
    seen: list[tuple[str, int, ServeOptions]] = []
    mode = socketio.binding_of(app).mode
    monkeypatch.setattr(mode, "serve", lambda app, host, port, options: seen.append((host, port, options)))
    return seen


@pytest.mark.parametrize(
    ("server_name", "host", "port", "expected"),
    [
        (None, None, None, ("127.0.0.1", 5000)),
        ("example.org:7000", None, None, ("127.0.0.1", 7000)),
        ("example.org", None, None, ("127.0.0.1", 5000)),
        ("example.org:7000", "0.0.0.0", 80, ("0.0.0.0", 80)),
        (None, "::1", 0, ("::1", 0)),
        (None, "", "8080", ("0.0.0.0", 8080)),
        (None, "unix:///run/app.sock", 80.0, ("unix:///run/app.sock", 80)),
    ],
)
def test_address(app: Flask, server_name: str | None, host: str | None, port: Any, expected: Any) -> None:
    app.config["SERVER_NAME"] = server_name
    assert address(app, host, port) == expected


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a..b", "127.0.0.1:80", " "])
def test_a_host_without_an_address_is_named(app: Flask, socketio: SocketIO, host: str) -> None:
    with pytest.raises(OSError, match=rf"host '{host}' stands for no address.*use 127.0.0.1"):
        socketio.run(app, host=host, port=0, allow_unsafe_werkzeug=True)


@pytest.mark.parametrize("port", ["http", "", -1, 65_536, 80.5, True])
def test_a_port_that_is_none_is_named(app: Flask, socketio: SocketIO, port: Any) -> None:
    with pytest.raises(InvalidOption, match=rf"port={port!r} must be a whole number from 0 to 65535"):
        socketio.run(app, port=port)


def test_arguments_are_sorted(
    app: Flask, socketio: SocketIO, served: list[tuple[str, int, ServeOptions]]
) -> None:
    socketio.run(
        app,
        port=1,
        log_output=True,
        use_reloader=True,
        extra_files=["a"],
        reloader_options={"reloader_type": "stat"},
        allow_unsafe_werkzeug=True,
        certfile="cert",
        keyfile=None,
        ssl_context="adhoc",
        backlog=5,
        use_debugger=True,
    )
    ((_, _, options),) = served
    assert options == ServeOptions(
        debug=False,
        log_output=True,
        log_asked=True,
        use_reloader=True,
        reloader_options={"reloader_type": "stat", "extra_files": ["a"]},
        allow_unsafe_werkzeug=True,
        tls={"certfile": "cert", "ssl_context": "adhoc"},
        server={"backlog": 5},
    )


def test_all_that_is_about_tls_goes_where_the_servers_look_for_it(
    app: Flask, socketio: SocketIO, served: list[tuple[str, int, ServeOptions]]
) -> None:
    socketio.run(app, backlog=5, **dict.fromkeys(TLS_OPTIONS, "given"))  # type: ignore[arg-type]  # names of options
    ((_, _, options),) = served
    assert (options.tls, options.server) == (dict.fromkeys(TLS_OPTIONS, "given"), {"backlog": 5})


def test_debug_brings_log_reloader_and_a_debugger_inside_our_middleware(
    app: Flask, socketio: SocketIO, served: list[tuple[str, int, ServeOptions]]
) -> None:
    socketio.run(app, debug=True)
    socketio.run(app, debug=True)  # wraps nothing twice
    _, _, options = served[0]
    assert (options.debug, options.log_output, options.use_reloader, app.debug) == (True, True, True, True)
    middleware: SocketIOMiddleware = app.extensions[MIDDLEWARES][socketio]
    assert app.wsgi_app == middleware
    assert isinstance(middleware.wsgi_app, DebuggedApplication)
    assert not isinstance(middleware.wsgi_app.app, DebuggedApplication)


def test_debugger_can_be_left_out(
    app: Flask, socketio: SocketIO, served: list[tuple[str, int, ServeOptions]]
) -> None:
    socketio.run(app, debug=True, use_debugger=False)
    assert not isinstance(app.extensions[MIDDLEWARES][socketio].wsgi_app, DebuggedApplication)


def test_under_flask_run_it_does_nothing(
    app: Flask,
    socketio: SocketIO,
    served: list[tuple[str, int, ServeOptions]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with click.Context(flask.cli.run_command), caplog.at_level(logging.WARNING):
        socketio.run(app)
    assert served == [] and "'flask run' serves this application already" in caplog.text


def test_stop_without_run_says_so(socketio: SocketIO) -> None:
    with pytest.raises(
        RuntimeError, match=r"nothing to stop: the server was not started by SocketIO\.run\(\)"
    ):
        socketio.stop()


@contextmanager
def running(app: Flask, socketio: SocketIO) -> Iterator[str]:
    """Serve in a thread; the body has to stop it."""
    port = free_port()
    thread = threading.Thread(target=lambda: socketio.run(app, port=port, allow_unsafe_werkzeug=True))
    thread.start()
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"{url}/ready", timeout=2) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    assert wait_until(answers, timeout_s=10)
    yield url
    thread.join(10)
    assert not thread.is_alive()


def _in_a_view(url: str, socketio: SocketIO) -> None:
    urllib.request.urlopen(f"{url}/stop", timeout=5).close()


def _in_a_handler(url: str, socketio: SocketIO) -> None:
    client = Recorder(int(url.rpartition(":")[2]))
    client.connect()
    client.emit("stop")
    client.wait_closed()


def _in_another_thread(url: str, socketio: SocketIO) -> None:
    socketio.stop()


@pytest.mark.parametrize("stop", [_in_a_view, _in_a_handler, _in_another_thread])
def test_stop_ends_run(make_app: MakeApp, stop: Callable[[str, SocketIO], None]) -> None:
    app, socketio = make_app()
    app.add_url_rule("/ready", view_func=lambda: "", endpoint="ready")

    @app.get("/stop")
    def stop_view() -> str:
        socketio.stop()
        return ""

    socketio.on_event("stop", socketio.stop)
    gone: list[str] = []
    socketio.on_event("disconnect", gone.append)
    with running(app, socketio) as url:
        stop(url, socketio)
    assert gone == (["server disconnect"] if stop is _in_a_handler else [])
    with running(app, socketio) as url:  # and again
        socketio.stop()
