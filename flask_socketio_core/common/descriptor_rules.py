"""What the fields of a descriptor may hold, checked when it is made: a slip is told where it was written.

A rule looks at one value and returns what is wrong with it, and what to write instead; ``""`` if nothing is.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any

from ..errors import InvalidDescriptor

Rule = Callable[[Any], str]

NAME = re.compile(r"[\w.+-]+")
#: RFC 3986, section 3.1, in lower case: schemes are compared without regard to case.
SCHEME = re.compile(r"[a-z][a-z0-9.+-]*(?<!\+)(\+\*)?")
IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def check(descriptor: object, **rules: Rule) -> None:
    """Check the fields of a descriptor, each by its rule.

    :raises InvalidDescriptor: with the field, its value, what is expected and what to write.
    """
    for field, rule in rules.items():
        value = getattr(descriptor, field)
        complaint = rule(value)
        if complaint:
            refuse(descriptor, f"{field}={value!r:.80}: {complaint}")


def refuse(descriptor: object, complaint: str) -> None:
    """Raise the error that says what is wrong with a descriptor.

    :raises InvalidDescriptor: always.
    """
    name = getattr(descriptor, "name", None)
    owner = (
        f"{type(descriptor).__name__} {name!r:.40}" if isinstance(name, str) else type(descriptor).__name__
    )
    raise InvalidDescriptor(f"{owner}: {complaint}")


def text(value: Any) -> str:
    """Accept any text."""
    return "" if isinstance(value, str) else "expected text"


def name(value: Any) -> str:
    """Accept a name that can be typed on a command line."""
    if not isinstance(value, str) or not value:
        return "expected a short name"
    if NAME.fullmatch(value):
        return ""
    better = "-".join(re.findall(NAME, value))
    return f"expected a name of letters, digits and -_.+{f', write {better!r}' if better else ''}"


def yes_or_no(value: Any) -> str:
    """Accept a boolean."""
    return "" if isinstance(value, bool) else "expected True or False"


def whole(value: Any) -> str:
    """Accept a whole number."""
    if isinstance(value, int) and not isinstance(value, bool):
        return ""
    return f"expected a whole number{_as_number(value)}"


def size(value: Any) -> str:
    """Accept a number of bytes, or ``None``."""
    if value is None or (not whole(value) and value > 0):
        return ""
    return f"expected a number of bytes greater than 0, or None for no limit{_as_number(value)}"


def _as_number(value: Any) -> str:
    try:
        number = int(value) if not isinstance(value, (bool, int)) else 0
    except (TypeError, ValueError, OverflowError):
        return ""
    return f", write {number}" if number > 0 and number == float(value) else ""


def function(value: Any) -> str:
    """Accept what can be called."""
    return "" if callable(value) else "expected a function"


def loader(value: Any) -> str:
    """Accept a function that loads a class, not that class."""
    if inspect.isclass(value):
        return (
            "expected a function without arguments that imports and returns the class, not the class itself; "
            f"write `def load(): from .module import {value.__name__}; return {value.__name__}`"
        )
    return (
        "" if callable(value) else "expected a function without arguments that imports and returns the class"
    )


def import_path(value: Any) -> str:
    """Accept ``"package.module:function"``, or ``None``."""
    if value is None or (isinstance(value, str) and IMPORT_PATH.fullmatch(value)):
        return ""
    hint = ""
    if isinstance(value, str) and ":" not in value and "." in value:
        hint = f", write {':'.join(value.rsplit('.', 1))!r}"
    return f"expected 'package.module:function' or None{hint}"


def optional(rule: Rule) -> Rule:
    """Accept ``None``, or what another rule accepts."""
    return lambda value: "" if value is None else rule(value)


def several(rule: Rule) -> Rule:
    """Accept a tuple of texts, each accepted by a rule."""

    def check_all(value: Any) -> str:
        if isinstance(value, str):
            return f"expected a tuple, and without its comma this is text; write ({value!r},)"
        if not isinstance(value, tuple):
            listed = isinstance(value, (list, set, frozenset)) and all(
                isinstance(item, str) for item in value
            )
            return f"expected a tuple of texts{f', write {tuple(value)!r}' if listed else ''}"
        return _first(
            f"{item!r:.60} is no text" if not isinstance(item, str) else rule(item) for item in value
        )

    return check_all


def _first(complaints: Iterable[str]) -> str:
    return next(filter(None, complaints), "")


def scheme(value: str) -> str:
    """Accept a URL scheme, or one that ends in ``+*``."""
    if SCHEME.fullmatch(value):
        return ""
    if value.strip() == "*":
        return "'*' is no scheme; to take what nobody else claims, set catch_all=True"
    start = value.strip().lower().partition(":")[0].rstrip("+*")
    better = f"{start}+*" if "*" in value else start
    hint = f", write {better!r}" if SCHEME.fullmatch(better) else ""
    return (
        f"{value!r:.60} is no URL scheme: expected lower case, without '://', a prefix ending in '+*'{hint}"
    )


def requirement(value: str) -> str:
    """Accept a requirement as pip takes it.

    Source: PEP 508.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        Requirement(value)
    except InvalidRequirement as error:
        reason = str(error).partition("\n")[0]
        return f"{value!r:.60} is no requirement as pip takes it, such as 'pigeon-client>=2': {reason}"
    return ""
