"""What options can be that are neither a number, a switch nor text: how each is read.

Each function takes what the user gave and returns what is kept. ``Unsuitable`` says no more than that it is not what
the option expects, another ``ValueError`` says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from . import origins, values
from .settings import Unsuitable

TRANSPORTS = ("polling", "websocket")


def path(text: str) -> str:
    """Return the path of a URL without the slashes around it."""
    return text.strip("/")


def logger(value: Any) -> Any:
    """Return a switch, or the logger that was given."""
    return _switch(value) if isinstance(value, (str, int)) else value


def async_handlers(value: Any) -> bool | str:
    """Return a switch, or ``"ordered"``."""
    return "ordered" if value == "ordered" else _switch(value)


def _switch(value: Any) -> bool:
    try:
        return values.boolean(value)
    except ValueError:
        raise Unsuitable from None


def accepted_namespaces(value: Any) -> tuple[str, ...] | str:
    """Return namespaces with their slashes, or ``"*"``."""
    if not isinstance(value, Iterable):
        raise Unsuitable
    given = values.listed(value)
    try:
        return "*" if "*" in given else tuple(map(values.full_namespace, given))
    except TypeError as error:
        raise ValueError(str(error)) from None


def allowed_origins(value: Any) -> str | tuple[str, ...] | Callable[..., bool] | None:
    """Return ``"*"``, the origins one by one, or the callable; ``None`` for texts that are all blank."""
    if callable(value):
        return value  # type: ignore[no-any-return]  # what it returns is looked at when it is asked
    if not isinstance(value, Iterable) or isinstance(value, (bytes, Mapping)):
        raise Unsuitable
    given = value if isinstance(value, str) else tuple(value)
    listed = origins.split(given)
    if origins.ANY in listed:
        return origins.ANY
    origins.OriginList(listed)
    return listed if listed or given == () else None


def transports(given: tuple[Any, ...]) -> tuple[str, ...]:
    """Return the names of transports, of which there is one at least."""
    if not given or any(name not in TRANSPORTS for name in given):
        raise Unsuitable
    return given
