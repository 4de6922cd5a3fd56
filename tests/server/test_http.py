"""The WSGI end of the engine with requests that no well-meaning client sends."""

from __future__ import annotations

import gzip
import io
import json
import socket
import sys
import zlib
from typing import Any

import pytest
from werkzeug.wrappers import Request

from flask_socketio_core.common import options
from flask_socketio_core.errors import PayloadTooLarge, ProtocolError
from flask_socketio_core.server.engine import Engine
from flask_socketio_core.transport.http import MOST_LOGGED
from flask_socketio_core.transport.wsgi import (
    COMPRESSED_BYTES,
    Refusal,
    check_kept,
    compress,
    read_body,
    stored_environ,
)
from support.engine import ManualMode, RecordingApplication


def request(query: str, **environ: Any) -> tuple[str, dict[str, Any]]:
    """Serve one request and return its status and JSON body."""
    engine = Engine(RecordingApplication(), options.build({}), ManualMode())
    statuses: list[str] = []
    environ = {"REQUEST_METHOD": "GET", "QUERY_STRING": query, **environ}
    body = b"".join(engine.handle(environ, lambda status, headers, error=None: statuses.append(status)))  # type: ignore[arg-type]  # no write() is needed
    return statuses[0], json.loads(body)


def test_a_query_of_too_many_fields_is_a_bad_request() -> None:
    assert request("EIO=4&transport=polling&" + "a=1&" * 200) == (
        "400 Bad Request",
        {"code": 3, "message": "query string of more than 100 fields"},
    )


def test_a_refused_origin_is_logged_once_and_of_many_only_the_first(caplog: pytest.LogCaptureFixture) -> None:
    engine = Engine(RecordingApplication(), options.build({}), ManualMode())

    def ask(origin: str) -> None:
        environ = {"REQUEST_METHOD": "GET", "QUERY_STRING": "", "HTTP_HOST": "here", "HTTP_ORIGIN": origin}
        environ["wsgi.url_scheme"] = "http"
        body = engine.handle(environ, lambda status, headers, error=None: print)
        assert b"cors_allowed_origins" in b"".join(body), "the client is told every time"

    for _ in range(3):
        ask("http://elsewhere")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "origin http://elsewhere is not allowed, expected http://here" in caplog.text
    for number in range(2 * MOST_LOGGED):
        ask(f"http://{number}")
        ask("http://" + "x" * 1000 + str(number))
    assert len(caplog.records) == MOST_LOGGED


@pytest.mark.parametrize("length", ["9" * 30, "9" * 5000])
def test_an_enormous_length_is_too_large(length: str) -> None:
    with pytest.raises(PayloadTooLarge):
        read_body({"CONTENT_LENGTH": length, "wsgi.input": io.BytesIO()}, 100)


@pytest.mark.parametrize("length", ["", "-1", "1e3", "x"])
def test_a_length_that_is_no_number_is_refused(length: str) -> None:
    with pytest.raises(ProtocolError):
        read_body({"CONTENT_LENGTH": length, "wsgi.input": io.BytesIO()}, 100)


def test_equal_strings_of_two_environs_are_kept_once() -> None:
    first, second = (stored_environ({"HTTP_USER_AGENT": "".join(["agent", " ", "1"])}) for _ in range(2))
    assert first["HTTP_USER_AGENT"] is second["HTTP_USER_AGENT"]


def test_what_middleware_added_is_kept_and_what_is_the_server_s_is_not() -> None:
    class User:
        name = "ada"

    added = {"auth.user": User(), "auth.groups": {"admins": [1]}, "auth.since": 1.5, "auth.token": b"t"}
    with socket.socket() as sock:
        stored = stored_environ(
            {
                **added,
                "wsgi.file_wrapper": object,
                "wsgi.errors": sys.stdout,
                "server.socket": sock,
                "server.input": io.BytesIO(),
                "server.set_idle": lambda: None,
                "werkzeug.request": Request({}),
            }
        )
    assert stored == {**added, "wsgi.input": stored["wsgi.input"], "wsgi.errors": sys.stderr}


def test_what_clients_send_is_not_interned() -> None:
    # Python 3.12 never frees a string that sys.intern() was given: keys, ports and cookies would pile up.
    stored = stored_environ({"".join(["HTTP_", "X_RANDOM"]): "".join(["random ", "value"])})
    for kept in next(iter(stored.items())):
        assert sys.intern("".join([kept[:3], kept[3:]])) is not kept


def test_a_token_and_cookies_of_usual_size_are_kept() -> None:
    limit = options.build({}).max_header_bytes
    environ = {"HTTP_AUTHORIZATION": 8_192 * "x", "HTTP_COOKIE": 16_384 * "x", "HTTP_USER_AGENT": 500 * "x"}
    check_kept(environ, limit)
    with pytest.raises(Refusal, match="max_header_bytes") as refused:
        check_kept({**environ, "QUERY_STRING": 8_192 * "x"}, limit)
    assert refused.value.status == 431


NAMES = (
    "HTTP_ORIGIN",
    "HTTP_HOST",
    "HTTP_COOKIE",
    "HTTP_ACCEPT_ENCODING",
    "HTTP_ACCESS_CONTROL_REQUEST_HEADERS",
    "HTTP_ACCESS_CONTROL_REQUEST_METHOD",
    "HTTP_SEC_WEBSOCKET_KEY",
    "HTTP_SEC_WEBSOCKET_VERSION",
    "HTTP_SEC_WEBSOCKET_PROTOCOL",
    "HTTP_SEC_WEBSOCKET_EXTENSIONS",
    "HTTP_UPGRADE",
    "HTTP_CONNECTION",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PROTO",
    "CONTENT_LENGTH",
    "CONTENT_TYPE",
    "PATH_INFO",
)
EVIL = (
    "evil\r\nSet-Cookie: a=b",
    "http://evil\n",
    "http://evil\r\nevil: 1",
    "http://evil/\x00",
    "http://evil\x0bevil",
    "http://evil\x85evil",
    "http://evil\u2028evil",
    "http://\xe9vil",
    "evil, \x1b[2J",
    "evil",
)
ALWAYS = {
    "HTTP_HOST": "here",
    "HTTP_ORIGIN": "http://here",
    "wsgi.url_scheme": "http",
    "wsgi.input": io.BytesIO(),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("allowed", [None, "*", lambda origin: True])
def test_nothing_of_a_request_gets_into_a_response_header_unchecked(name: str, allowed: Any) -> None:
    given = {"cors_allowed_origins": allowed, "cookie": "io"}
    engine = Engine(RecordingApplication(), options.build(given), ManualMode())
    responses: list[list[tuple[str, str]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], error: object = None) -> None:
        responses.append(headers)

    for value in EVIL:
        for method in ("GET", "OPTIONS"):
            for transport in ("polling", "websocket"):
                query = f"EIO=4&transport={transport}&evil=evil&{value}"
                environ = {**ALWAYS, "REQUEST_METHOD": method, "QUERY_STRING": query, name: value}
                list(engine.handle(environ, start_response))  # type: ignore[arg-type]  # no write() is needed
    assert len(responses) == 4 * len(EVIL)
    for header, text in [header for headers in responses for header in headers]:
        if "evil" in text:
            assert (header, text) == ("Access-Control-Allow-Headers", "evil")
        assert text.isascii() and text.isprintable()


@pytest.mark.parametrize("size", [0, 1, COMPRESSED_BYTES, COMPRESSED_BYTES + 1, 5 * COMPRESSED_BYTES])
def test_a_large_body_is_compressed_in_parts_between_which_others_run(size: int) -> None:
    body, turns = bytes(number * 7919 % 251 for number in range(size)), list[None]()
    packed, encoding = compress(body, "br, gzip;q=0.5, deflate", lambda: turns.append(None))
    assert (encoding, gzip.decompress(packed)) == ("gzip", body)
    assert len(turns) == max(0, (size - 1) // COMPRESSED_BYTES)
    packed, encoding = compress(body, "deflate", lambda: None)
    assert (encoding, zlib.decompress(packed)) == ("deflate", body)
    assert compress(body, "br, gzipped", lambda: None) == (body, "")
