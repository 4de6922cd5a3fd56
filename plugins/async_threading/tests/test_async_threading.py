"""The threading plugin as it is found, chosen and refused."""

from __future__ import annotations

import contextlib
import io
import logging
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from flask_socketio_async_threading.hooks import suits
from flask_socketio_async_threading.mode import ThreadingMode
from flask_socketio_async_threading.server import make_server
from flask_socketio_core.contracts import ServeOptions
from flask_socketio_core.contracts.process import ProcessFacts
from flask_socketio_core.errors import UnsafeServer
from flask_socketio_core.selection import Plugins
from flask_socketio_core.testing.conformance.async_modes import Serving, application, wait_for
from flask_socketio_core.testing.ports import free_port


def test_it_is_installed_and_listed_as_ok() -> None:
    description = Plugins(facts=ProcessFacts(flask_run=True)).describe()
    plugin = next(plugin for plugin in description.plugins if plugin.name == "async-threading")
    assert (plugin.status, plugin.distribution) == ("ok", "flask-socketio-async-threading")
    mode = next(part for part in plugin.parts if part.name == "threading")
    assert (mode.status, mode.selected) == ("ok", True)


def test_flask_run_means_threading() -> None:
    assert Plugins(facts=ProcessFacts(flask_run=True)).select_async_mode().info.name == "threading"


@pytest.mark.parametrize("worker", ["gthread", "sync"])
def test_gunicorn_with_threads_means_threading(worker: str) -> None:
    plugins = Plugins(facts=ProcessFacts(gunicorn_worker=worker))
    assert plugins.select_async_mode().info.name == "threading"


@pytest.mark.parametrize("library", ["gevent", "eventlet"])
def test_there_are_no_threads_in_a_patched_process(library: str) -> None:
    verdict = suits(ProcessFacts(socket_owner=library))
    assert not verdict.usable
    assert f"{library} has monkey-patched this process" in verdict.reason


def test_werkzeug_does_not_serve_without_a_terminal_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(UnsafeServer, match="allow_unsafe_werkzeug=True"):
        make_server(application, "127.0.0.1", 0, ServeOptions())


def test_requests_are_logged_only_when_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "werkzeug")
    mode = ThreadingMode()
    with Serving(mode) as server:
        server.get("/quiet")
    assert "/quiet" not in caplog.text
    with Serving(mode, log_output=True) as server:
        server.get("/loud")
        wait_for(mode, lambda: "/loud" in caplog.text)
    mode.close()


@pytest.mark.skipif(
    sys.platform != "linux" or int(Path("/proc/sys/net/core/somaxconn").read_text()) < 1024,
    reason="this system lets no more connections wait",
)
def test_clients_that_come_all_at_once_need_not_try_again() -> None:
    server = make_server(application, "127.0.0.1", 0, ServeOptions(allow_unsafe_werkzeug=True))
    with contextlib.ExitStack() as stack:
        stack.callback(server.server_close)
        for _ in range(500):  # nobody accepts any
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=0.8))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"server": {"thraeded": True}}, "unexpected keyword argument 'thraeded'"),
        ({"tls": {"keyfile": "key.pem"}}, "need certfile= or ssl_context="),
    ],
)
def test_options_that_do_not_exist_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        make_server(
            application, "127.0.0.1", free_port(), ServeOptions(allow_unsafe_werkzeug=True, **options)
        )


def test_a_request_fits_as_long_as_nobody_patched_the_process() -> None:
    assert ThreadingMode().check_request({"SERVER_SOFTWARE": "gunicorn/27.0.0"}).usable
