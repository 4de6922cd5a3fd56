"""For authors of message queues: take a URL apart, check options, show neither with its secrets; raise what is ours.

::

    from flask_socketio_core import queues
    from flask_socketio_core.queues import Setting

    SETTINGS = (
        Setting("publish_timeout_s", float, 2.0, "seconds a publish may take", above=0),
        Setting("password", str, None, "password, when it is not in the URL"),
    )

    class PigeonQueue(MessageQueue):
        def __init__(self, url, channel, *, mode, options):
            super().__init__(url, channel, mode=mode, options=options)
            self._url = queues.parse(url)
            self._settings = queues.read(SETTINGS, options, self._url.query, where="pigeon")
            self._our_errors = queues.ClientErrors("pigeon post", url, OSError)

The user gives an option in ``message_queue_options`` or in the URL's query (``pigeon://host?publish_timeout_s=5``); the
former wins. What is here changes as the contracts do: by growing.
"""

from __future__ import annotations

import secrets
from typing import Final

from ..common import sids
from .queue_errors import ClientErrors, check_size, unavailable
from .settings import Setting, read
from .urls import QueueURL, describe, mask, parse

__all__ = [
    "ADDRESS_DIGITS",
    "ClientErrors",
    "QueueURL",
    "Setting",
    "check_size",
    "describe",
    "mask",
    "new_address",
    "parse",
    "read",
    "unavailable",
]

ADDRESS_DIGITS: Final = sids.ADDRESS_DIGITS
"""How long an address is; see :attr:`~flask_socketio_core.contracts.MessageQueue.address`."""


def new_address() -> str:
    """Return an address for a queue that can send to the listeners of one object alone.

    Of a hundred objects two have the same one in one of 3,000 cases; then both have to hear what is for either.
    """
    return secrets.token_hex(ADDRESS_DIGITS // 2)
