"""Clients that do not come back, in the same room as those that do."""

from __future__ import annotations

import queue
from pathlib import Path

import pytest

from support.clients import python_client
from support.proxy import Proxy
from support.recovering import clients, load
from support.servers import THREADING, AppSpec, Server, serving
from support.wire.engine import WebSocket


@pytest.mark.parametrize("transport", ["polling", "websocket"])
def test_python_clients_whose_handlers_have_fixed_arguments_get_no_more_than_before(
    server: Server, proxy: Proxy, transport: str
) -> None:
    received: queue.Queue[int] = queue.Queue()

    def number(value: int) -> None:
        received.put(value)

    inner = python_client()
    inner.on("number", number)
    with clients(proxy.port, 1, "websocket") as javascript:
        javascript.wait(1)
        inner.connect(server.url, transports=[transport], retry=False)
        try:
            server.wait_journal("connect", "connect")
            server.post("/do/emit?to=all&number=1")
            assert received.get(timeout=5) == 1
            with javascript.cut_off(proxy):
                server.post("/do/emit?to=all&number=2")
            assert received.get(timeout=5) == 2
            (seen,) = javascript.wait(2)
        finally:
            inner.disconnect()
    assert seen.received == [1, 2]
    assert load(server)["clients"] == 1  # the client of JavaScript


def test_who_takes_part_is_said_by_the_application(tmp_path: Path) -> None:
    """Also of a client that is not JavaScript, here by what it sends as its auth."""
    spec = AppSpec(app="recovery", options={"recovery": 60}, settings={"only_web": True})
    with serving(THREADING, spec, tmp_path) as server:
        one, other = WebSocket(server.port), WebSocket(server.port)
        for connection, auth in ((one, '{"web":1}'), (other, "")):
            connection.receive()
            connection.send(f"40{auth}")
        assert '"pid"' in str(one.receive())
        assert '"pid"' not in str(other.receive())
        server.post("/do/emit?to=all&number=1")
        assert str(one.receive()).startswith('42["number",1,"')
        assert other.receive() == '42["number",1]'
        one.close()
        other.close()
