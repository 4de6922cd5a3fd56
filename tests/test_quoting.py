"""What a peer sends breaks no log line and no terminal, and takes no more room than it deserves."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from flask_socketio_core.common.quoting import MOST_CHARACTERS, MOST_SENTENCE, printable
from flask_socketio_core.errors import ProtocolError
from flask_socketio_core.transport.wsgi import BAD_REQUEST, Refusal

ROUGH = "a\r\nERROR forged\x1b[31m\x00\x7f\x85\u2028\u202e\ud800z"


def test_everything_that_is_no_letter_is_escaped() -> None:
    assert printable(ROUGH) == r"a\r\nERROR forged\x1b[31m\x00\x7f\x85\u2028\u202e\ud800z"


def test_letters_of_any_script_stay() -> None:
    assert printable("naïve ☃ 日本 'quoted'") == "naïve ☃ 日本 'quoted'"


def test_long_text_is_cut_before_it_is_escaped() -> None:
    assert printable("x" * 10_000) == "x" * MOST_CHARACTERS + "..."
    assert len(printable("\U000e0001" * 10_000)) <= 10 * MOST_CHARACTERS + 3


@pytest.mark.parametrize(
    "error", [ProtocolError, lambda text: Refusal(BAD_REQUEST, text)], ids=["ProtocolError", "Refusal"]
)
def test_what_peers_are_refused_with_is_one_bounded_line(error: Callable[[str], Exception]) -> None:
    text = str(error(ROUGH + "x" * 10_000))
    assert text.isprintable()
    assert len(text) < 2 * MOST_SENTENCE


def subclasses(kind: type[Any]) -> list[type[Any]]:
    return [kind, *(deeper for child in kind.__subclasses__() for deeper in subclasses(child))]


def test_no_error_of_a_peer_goes_round_it() -> None:
    for kind in subclasses(ProtocolError):
        assert "super().__init__" in inspect.getsource(kind) or "__init__" not in vars(kind), kind
