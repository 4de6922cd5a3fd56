"""``json=``: a module or object of the application's that encodes and decodes JSON, tried before it is needed."""

from __future__ import annotations

import json as standard_json
from typing import Any

from ..errors import InvalidOption

_TRIAL = ["event", 1]


def tried(module: Any) -> Any:
    """Return a JSON module in the form of the standard library's, after a list has made the round trip.

    :param module: has ``dumps(data, separators=...)`` and ``loads(text)``, or is one such as orjson, whose ``dumps``
        knows no ``separators`` and may return bytes.
    :raises InvalidOption: if it is none, with what came of it.
    """
    for name in ("dumps", "loads"):
        if not callable(getattr(module, name, None)):
            raise InvalidOption(_text(module, f"has no {name}()"))
    try:
        suitable = module if _takes_separators(module) else PlainJson(module)
        text = suitable.dumps(_TRIAL, separators=(",", ":"))
        if standard_json.loads(text) != _TRIAL:  # what clients read
            raise ValueError(f"dumps() made {text!r}")
        if (value := suitable.loads(text)) != _TRIAL:
            raise ValueError(f"loads() made {value!r}")
    except Exception as error:  # it may raise anything
        raise InvalidOption(_text(module, f"a list did not come back from it: {error!r}")) from error
    return suitable


def _takes_separators(module: Any) -> bool:
    try:
        return isinstance(module.dumps(_TRIAL, separators=(",", ":")), str)
    except TypeError:
        return False


def _text(module: Any, what: str) -> str:
    return (
        f"json={module!r} is not suitable: {what}\n"
        "  expected a module or object whose dumps() makes JSON text and whose loads() reads it, such as json, "
        "simplejson, orjson or flask.json; for msgpack use serializer='msgpack'"
    )


class PlainJson:
    """A JSON module whose ``dumps`` takes no ``separators`` or returns bytes, such as orjson."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def __repr__(self) -> str:
        return repr(self._module)

    def dumps(self, data: Any, *, separators: tuple[str, str] | None = None) -> str:
        """Return data as text."""
        text: str | bytes = self._module.dumps(data)
        return text if isinstance(text, str) else text.decode()

    def loads(self, text: str) -> Any:
        """Return the value of a text."""
        return self._module.loads(text)
