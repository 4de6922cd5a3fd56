"""Tracebacks in the log look as Python's own, and what errors quote starts no line."""

from __future__ import annotations

import logging
import sys
import traceback

import pytest

from flask_socketio_core.common.tracebacks import MOST_LINES, log_error, printable_error, printable_traceback

logger = logging.getLogger("test_tracebacks")


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    try:
        raise error from cause
    except BaseException as caught:  # noqa: BLE001  # a test looks at it
        return caught


def deep(left: int) -> None:
    if left:
        deep(left - 1)
    raise ValueError("at the bottom")


def fail_twice() -> None:
    try:
        deep(20)
    except ValueError as error:
        raise KeyError("x") from error


def test_it_is_pythons_own_where_nothing_is_quoted() -> None:
    with pytest.raises(KeyError) as caught:
        fail_twice()
    assert printable_traceback(caught.value) + "\n" == "".join(traceback.format_exception(caught.value))


def test_a_message_begins_no_line_of_its_own() -> None:
    text = printable_traceback(
        raised(ValueError("a\nWARNING forged\r  File \x1b[1m"), raised(OSError("b\nc")))
    )
    assert "\nOSError: b\n  | c\n\nThe above exception was" in text
    assert text.endswith("\nValueError: a\n  | WARNING forged\n  |   File \\x1b[1m")


def test_a_message_is_cut() -> None:
    text = printable_traceback(raised(ValueError("\n" * 100_000)))
    assert text.count("\n") < MOST_LINES + 10
    assert len(printable_traceback(raised(ValueError("x" * 100_000)))) < 2_000


@pytest.mark.skipif(sys.version_info < (3, 11), reason="notes and groups are of Python 3.11")
def test_notes_and_groups_begin_no_line_either() -> None:
    error = raised(ValueError("a"))
    error.add_note("WARNING forged\n  File forged")  # type: ignore[attr-defined,unused-ignore]
    assert printable_traceback(error).endswith("\nValueError: a\n  | WARNING forged\n  |   File forged")
    group = BaseExceptionGroup("g\nWARNING forged", [error])  # type: ignore[name-defined,unused-ignore]  # noqa: F821
    assert not any(line.startswith("WARNING") for line in printable_traceback(group).splitlines())


def test_a_record_has_the_error_and_where_it_was_logged(caplog: pytest.LogCaptureFixture) -> None:
    error = raised(ValueError("a\nb"))
    log_error(logger, error, "%s failed", "it")
    (record,) = caplog.records
    assert (record.getMessage(), record.levelname, record.funcName) == (
        "it failed",
        "ERROR",
        "test_a_record_has_the_error_and_where_it_was_logged",
    )
    assert record.exc_info is not None and record.exc_info[1] is error
    assert logging.Formatter().format(record).endswith("ValueError: a\n  | b")


def test_an_error_that_cannot_be_shown_is_its_class() -> None:
    class Broken(Exception):
        def __repr__(self) -> str:
            raise RuntimeError

    assert printable_error(Broken()) == "Broken"
    assert printable_error(ValueError("a\nb")) == "ValueError('a\\nb')"
