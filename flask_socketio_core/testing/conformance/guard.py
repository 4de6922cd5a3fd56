"""What all suites have in common."""

from __future__ import annotations

from typing import Any


def refuse_overrides(suite: type, subclass: type) -> None:
    """Refuse a subclass that replaces a test of the suite.

    :raises TypeError: unless the test is marked ``@pytest.mark.xfail(reason=...)``.
    """
    for name, value in vars(subclass).items():
        if name.startswith("test_") and hasattr(suite, name) and not _is_expected_to_fail(value):
            raise TypeError(
                f"{subclass.__name__}.{name} replaces a test of the conformance suite; mark it "
                f"@pytest.mark.xfail(reason=...) or give it another name"
            )


def _is_expected_to_fail(test: Any) -> bool:
    marks = getattr(test, "pytestmark", [])
    return any(mark.name == "xfail" and mark.kwargs.get("reason") for mark in marks)
