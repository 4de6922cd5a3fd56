"""For authors of stores: take a URL apart, check options, raise what is ours; as ``queues`` for message queues.

::

    from flask_socketio_core.contracts import stores
    from flask_socketio_core.contracts.stores import Setting

    SETTINGS = (Setting("timeout_s", float, 2.0, "seconds an answer may take", above=0),)

    class PigeonStore(Store):
        def __init__(self, url, channel, *, mode, options):
            super().__init__(url, channel, mode=mode, options=options)
            self._url = stores.parse(url)
            self._settings = stores.read(SETTINGS, options, self._url.query, where="pigeon")
            self._our_errors = stores.ClientErrors("pigeon loft", url, OSError)

The user gives an option in ``store_options`` or in the URL's query; the former wins.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import InvalidOption, StoreRefused, StoreUnavailable, ValueTooLarge
from . import queue_errors, settings, urls
from .settings import Setting
from .store import MAX_KEY_BYTES
from .urls import QueueURL, describe, mask

__all__ = [
    "ClientErrors",
    "QueueURL",
    "Setting",
    "check_name",
    "check_size",
    "describe",
    "mask",
    "parse",
    "read",
]

PART = "store"


def parse(url: str) -> QueueURL:
    """Take a URL apart.

    :raises InvalidOption: if it makes no sense; the text holds no secret.
    """
    return urls.parse(url, part=PART)


def read(
    known: tuple[Setting[Any], ...], options: Mapping[str, Any], query: Mapping[str, str], *, where: str
) -> dict[str, Any]:
    """Check the options given and return a value for every known one.

    :param options: what the user gave as ``store_options``; wins over the URL.
    :param query: what the user gave in the URL.
    :param where: name of the store, for error texts.
    :raises UnknownOption: for a name that is not known, with the nearest match.
    :raises InvalidOption: for a value of the wrong type or range.
    """
    return settings.read(known, options, query, where=where, part=PART)


class ClientErrors(queue_errors.ClientErrors):
    """Turn what a client library raises in a block into :class:`~flask_socketio_core.errors.StoreUnavailable`, or
    :class:`~flask_socketio_core.errors.StoreRefused`; may be used again and again.

    The parameters are those of :class:`flask_socketio_core.queues.ClientErrors`.
    """

    __slots__ = ()
    kinds = (StoreUnavailable, StoreRefused)


def check_name(name: str) -> str:
    """Return the name of a key or a stream.

    :raises InvalidOption: if it is empty, or longer than 256 bytes.
    """
    size = len(name.encode())
    if not 0 < size <= MAX_KEY_BYTES:
        raise InvalidOption(f"a key or stream of {size} bytes, expected 1 to {MAX_KEY_BYTES}: {name!r:.80}")
    return name


def check_size(value: bytes, limit: int | None, name: str) -> None:
    """Refuse a value that a store can never keep.

    :param limit: most bytes, ``None`` for any number.
    :param name: what the store is called.
    :raises ValueTooLarge: with both sizes.
    """
    if limit is not None and len(value) > limit:
        raise ValueTooLarge(f"value of {len(value)} bytes exceeds the {name} store's {limit} bytes")
