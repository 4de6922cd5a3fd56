"""What a queue raises for its client library, and for a message that is too large."""

from __future__ import annotations

import pytest

from flask_socketio_core import queues
from flask_socketio_core.errors import MessageTooLarge, QueueRefused, QueueUnavailable

URL = "pigeon://user:pa55@host"


class WrongPassword(Exception):
    """What the library raises when the broker has answered."""


ERRORS = queues.ClientErrors(
    "pigeon post", URL, WrongPassword, OSError, refuses=lambda error: isinstance(error, WrongPassword)
)


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (OSError("no route to user:pa55@host"), QueueUnavailable, "is unavailable: OSError: no route to"),
        (WrongPassword("pa55"), QueueRefused, "refuses us: WrongPassword"),
    ],
)
def test_an_error_of_the_library_becomes_one_of_ours(
    error: Exception, kind: type[Exception], text: str
) -> None:
    for _ in range(2):
        with pytest.raises(QueueUnavailable) as raised, ERRORS:
            raise error
        assert type(raised.value) is kind
        assert text in str(raised.value)
        assert "pa55" not in str(raised.value)
        assert raised.value.__cause__ is error


def test_another_error_stays_what_it_is() -> None:
    with pytest.raises(KeyError), ERRORS:
        raise KeyError("x")
    with ERRORS:
        pass


def test_a_message_beyond_the_limit_is_refused_with_both_sizes() -> None:
    queues.check_size(b"1234", 4, "pigeon")
    queues.check_size(b"12345", None, "pigeon")
    with pytest.raises(MessageTooLarge, match="message of 5 bytes exceeds the pigeon queue's 4 bytes"):
        queues.check_size(b"12345", 4, "pigeon")
