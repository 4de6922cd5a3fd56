"""What browsers are told about origins, and what people are told about refused ones."""

from __future__ import annotations

from typing import Any

import pytest

from flask_socketio_core.common import options
from flask_socketio_core.transport.cors import Cors
from flask_socketio_core.transport.wsgi import sid_cookie

TLS = {"wsgi.url_scheme": "https", "HTTP_HOST": "here.example"}


def refusal(environ: dict[str, str], **keywords: Any) -> str:
    request = {"REQUEST_METHOD": "GET", "wsgi.url_scheme": "http", **environ}
    text = Cors(options.build(keywords)).refusal(request)
    assert text is not None
    return text


def headers(environ: dict[str, str], **keywords: Any) -> dict[str, str]:
    return dict(Cors(options.build(keywords)).headers({"REQUEST_METHOD": "OPTIONS", **environ}))


def test_what_was_expected_is_said_once() -> None:
    text = refusal({**TLS, "HTTP_ORIGIN": "https://there.example", "HTTP_X_FORWARDED_PROTO": "https"})
    assert text.count("https://here.example") == 1


def test_headers_that_would_count_behind_proxyfix_are_named_with_its_arguments() -> None:
    environ = {"HTTP_HOST": "inside:5000", "HTTP_ORIGIN": "https://there.example"}
    forwarded = {"HTTP_X_FORWARDED_PROTO": "https", "HTTP_X_FORWARDED_HOST": "there.example"}
    text = refusal({**environ, **forwarded})
    assert "app.wsgi_app = ProxyFix(app.wsgi_app, x_proto=1, x_host=1)" in text
    assert "x_port=1" not in text
    port = {
        "HTTP_HOST": "there.example",
        "HTTP_ORIGIN": "http://there.example:81",
        "HTTP_X_FORWARDED_PORT": "81",
    }
    assert "ProxyFix(app.wsgi_app, x_port=1)" in refusal(port)
    assert "x_" not in refusal({**environ, **forwarded, "HTTP_ORIGIN": "https://elsewhere.example"})


def test_a_request_without_host_has_no_origin_of_its_own() -> None:
    assert "no valid Host" in refusal({"HTTP_ORIGIN": "http://here.example"})
    assert "no valid Host" in refusal({"HTTP_ORIGIN": "http://", "HTTP_HOST": ""})


def test_a_refused_origin_cannot_break_a_line_of_the_log() -> None:
    text = refusal({**TLS, "HTTP_ORIGIN": "http://a\nforged\x1b[1m" + "a" * 10_000})
    assert text.isprintable()
    assert len(text) < 2000


@pytest.mark.parametrize("allowed", ["*", lambda origin: True])
@pytest.mark.parametrize("origin", ["anything", "http://a\r\nSet-Cookie: a=b", "http://a, http://b", ""])
def test_a_header_that_is_no_origin_does_not_come_back(allowed: Any, origin: str) -> None:
    # Native clients send such things, and have to be let in; no browser does.
    cors = Cors(options.build({"cors_allowed_origins": allowed}))
    environ = {**TLS, "HTTP_ORIGIN": origin, "REQUEST_METHOD": "GET"}
    assert cors.refusal(environ) is None
    assert "Access-Control-Allow-Origin" not in dict(cors.headers(environ))


@pytest.mark.parametrize(
    ("requested", "answered"),
    [
        ("X-Token", "X-Token"),
        ("x-a,x-b ,\tx-c", "x-a,x-b ,\tx-c"),
        ("", None),
        ("X-Token\r\nSet-Cookie: a=b", None),
        ("X-Token\n", None),
        ("X Token", None),
        ("X-Token,", None),
        ("<script>", None),
        ("X-Tökén", None),
    ],
)
def test_only_names_of_headers_come_back(requested: str, answered: str | None) -> None:
    environ = {**TLS, "HTTP_ORIGIN": "https://here.example", "HTTP_ACCESS_CONTROL_REQUEST_HEADERS": requested}
    assert headers(environ).get("Access-Control-Allow-Headers") == answered
    foreign = headers({**environ, "HTTP_ORIGIN": "https://there.example"})
    assert "Access-Control-Allow-Headers" not in foreign


@pytest.mark.parametrize(
    ("setting", "cookie"),
    [
        ("io", "io=1; path=/; SameSite=Lax; HttpOnly"),
        ({"name": "io", "Secure": True}, "io=1; Secure; HttpOnly"),
        ({"httponly": True}, "io=1; httponly"),
        ({"HttpOnly": False, "path": "/"}, "io=1; path=/"),
    ],
)
def test_scripts_do_not_see_the_cookie_unless_that_is_asked_for(setting: Any, cookie: str) -> None:
    assert sid_cookie(setting, "1") == [("Set-Cookie", cookie)]
