"""What users write for a number, a switch, a list or a namespace, in code, configuration files and URLs.

Environment variables are text, and ``1e8`` is a float: both are what they look like.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping
from typing import Any

_TRUE = ("1", "true", "yes", "on")
_FALSE = ("0", "false", "no", "off")

EXPECTED = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    tuple: "a list",
    dict: "a dict",
}
"""What :func:`convert` takes, for messages."""


def convert(kind: type, value: Any) -> Any:
    """Return a value as ``bool``, ``int``, ``float``, ``tuple`` or ``dict``; one of another kind as it is.

    :raises ValueError: if it is not what it should be; see :data:`EXPECTED`.
    :raises OverflowError: for a number that is far too large.
    """
    if kind is bool:
        return boolean(value)
    if kind is int:
        return whole(value)
    if kind in (tuple, dict):
        return several(kind, value)
    return number(value) if kind is float else value


def several(kind: type, value: Any) -> Any:
    """Return a list as a ``tuple``, which may be written as text with commas, or a mapping as a ``dict``.

    :raises ValueError: if it is none.
    """
    if isinstance(value, Mapping) is not (kind is dict) or not isinstance(value, Iterable):
        raise ValueError(f"not {EXPECTED[kind]}")
    if isinstance(value, (bytes, bytearray)):
        raise ValueError("not a list of texts")
    return dict(value) if kind is dict else listed(value)


def boolean(value: Any) -> bool:
    """Return a switch: ``True``, 1, or one of the usual words in whatever case.

    :raises ValueError: for anything else, an empty text included.
    """
    if isinstance(value, (bool, int)) and value in (0, 1):
        return bool(value)
    word = value.strip().lower() if isinstance(value, str) else ""
    if word not in _TRUE + _FALSE:
        raise ValueError(f"not a switch: {value!r}")
    return word in _TRUE


def number(value: Any) -> float:
    """Return a finite number, an ``int`` if it was written as one.

    :raises ValueError: for anything else: ``nan``, ``inf``, a switch, text that is no number.
    :raises OverflowError: for an ``int`` that no ``float`` can hold.
    """
    if isinstance(value, str):
        try:
            value = int(value)
        except ValueError:
            value = float(value)
    if isinstance(value, bool):
        raise ValueError(f"not a number: {value!r}")
    if isinstance(value, numbers.Real) and math.isfinite(value):
        return int(value) if isinstance(value, numbers.Integral) else float(value)
    raise ValueError(f"not a number: {value!r}")


def whole(value: Any) -> int:
    """Return a whole number, which may be written as a float: ``1e8``.

    :raises ValueError: for anything else.
    """
    found = number(value)
    if found != int(found):
        raise ValueError(f"not a whole number: {value!r}")
    return int(found)


def listed(value: Any) -> Any:
    """Return text with commas in it as a tuple of its parts, another iterable as a tuple."""
    if isinstance(value, str):
        return tuple([part for part in map(str.strip, value.split(",")) if part])
    return tuple(value)


def full_namespace(namespace: str | None) -> str:
    """Return a namespace with its leading slash: ``"chat"`` is ``"/chat"``, nothing is ``"/"``, ``"*"`` stays.

    :raises TypeError: if it is no text.

    Source: Socket.IO's server, ``Server.of``; no client could say a name without the slash.
    """
    if not namespace:
        return "/"
    if not isinstance(namespace, str):
        raise TypeError(f"a namespace must be text, such as '/chat', not {type(namespace).__name__}")
    return namespace if namespace.startswith("/") or namespace == "*" else f"/{namespace}"
