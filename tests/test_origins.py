"""Origins: how they are read, and what a person may list."""

from __future__ import annotations

from typing import Any

import pytest

from flask_socketio_core.common import options
from flask_socketio_core.common.origins import OriginList, parse
from flask_socketio_core.errors import InvalidOption


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("https://Example.COM", "https://example.com"),
        ("HTTPS://example.com:443", "https://example.com"),
        ("http://example.com:0080", "http://example.com"),
        ("https://example.com:80", "https://example.com:80"),
        ("wss://example.com:443", "https://example.com"),
        ("http://example.com:", "http://example.com"),
        ("http://[FE80:0::1]:81", "http://[fe80::1]:81"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("file://", "file://"),
        ("null", "null"),
    ],
)
def test_an_origin_has_one_form(text: str, canonical: str) -> None:
    assert str(parse(text)) == canonical


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "*", "Null", "example.com", "//example.com", "http:example.com", "http://", "http://:80"),
        *(
            "http://a/",
            "http://a/b",
            "http://a?b",
            "http://a#b",
            "http://a@b",
            "http://a b",
            "http://a,http://b",
        ),
        *(
            "http://a\r\nX: y",
            "http://a\n",
            "http://a:65536",
            "http://a:-1",
            "http://a:1²",
            "http://ä.example",
        ),
        *("http://[::1", "http://[::g]", "http://::1", "http://*.example", "http://" + "a." * 200),
    ],
)
def test_what_is_no_origin(text: str) -> None:
    assert parse(text) is None


def test_a_host_in_other_letters_is_listed_as_browsers_send_it() -> None:
    listed = OriginList(["https://BÜCHER.example:8443", "https://*.straße.example"])
    for sent in ("https://xn--bcher-kva.example:8443", "https://a.xn--strae-oqa.example"):
        origin = parse(sent)
        assert origin is not None
        assert origin in listed


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (None, None),
        ("", None),
        (" , ", None),
        ([""], None),
        ([], ()),
        ((), ()),
        ("*", "*"),
        (["https://a.example", "*"], "*"),
        ("https://a.example, http://b.example/", ("https://a.example", "http://b.example/")),
        ({"https://a.example"}, ("https://a.example",)),
        ((text for text in ["https://a.example"]), ("https://a.example",)),
        (print, print),
    ],
)
def test_the_option_comes_to_single_origins(given: Any, kept: Any) -> None:
    assert options.build({"cors_allowed_origins": given}).cors_allowed_origins == kept


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("example.com", "has no scheme, write 'https://example.com'"),
        (["https://a.example", "localhost:3000"], "'http://localhost:3000'"),
        ("https://a.example/app", "more than an origin, write 'https://a.example'"),
        ("https://a.example?x", "more than an origin, write 'https://a.example'"),
        ("https://user:secret@a.example", "write 'https://a.example'"),
        ("*.example.com", "has no scheme"),
        ("https://a.*.example", "a '*' can only stand for subdomains"),
        ("http://localhost:*", "a '*' can only stand for subdomains"),
        ("https://", "is no origin"),
        ("https://a.example:99999", "is no origin"),
        ([1], "1 is no text"),
        (b"https://a.example", "must be an origin, a list of them"),
        (False, "must be an origin, a list of them"),
        ({"https://a.example": 1}, "must be an origin, a list of them"),
    ],
)
def test_a_value_that_names_no_origin_says_what_to_write(value: Any, hint: str) -> None:
    with pytest.raises(InvalidOption, match=r"^cors_allowed_origins=") as raised:
        options.build({"cors_allowed_origins": value})
    assert hint in str(raised.value)
