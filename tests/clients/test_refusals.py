"""A WebSocket that is refused is answered with an HTTP status on every kind of server, and never opened before."""

from __future__ import annotations

import pytest

from support.servers import Server
from support.wire.engine import target

UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "c2l4dGVlbiBieXRlcyBvaw==",
}


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        pytest.param({}, {"Origin": "http://elsewhere.example"}, 400, id="foreign origin"),
        pytest.param({"EIO": "3"}, {}, 400, id="Engine.IO 3"),
        pytest.param({"sid": "unknown"}, {}, 400, id="unknown session"),
        pytest.param({}, {"Sec-WebSocket-Key": "not base64!"}, 400, id="malformed key"),
        pytest.param({}, {"Sec-WebSocket-Version": "8"}, 426, id="draft protocol"),
    ],
)
def test_a_refused_websocket_has_a_status(
    server: Server, query: dict[str, str], headers: dict[str, str], status: int
) -> None:
    begin = len(server.log_text())
    answer = server.get(target(transport="websocket", **query), headers={**UPGRADE, **headers})
    assert answer.status == status
    assert "Traceback" not in server.log_text()[begin:]


def test_a_client_of_the_0_9_line_is_refused(server: Server) -> None:
    assert server.get("/socket.io/1/?t=1").status == 400
