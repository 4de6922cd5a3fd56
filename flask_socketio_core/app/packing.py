"""What can be sent to clients, as bytes to be kept and taken out again."""

from __future__ import annotations

import json as standard_json
from collections.abc import Callable
from typing import Any

from ..cluster.envelope import Wire, pack, unpack


class Packing:
    """Turn values into bytes and back: JSON, with what is binary beside it.

    :param json: the application's module or object with ``dumps`` and ``loads``; ``None`` for the standard library's.
    :param strict: as of :class:`~flask_socketio_core.cluster.envelope.Wire`.
    """

    def __init__(self, json: Any, *, strict: bool) -> None:
        self._dumps = Wire(json, strict=strict).dumps
        self._loads: Callable[[Any], Any] = (json or standard_json).loads

    def dump(self, *values: Any) -> bytes:
        """Return values as bytes, the same for the same values.

        :raises TypeError: if one of them is nothing that can be sent; ``ValueError`` likewise.
        """
        packed, binary = pack(list(values))
        text = self._dumps([binary, packed])
        return text.encode() if isinstance(text, str) else bytes(text)

    def load(self, kept: bytes) -> tuple[Any, ...]:
        """Return the values of which :meth:`dump` has made this."""
        binary, packed = self._loads(kept)
        return unpack(packed) if binary else tuple(packed)
