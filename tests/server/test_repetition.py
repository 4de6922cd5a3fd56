"""Which requests are the same poll again, and which are something else for the web server."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_socketio_core.transport.repetition import (
    Repetition,
    digest_as_sent,
    digest_of,
    keeps_connection,
)

TARGET = "/socket.io/?EIO=4&transport=polling&t=P1&sid=abc"
FIELDS = {
    "Host": "127.0.0.1",
    "Accept": "*/*",
    "Accept-Encoding": "gzip, deflate",
    "X-Empty": "",
    "Cookie": "a=1",
}


def environ(target: str = TARGET, **fields: str) -> dict[str, Any]:
    """Return what a web server makes of a request."""
    named = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in (FIELDS | fields).items()}
    return {
        "REQUEST_METHOD": "GET",
        "RAW_URI": target,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.input": object(),
        **named,
    }


def raw(
    target: str = TARGET, *, method: str = "GET", version: str = "1.1", lines: str = "", **fields: str
) -> bytes:
    """Return a request as it is sent."""
    head = [
        f"{method} {target} HTTP/{version}",
        *(f"{name}: {value}" for name, value in (FIELDS | fields).items()),
    ]
    return ("\r\n".join(head) + "\r\n" + lines + "\r\n").encode("latin-1")


def known(**more: str) -> Repetition:
    found = Repetition.of(environ(**more))
    assert found is not None
    return found


def test_the_same_poll_is_known_whatever_its_stamp() -> None:
    poll = known()
    assert [
        poll.matches(raw(TARGET.replace("t=P1", f"t={stamp}"))) for stamp in ("P1", "", "P2.5-_x", "%20")
    ] == [True] * 4


def test_a_poll_is_known_by_the_bytes_that_another_connection_has_brought() -> None:
    poll = known()
    poll.learn(digest_as_sent(raw()))
    assert poll.matches(raw(TARGET.replace("t=P1", "t=P2")))
    assert not poll.matches(raw(lines="X-More: 1\r\n"))


@pytest.mark.parametrize("where", ["?t=1&sid=a", "?sid=a&t=1", "?a=t=1&t=1&sid=a"])
def test_the_stamp_may_stand_anywhere_in_the_query_string(where: str) -> None:
    poll = Repetition.of(environ("/socket.io/" + where))
    assert poll is not None
    assert poll.matches(raw("/socket.io/" + where.replace("t=1", "t=2").replace("a=t=2", "a=t=1")))


def test_how_fields_are_written_does_not_matter_the_first_time() -> None:
    lines = "host: 127.0.0.1\r\nCOOKIE:a=1 \r\nx-empty:\r\naccept-encoding:\tgzip, deflate\r\nAccept:*/*\r\n"
    assert known().matches(f"GET {TARGET} HTTP/1.1\r\n{lines}\r\n".encode())


OTHERS = {
    "sid": raw(TARGET.replace("sid=abc", "sid=abd")),
    "another parameter's end": raw(TARGET.replace("t=P1", "at=P1")),
    "no stamp": raw(TARGET.replace("t=P1&", "")),
    "two stamps": raw(TARGET + "&t=P1"),
    "path": raw(TARGET.replace("/socket.io/", "/socket.io")),
    "method": raw(method="POST"),
    "lower case method": raw(method="get"),
    "version": raw(version="1.0"),
    "cookie": raw(Cookie="a=2"),
    "field more": raw(**{"X-More": "1"}),
    "field twice": raw(lines="Cookie: a=1\r\n"),
    "field less": raw().replace(b"X-Empty: \r\n", b""),
    "underscore": raw(lines="X_Y: 1\r\n"),
    "space before the colon": raw().replace(b"Cookie:", b"Cookie :"),
    "folded": raw().replace(b"Cookie: a=1", b"Cookie:\r\n a=1"),
    "bare line feed": raw().replace(b"\r\nCookie", b"\nCookie"),
    "body": raw() + b"x",
    "two requests": raw() * 2,
    "chunked": raw(lines="Transfer-Encoding: chunked\r\n"),
    "length": raw(lines="Content-Length: 0\r\n"),
    "not ASCII": raw(Cookie="a=\xe9"),
    "NUL": raw(Cookie="a=\0"),
    "begun": raw()[:-1],
    "nothing": b"",
    "end only": b"\r\n\r\n",
    "no line": b"x\r\n\r\n",
}


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("what", OTHERS)
def test_anything_else_is_another_request(what: str, learned: bool) -> None:
    poll = known()
    if learned:
        assert poll.matches(raw())
    assert not poll.matches(OTHERS[what])
    assert poll.matches(raw()), "and the poll is still known"


@pytest.mark.parametrize(
    "more",
    [
        {"CONTENT_LENGTH": "5"},
        {"CONTENT_TYPE": "text/plain"},
        {"HTTP_TRANSFER_ENCODING": "chunked"},
        {"HTTP_EXPECT": "100-continue"},
        {"HTTP_UPGRADE": "h2c"},
        {"RAW_URI": ""},
        {"HTTP_X": "\u20ac"},
    ],
)
def test_a_request_that_may_have_more_to_it_is_never_known(more: dict[str, str]) -> None:
    assert Repetition.of({**environ(), **more}) is None


def test_what_middleware_has_changed_is_not_known() -> None:
    poll = Repetition.of({**environ(), "HTTP_HOST": "proxied.example"})
    assert poll is not None
    assert not poll.matches(raw())


def test_what_proxy_fix_has_changed_is_known() -> None:
    fixed = {"HTTP_HOST": "proxied.example", "REMOTE_ADDR": "192.0.2.1"}
    poll = Repetition.of({**environ(), **fixed, "werkzeug.proxy_fix.orig": {"HTTP_HOST": "127.0.0.1"}})
    assert poll is not None
    assert poll.matches(raw())


def test_a_request_has_the_digest_that_its_environ_has() -> None:
    poll = known()
    assert digest_of(raw()) == poll.first
    assert poll.matches(raw())
    assert digest_of(raw()) == poll.first
    assert [digest_of(other) == poll.first for other in OTHERS.values()] == [False] * len(OTHERS)


@given(st.binary(max_size=300))
def test_no_bytes_are_a_surprise(data: bytes) -> None:
    assert not known().matches(data)
    assert not known().matches(data + b"\r\n\r\n")


@pytest.mark.parametrize(
    ("version", "connection", "keeps"),
    [
        ("HTTP/1.1", None, True),
        ("HTTP/1.1", "keep-alive", True),
        ("HTTP/1.1", "keep-alive, Close", False),
        ("HTTP/1.1", "close", False),
        ("HTTP/1.0", None, False),
        ("HTTP/1.0", "keep-alive", False),
    ],
)
def test_whether_a_client_may_use_its_connection_again(
    version: str, connection: str | None, keeps: bool
) -> None:
    fields = {} if connection is None else {"HTTP_CONNECTION": connection}
    assert keeps_connection({"SERVER_PROTOCOL": version, **fields}) is keeps
