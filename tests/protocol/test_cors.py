"""Who may connect from which origin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from protocol.conftest import assert_websocket_refused
from support.servers import Server
from support.wire.engine import target
from support.wire.http import request

if TYPE_CHECKING:
    from support.servers import StartServer

pytestmark = pytest.mark.one_kind

FOREIGN = "http://elsewhere.example"
OPEN = target(transport="polling")


def test_same_origin_is_allowed_by_default(server: Server) -> None:
    answer = server.get(OPEN, headers={"Origin": server.url})
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == server.url
    assert answer.headers["access-control-allow-credentials"] == "true"


def test_foreign_origin_is_refused_by_default(server: Server) -> None:
    answer = server.get(OPEN, headers={"Origin": FOREIGN})
    assert answer.status == 400
    assert "access-control-allow-origin" not in answer.headers


def test_foreign_origin_cannot_open_a_websocket(server: Server) -> None:
    assert_websocket_refused(server, headers={"Origin": FOREIGN})


def test_client_without_origin_is_allowed(server: Server) -> None:
    assert "access-control-allow-origin" not in server.get(OPEN).headers


@pytest.mark.parametrize("allowed", ["*", ["*"], FOREIGN, ["http://other.example", FOREIGN]])
def test_allowed_origin_is_echoed(start: StartServer, allowed: str | list[str]) -> None:
    answer = start(cors_allowed_origins=allowed).get(OPEN, headers={"Origin": FOREIGN})
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == FOREIGN


def test_origin_that_is_not_listed_is_refused(start: StartServer) -> None:
    server = start(cors_allowed_origins=FOREIGN)
    assert server.get(OPEN, headers={"Origin": "http://other.example"}).status == 400


def test_empty_list_switches_the_check_and_the_headers_off(start: StartServer) -> None:
    answer = start(cors_allowed_origins=[]).get(OPEN, headers={"Origin": FOREIGN})
    assert answer.status == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_credentials_can_be_switched_off(start: StartServer) -> None:
    answer = start(cors_credentials=False).get(OPEN)
    assert "access-control-allow-credentials" not in answer.headers


def test_no_answer_can_be_taken_for_a_page(server: Server) -> None:
    for answer in (server.get(OPEN), server.get(OPEN, headers={"Origin": FOREIGN}), server.get(target())):
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_preflight_is_answered(start: StartServer) -> None:
    headers = {"Origin": FOREIGN, "Access-Control-Request-Headers": "X-Token"}
    answer = request(start(cors_allowed_origins="*").port, "OPTIONS", OPEN, headers=headers)
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == FOREIGN
    assert answer.headers["access-control-allow-methods"] == "OPTIONS, GET, POST"
    assert answer.headers["access-control-allow-headers"] == "X-Token"
