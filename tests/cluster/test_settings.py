"""Options of a queue are typed and checked, whether they come as a dict or in the URL."""

from __future__ import annotations

from typing import Any

import pytest

from flask_socketio_core import queues
from flask_socketio_core.errors import InvalidDescriptor, InvalidOption, UnknownOption
from flask_socketio_core.queues import Setting

KNOWN: tuple[Setting[Any], ...] = (
    Setting("timeout_s", float, 2.0, "seconds", above=0),
    Setting("size", int, 10, "a number", above=0),
    Setting("check", bool, True, "whether to look"),
    Setting("name", str, None, "a name"),
    Setting("extra", object, {}, "anything"),
)


def read(options: dict[str, Any] | None = None, query: dict[str, str] | None = None) -> dict[str, Any]:
    return queues.read(KNOWN, options or {}, query or {}, where="test")


def test_defaults_are_complete() -> None:
    assert read() == {"timeout_s": 2.0, "size": 10, "check": True, "name": None, "extra": {}}


def test_the_url_gives_text_and_options_win() -> None:
    values = read({"size": 3}, {"size": "5", "timeout_s": "1.5", "check": "no", "name": "x"})
    assert values == {"timeout_s": 1.5, "size": 3, "check": False, "name": "x", "extra": {}}


def test_numbers_and_switches_are_what_they_look_like() -> None:
    values = read({"timeout_s": 3, "size": 1e8, "check": "off"}, {})
    assert (values["timeout_s"], values["size"], values["check"]) == (3.0, 100_000_000, False)
    assert [type(values[name]) for name in ("timeout_s", "size", "check")] == [float, int, bool]
    assert read({"timeout_s": "3", "size": "5"})["size"] == read({}, {"size": "5"})["size"] == 5


@pytest.mark.parametrize("where", ["options", "query"])
def test_an_unknown_name_is_refused_with_the_nearest(where: str) -> None:
    given: dict[str, dict[str, str]] = {"options": {}, "query": {}, where: {"timeout": "1"}}
    with pytest.raises(UnknownOption, match=r"'test'.*'timeout', did you mean 'timeout_s'"):
        queues.read(KNOWN, given["options"], given["query"], where="test")


@pytest.mark.parametrize(
    ("options", "query", "text"),
    [
        ({"size": "five"}, {}, "size: expected a whole number greater than 0"),
        ({"size": 1.5}, {}, "size: expected a whole number"),
        ({"timeout_s": float("nan")}, {}, "timeout_s: expected a number"),
        ({}, {"timeout_s": "inf"}, "timeout_s= in the message queue URL: expected a number"),
        ({"size": True}, {}, "size: expected a whole number"),
        ({"size": 0}, {}, "greater than 0"),
        ({"timeout_s": -1.0}, {}, "timeout_s: expected a number greater than 0"),
        ({"check": "maybe"}, {}, "check: expected true or false"),
        ({}, {"check": "maybe"}, "check= in the message queue URL: expected true or false"),
        ({}, {"size": "many"}, "size= in the message queue URL: expected a whole number"),
        ({}, {"extra": "x"}, "extra= in the message queue URL"),
        ({}, {"size": "-3"}, "greater than 0"),
    ],
)
def test_a_wrong_value_is_refused(options: dict[str, Any], query: dict[str, str], text: str) -> None:
    with pytest.raises(InvalidOption, match=text):
        read(options, query)


def test_a_refusal_does_not_show_the_value() -> None:
    with pytest.raises(InvalidOption) as raised:
        read({"size": "my password"})
    assert "password" not in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ("size", "int", 10, "a number"),
            "Setting 'size': kind='int': expected bool, int, float, str, tuple, dict or object",
        ),
        (("size", int, "10", "a number"), "Setting 'size': default='10' does not suit it: .* a whole number"),
        (("size", int, 0, "a number", 0), "default=0 does not suit it: .* greater than 0"),
        (("a size", int, 1, "a number"), "name='a size': expected a name .* write 'a-size'"),
        (("size", int, 1, None), "text=None: expected text"),
    ],
)
def test_an_option_checks_itself_when_it_is_declared(arguments: tuple[Any, ...], text: str) -> None:
    with pytest.raises(InvalidDescriptor, match=text):
        Setting(*arguments)
