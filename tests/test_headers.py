"""Headers that others add to our responses: none may break one."""

from __future__ import annotations

import pytest

from flask_socketio_core.common.headers import add, pairs, why_not


@pytest.mark.parametrize(
    "name",
    ["Content-Length", "content-type", "Connection", "UPGRADE", "Transfer-Encoding", "Sec-WebSocket-Accept"],
)
def test_what_is_the_servers_own_is_refused(name: str) -> None:
    assert f"{name} is the server's own" in (why_not(name, "1") or "")


@pytest.mark.parametrize("name", ["", "X Y", "X:", "X\r\nY", "Ä", 5, None, b"X"])
def test_what_is_no_name_is_refused(name: object) -> None:
    assert "is not a header's name" in (why_not(name, "1") or "")


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\0", "a\x7f", "\u20ac", 5, None, b"a"])
def test_what_is_no_value_is_refused_without_being_shown(value: object) -> None:
    assert (why_not("X-Own", value) or "").startswith("the value of X-Own ")
    assert "Evil" not in (why_not("X-Own", value) or "")


@pytest.mark.parametrize("value", ["", "a b\t c", "max-age=1; includeSubDomains", "caf\xe9"])
def test_what_a_header_may_be_is_taken(value: str) -> None:
    assert why_not("Strict-Transport-Security", value) is None


@pytest.mark.parametrize("added", [{"A": "1"}, [("A", "1")], (["A", "1"],), iter([("A", "1")])])
def test_headers_are_a_mapping_or_pairs(added: object) -> None:
    assert pairs(added) == [("A", "1")]
    assert pairs(None) == []


@pytest.mark.parametrize("added", ["A: 1", b"A", 5, [("A",)], ["AB"], [("A", "1", "2")]])
def test_something_else_is_no_headers(added: object) -> None:
    with pytest.raises(TypeError, match="expected a mapping of names to values, pairs of both, or None"):
        pairs(added)


def test_a_header_takes_the_place_of_its_name_unless_it_stands_for_itself() -> None:
    ours = [("Cache-Control", "no-store"), ("Vary", "Origin")]
    assert add(ours, "CACHE-CONTROL", "private") == [("Vary", "Origin"), ("CACHE-CONTROL", "private")]
    assert add(ours, "Vary", "Cookie") == [*ours, ("Vary", "Cookie")]
