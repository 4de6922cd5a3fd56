"""The web server's access log says what happened, although the connection was taken away from it."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.servers import (
    CORE,
    FLASK_RUN,
    GEVENT_BUILTIN,
    GEVENT_WEBSOCKET,
    GUNICORN_GEVENT,
    GUNICORN_GTHREAD,
    REFERENCE,
    RUN_KINDS,
    UWSGI_GEVENT,
    AppSpec,
    Server,
    ServerKind,
    kind_params,
    serving,
    wait_until,
)
from support.wire.engine import Polling, WebSocket, target


def _logging(kind: ServerKind) -> ServerKind:
    """Return a kind of server with its access log switched on.

    Not gunicorn's worker of gevent-websocket, which has none.
    """
    if kind in RUN_KINDS:
        return dataclasses.replace(kind, env={"RUN_UNDER_TEST": json.dumps({"log_output": True})})
    if kind in (GUNICORN_GTHREAD, GUNICORN_GEVENT):
        return dataclasses.replace(kind, env={"GUNICORN_CMD_ARGS": "--access-logfile -"})
    return kind


KINDS = [_logging(kind) for kind in (*RUN_KINDS, FLASK_RUN, GUNICORN_GTHREAD, GUNICORN_GEVENT, UWSGI_GEVENT)]


@pytest.fixture(scope="module", params=kind_params(*KINDS))
def logging_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Give a server that writes an access log."""
    with serving(request.param, AppSpec(app="protocol"), tmp_path_factory.mktemp("log")) as server:
        yield server


def statuses(server: Server, mark: str) -> list[str]:
    """Return the status of each logged request whose target has a mark."""
    lines = [line for line in server.log_text().splitlines() if mark in line]
    return [status for line in lines for status in re.findall(r"HTTP/1\.1\S* (\d{3})\b", line)]


def assert_logged(server: Server, mark: str, *expected: str) -> None:
    """Assert that these requests are logged, with nothing besides."""
    assert wait_until(lambda: len(statuses(server, mark)) >= len(expected), timeout_s=15), server.log_text()
    assert statuses(server, mark) == list(expected)


def test_a_websocket_is_logged_with_status_101(logging_server: Server) -> None:
    client = WebSocket(logging_server.port, query={"mark": "direct"})
    assert str(client.receive()).startswith("0{")
    if logging_server.kind.name != UWSGI_GEVENT.name:
        assert_logged(logging_server, "mark=direct", "101")
    client.abort()  # uWSGI keeps the request until here
    assert_logged(logging_server, "mark=direct", "101")


def test_an_upgrade_of_a_session_is_logged_with_status_101(logging_server: Server) -> None:
    session = Polling(logging_server.port)
    client = WebSocket(logging_server.port, sid=session.sid)
    client.send("2probe")
    assert client.receive() == "3probe"
    client.send("5")
    client.send("40")
    assert str(client.receive()).startswith("40")
    client.abort()
    assert_logged(logging_server, f"sid={session.sid}", "101")


def test_a_refused_request_is_logged_with_its_status(logging_server: Server) -> None:
    assert logging_server.get(target(transport="polling", EIO="3", mark="refused")).status == 400
    assert_logged(logging_server, "mark=refused", "400")


@pytest.mark.parametrize("kind", kind_params(GEVENT_WEBSOCKET, GEVENT_BUILTIN))
def test_debug_alone_brings_the_log_that_flask_socketio_writes(kind: ServerKind, tmp_path: Path) -> None:
    debugging = dataclasses.replace(
        kind, env={"RUN_UNDER_TEST": json.dumps({"debug": True, "use_reloader": False})}
    )

    def logged(library: str) -> bool:
        with serving(debugging, AppSpec(app="protocol", library=library), tmp_path) as server:
            server.get(target(transport="polling", mark="debug"))
            server.get(
                target(transport="polling")
            )  # whose answer shows that the first request's line is written
        return bool(statuses(server, "mark=debug"))

    assert logged(CORE) is logged(REFERENCE)


def test_a_poll_that_waited_is_logged_with_status_200(logging_server: Server) -> None:
    session = Polling(logging_server.port)
    session.post("40")
    session.receive()
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        poll = executor.submit(session.get)
        assert not concurrent.futures.wait([poll], timeout=0.3).done
        session.post("41")
        session.post("1")
        assert poll.result(timeout=5).status == 200
    if logging_server.kind.name != UWSGI_GEVENT.name:  # whose lines do not have it like this
        wanted = ["200"] * 5  # two polls, and what was posted
        assert wait_until(lambda: statuses(logging_server, f"sid={session.sid}") == wanted, timeout_s=15)
