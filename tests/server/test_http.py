"""The WSGI end of the engine with requests that no well-meaning client sends."""

from __future__ import annotations

import io
import json
import socket
import sys
from typing import Any

import pytest
from werkzeug.wrappers import Request

from flask_socketio_core import options
from flask_socketio_core.errors import PayloadTooLarge, ProtocolError
from flask_socketio_core.server.engine import Engine
from flask_socketio_core.server.http import MOST_LOGGED
from flask_socketio_core.server.wsgi import Refusal, check_kept, read_body, stored_environ
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
