"""The opening handshake of a WebSocket."""

from __future__ import annotations

import pytest

from flask_socketio_core.errors import ProtocolError
from flask_socketio_core.websocket_protocol.handshake import check_upgrade, refusal_headers, response_head

GOOD = {
    "REQUEST_METHOD": "GET",
    "HTTP_UPGRADE": "websocket",
    "HTTP_CONNECTION": "Upgrade",
    "HTTP_SEC_WEBSOCKET_VERSION": "13",
    "HTTP_SEC_WEBSOCKET_KEY": "dGhlIHNhbXBsZSBub25jZQ==",  # RFC 6455, section 1.3
}
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # likewise


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"HTTP_UPGRADE": "WebSocket"},
        {"HTTP_UPGRADE": "h2c, websocket"},
        {"HTTP_CONNECTION": "keep-alive, Upgrade"},
        {"HTTP_CONNECTION": "keep-alive,upgrade"},
        {"HTTP_SEC_WEBSOCKET_VERSION": " 13 "},
        {"HTTP_SEC_WEBSOCKET_KEY": " dGhlIHNhbXBsZSBub25jZQ=="},
        {"SERVER_PROTOCOL": "HTTP/1.0"},  # eventlet says so whatever the client sent
    ],
)
def test_a_good_request_gives_the_accept_value(changes: dict[str, str]) -> None:
    assert check_upgrade({**GOOD, **changes}) == ACCEPT


@pytest.mark.parametrize(
    ("changes", "status", "text"),
    [
        ({"REQUEST_METHOD": "POST"}, 400, "must be a GET request"),
        ({"HTTP_UPGRADE": None}, 400, "Upgrade: websocket"),
        ({"HTTP_UPGRADE": "h2c"}, 400, "Upgrade: websocket"),
        ({"HTTP_UPGRADE": "websockets"}, 400, "Upgrade: websocket"),
        ({"HTTP_CONNECTION": None}, 400, "Connection: Upgrade"),
        ({"HTTP_CONNECTION": "keep-alive"}, 400, "Connection: Upgrade"),
        ({"HTTP_SEC_WEBSOCKET_VERSION": None}, 426, "Sec-WebSocket-Version ''"),
        ({"HTTP_SEC_WEBSOCKET_VERSION": "8"}, 426, "Sec-WebSocket-Version '8' is not supported, only 13"),
        ({"HTTP_SEC_WEBSOCKET_VERSION": "13, 8"}, 426, "Sec-WebSocket-Version '13, 8'"),
        ({"HTTP_SEC_WEBSOCKET_KEY": None}, 400, "16 bytes in base64"),
        ({"HTTP_SEC_WEBSOCKET_KEY": "dGhlIHNhbXBsZSBub25j"}, 400, "16 bytes in base64"),
        ({"HTTP_SEC_WEBSOCKET_KEY": "dGhlIHNhbXBsZSBub25jZQ"}, 400, "16 bytes in base64"),
        ({"HTTP_SEC_WEBSOCKET_KEY": "!GhlIHNhbXBsZSBub25jZQ=="}, 400, "16 bytes in base64"),
        ({"HTTP_SEC_WEBSOCKET_KEY": "\xe9GhlIHNhbXBsZSBub25jZQ=="}, 400, "16 bytes in base64"),
        ({"HTTP_SEC_WEBSOCKET_KEY": f"{GOOD['HTTP_SEC_WEBSOCKET_KEY']},a"}, 400, "16 bytes in base64"),
    ],
)
def test_a_bad_request_says_what_is_wrong(changes: dict[str, str | None], status: int, text: str) -> None:
    environ = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    with pytest.raises(ProtocolError) as caught:
        check_upgrade(environ)
    assert caught.value.status == status
    assert text in str(caught.value)


def test_a_client_of_another_version_is_told_ours() -> None:
    with pytest.raises(ProtocolError) as caught:
        check_upgrade({**GOOD, "HTTP_SEC_WEBSOCKET_VERSION": "8"})
    assert ("Sec-WebSocket-Version", "13") in refusal_headers(caught.value)
    assert ("Upgrade", "websocket") in refusal_headers(caught.value)


def test_another_refusal_needs_no_headers() -> None:
    assert refusal_headers(ProtocolError("no")) == []


def test_the_answer_is_complete() -> None:
    assert response_head(ACCEPT, [("Set-Cookie", "io=1; Path=/")]) == (
        b"HTTP/1.1 101 Switching Protocols\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
        b"Set-Cookie: io=1; Path=/\r\n"
        b"\r\n"
    )


@pytest.mark.parametrize("header", [("Set-Cookie", "a\r\nX: y"), ("X\n", "y")])
def test_a_header_cannot_smuggle_another_one_in(header: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="contains a line break"):
        response_head(ACCEPT, [header])
