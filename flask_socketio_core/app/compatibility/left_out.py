"""What is not there says so, and what to use instead."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

PAGE = "docs/attributes.md"

INTERNAL = "it is about how python-socketio and python-engineio work inside"


class LeftOut:
    """Base of objects that have some of the attributes of an object of Flask-SocketIO, python-socketio or
    python-engineio.
    """

    PATH: ClassVar[str] = "socketio"
    """How an application comes to such an object."""

    LEFT_OUT: ClassVar[Mapping[str, str]] = {}
    """Names that the other object has and this one has not, each with what to do instead."""

    if not TYPE_CHECKING:  # or every misspelt name would pass a type check

        def __getattr__(self, name: str) -> Any:
            if hasattr(type(self), name):
                return object.__getattribute__(self, name)  # what its property raises
            raise AttributeError(self._explain(name), name=name, obj=self)

    def _explain(self, name: str) -> str:
        way = self.LEFT_OUT.get(name)
        if way is not None:
            return f"{self.PATH} has no attribute {name!r} here: {way}"
        text = f"{type(self).__name__!r} object has no attribute {name!r}"
        if name.startswith("__"):
            return text
        near = difflib.get_close_matches(name, [own for own in dir(type(self)) if own[0] != "_"], n=1)
        hint = f", did you mean {near[0]!r}?" if near else ""
        return f"{text}{hint} ({PAGE} lists what there is of Flask-SocketIO's)"
