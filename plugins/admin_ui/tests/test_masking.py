"""What is shown, and what is not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flask_socketio_admin_ui import masking

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI3In0.c2lnbmVk"


@pytest.mark.parametrize(
    "name",
    [
        "Cookie",
        "Authorization",
        "Proxy-Authorization",
        "X-API-Key",
        "X-Amzn-Oidc-Accesstoken",
        "X-CSRFToken",
        "sec-websocket-key",
        "access_token",
        "client_secret",
        "password",
        "session",
        "apikey",
        "key",
        "code",
        "jwt",
    ],
)
def test_a_secret_is_known_by_its_name(name: str) -> None:
    environ = {f"HTTP_{name.upper().replace('-', '_')}": "of value"}
    assert list(masking.headers(environ).values()) == ["***"]
    assert masking.query(f"{name}=of+value") == {name: "***"}
    assert masking.presentable([{name: "of value"}]) == [{name: "***"}]


@pytest.mark.parametrize("value", [JWT, f"Bearer {JWT}", "Basic YW5uOnNlY3JldA=="])
def test_a_login_is_known_by_how_it_looks(value: str) -> None:
    assert masking.headers({"HTTP_X_FORWARDED": value}) == {"x-forwarded": "***"}
    assert masking.query(f"x={value.replace(' ', '+')}") == {"x": "***"}
    assert masking.presentable(("login", value)) == ["login", "***"]


@pytest.mark.parametrize(
    "name", ["User-Agent", "Host", "Accept-Language", "Origin", "X-Forwarded-For", "keyboard"]
)
def test_the_rest_is_shown(name: str) -> None:
    assert masking.headers({f"HTTP_{name.upper().replace('-', '_')}": "value"}) == {name.lower(): "value"}
    assert masking.query(f"{name}=value") == {name: "value"}


def test_a_query_shows_what_the_protocol_has_and_no_engine_sid() -> None:
    text = "EIO=4&transport=polling&t=Bearer+1&sid=AbCd&room=blue&room=red&empty="
    assert masking.query(text) == {
        "EIO": "4",
        "transport": "polling",
        "t": "Bearer 1",
        "sid": "***",
        "room": "red",
        "empty": "",
    }
    assert masking.query("&".join(f"n{number}=1" for number in range(1000))) == {}


def test_urls_have_neither_a_login_nor_a_secret() -> None:
    referer = "https://ann:pw@chat.example/room?token=1&page=2#access_token=3"
    assert masking.headers({"HTTP_REFERER": referer}) == {
        "referer": "https://chat.example/room?token=***&page=2"
    }
    assert masking.url("/socket.io/?sid=1&EIO=4") == "/socket.io/?sid=***&EIO=4"
    assert masking.url("http://[") == "***"


class Strange:
    def __repr__(self) -> str:
        raise RuntimeError("is not asked")


CYCLE: list[Any] = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"12345", "<5 bytes>"),
        (Strange(), "<Strange>"),
        (float("nan"), "nan"),
        (1.5, 1.5),
        ({1: None, "two": (True, b"")}, {"1": None, "two": [True, "<0 bytes>"]}),
        ("x" * 600, "x" * 500 + "…"),
        (list(range(60)), [*range(50), "<10 more>"]),
        (dict.fromkeys(range(60), 0), {**dict.fromkeys(map(str, range(50)), 0), "…": "<10 more>"}),
        (CYCLE, [[[[[["<list>"]]]]]]),
    ],
)
def test_whatever_is_shown_is_json_of_a_bounded_size(value: Any, shown: Any) -> None:
    assert masking.presentable(value) == shown
    json.dumps(masking.presentable(value), allow_nan=False)
