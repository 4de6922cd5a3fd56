"""The WSGI end of the engine with requests that no well-meaning client sends."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from flask_socketio_core import options
from flask_socketio_core.errors import PayloadTooLarge, ProtocolError
from flask_socketio_core.server.engine import Engine
from flask_socketio_core.server.wsgi import read_body
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


@pytest.mark.parametrize("length", ["9" * 30, "9" * 5000])
def test_an_enormous_length_is_too_large(length: str) -> None:
    with pytest.raises(PayloadTooLarge):
        read_body({"CONTENT_LENGTH": length, "wsgi.input": io.BytesIO()}, 100)


@pytest.mark.parametrize("length", ["", "-1", "1e3", "x"])
def test_a_length_that_is_no_number_is_refused(length: str) -> None:
    with pytest.raises(ProtocolError):
        read_body({"CONTENT_LENGTH": length, "wsgi.input": io.BytesIO()}, 100)
