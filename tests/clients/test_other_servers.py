"""Web servers that this project has no WebSocket for, or that fit no mode: what is said, to whom, and how they end."""

from __future__ import annotations

import dataclasses
import importlib.util
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.servers import (
    HOST,
    UWSGI_GEVENT,
    AppSpec,
    Server,
    ServerKind,
    kind_params,
    serving,
)
from support.wire.engine import Polling, target
from support.wire.http import Response

KEY = "c2l4dGVlbiBieXRlcyBvaw=="
UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
}
APP = "support.apps.wsgi:app"


def _uvicorn(port: int) -> list[str]:
    # websockets may be installed: uvicorn would answer the upgrade itself
    options = ["--interface", "wsgi", "--ws", "none", "--host", HOST, "--port", str(port)]
    return [sys.executable, "-m", "uvicorn", *options, APP]


def _waitress(port: int) -> list[str]:
    return [sys.executable, "-m", "waitress", "--listen", f"{HOST}:{port}", APP]


def _uwsgi(*options: str) -> ServerKind:
    """Return a kind of uWSGI with other options than those of its gevent loop."""

    def command(port: int) -> list[str]:
        arguments = UWSGI_GEVENT.command(port)
        begin = arguments.index("--gevent")
        return [*arguments[:begin], *options, *arguments[begin + 3 :]]

    return dataclasses.replace(UWSGI_GEVENT, command=command)


WAITRESS = ServerKind(name="waitress", mode="threading", command=_waitress, modules=("waitress",))
UVICORN = ServerKind(name="uvicorn", mode="threading", command=_uvicorn, modules=("uvicorn",))
UWSGI_THREADS = dataclasses.replace(
    _uwsgi("--enable-threads", "--threads", "2"), name="uwsgi-threads", mode="threading", automatic=False
)
UWSGI_LATE_PATCH = dataclasses.replace(
    _uwsgi("--gevent", "50", "--gevent-monkey-patch"), name="uwsgi-late-patch"
)


#: With a2wsgi installed an environ of uvicorn's tells what made it, else it has no name.
ASGI = "an ASGI server" if importlib.util.find_spec("a2wsgi") else "a web server without a name"
NAMES = {"waitress": "waitress", "uvicorn": ASGI, "uwsgi-threads": "uWSGI"}
NO_HUB = [
    dataclasses.replace(UVICORN, name=f"uvicorn-{mode}", mode=mode, modules=("uvicorn", mode))
    for mode in ("gevent", "eventlet")
]


@pytest.fixture(scope="module", params=kind_params(WAITRESS, UVICORN, UWSGI_THREADS))
def without(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Give a server without WebSocket."""
    with serving(request.param, AppSpec(app="clients"), tmp_path_factory.mktemp("other")) as server:
        yield server


def ask_for_websocket(server: Server) -> Response:
    return server.get(target(transport="websocket"), headers=UPGRADE)


def test_a_server_without_websocket_is_named_once_with_what_to_use(without: Server) -> None:
    name = NAMES[without.kind.name]
    said = f"no installed WebSocket provider can serve {name}; with async_mode='threading' there is WebSocket on: "
    for _ in range(2):
        session = Polling(without.port)
        assert session.handshake.fields["upgrades"] == []
        session.post("40")
        assert str(session.receive()[0]).startswith("40")
        answer = ask_for_websocket(without)
        assert answer.status == 400
        assert said + "Werkzeug's server" in answer.text
        assert "gunicorn with gthread" in answer.text
    assert without.log_text().count(said) == 1


@pytest.mark.parametrize("kind", kind_params(*NO_HUB))
def test_a_green_mode_is_refused_where_nobody_runs_its_hub(kind: ServerKind, tmp_path: Path) -> None:
    with serving(kind, AppSpec(app="clients"), tmp_path) as server:
        assert server.get(target(transport="polling")).status == 500
        assert f"async_mode='{kind.mode}' cannot work behind {ASGI}" in server.log_text()
        assert "call socketio.run(app)" in server.log_text()
        server.stop(signal.SIGTERM, timeout_s=10)


@pytest.mark.parametrize("kind", kind_params(UWSGI_THREADS))
def test_uwsgi_without_gevent_is_told_at_start_what_that_costs(kind: ServerKind, tmp_path: Path) -> None:
    with serving(kind, AppSpec(app="clients"), tmp_path) as server:
        assert "one client stops all others; start uWSGI with --gevent 100" in server.log_text()


@pytest.mark.parametrize("kind", kind_params(UWSGI_LATE_PATCH))
def test_uwsgi_s_late_patch_is_answered_with_the_early_one(kind: ServerKind, tmp_path: Path) -> None:
    with serving(kind, AppSpec(app="clients"), tmp_path) as server:
        assert "start uWSGI with --gevent-early-monkey-patch instead" in server.log_text()


@pytest.mark.parametrize("kind", kind_params(UWSGI_GEVENT))
def test_uwsgi_s_early_patch_warns_of_nothing(kind: ServerKind, tmp_path: Path) -> None:
    with serving(kind, AppSpec(app="clients"), tmp_path) as server:
        Polling(server.port)
        assert "MonkeyPatchWarning" not in server.log_text()
        assert "has not patched" not in server.log_text()
