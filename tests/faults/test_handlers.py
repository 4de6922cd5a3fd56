"""Handlers that raise what no handler should, and what no program expects."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from support.servers import MODE_KINDS, UWSGI_GEVENT, AppSpec, Server, kind_params, serving
from support.wire.engine import WebSocket

ERRORS = (
    "BaseException",
    "GeneratorExit",
    "KeyboardInterrupt",
    "MemoryError",
    "RecursionError",
    "StopIteration",
    "SystemExit",
    "Unprintable",
    "asyncio.CancelledError",
    "concurrent.futures.CancelledError",
)
GREEN = {
    "eventlet": ("eventlet.Timeout", "greenlet.GreenletExit"),
    "gevent": ("gevent.Timeout", "greenlet.GreenletExit"),
    "gevent_uwsgi": ("gevent.Timeout", "greenlet.GreenletExit"),
}


pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module", params=kind_params(*MODE_KINDS, UWSGI_GEVENT))
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(request.param, AppSpec(app="failing"), tmp_path_factory.mktemp("handlers")) as server:
        yield server


def join(server: Server, error: str, *, at_once: bool = False) -> tuple[WebSocket, str]:
    """Connect to the handlers that raise, and return the answer."""
    client = WebSocket(server.port, query={"error": error})
    client.receive()
    client.send("40/raising," + json.dumps({"error": error if at_once else ""}))
    return client, str(client.receive())


def ask(client: WebSocket) -> None:
    client.send("40")
    assert str(client.receive()).startswith("40{")
    client.send('429["echo",1]')
    assert client.receive() == "439[1]"


def test_whatever_a_handler_raises_ends_neither_its_client_nor_its_server(server: Server) -> None:
    before = server.usage()
    for error in (*ERRORS, *GREEN.get(server.kind.mode, ())):
        server.reset()
        written = len(server.log_text())
        client, answer = join(server, error)
        assert answer.startswith("40/raising,"), error
        for _ in range(20):
            client.send(f'42/raising,["raise","{error}"]')
        client.send("41/raising,")
        ask(client)
        assert server.wait_journal("disconnect") == [["disconnect", "client disconnect"]], error
        refused, answer = join(server, error, at_once=True)
        assert answer == '44/raising,{"message":"Connection rejected by server"}', error
        ask(refused)
        told = server.log_text()[written:]
        for handler in ("raise_now", "raise_at_the_end", "raise_at_the_beginning"):
            assert len(re.findall(rf"{handler} failed for client .*{error.rpartition('.')[2]}", told)) == 1, (
                told
            )
    assert server.process.poll() is None
    assert server.usage().threads <= before.threads + 8
