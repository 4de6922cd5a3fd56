"""``client_manager=``: the message queue that one of python-socketio's managers would have used.

Looked at by what they have, not by their class, so that importing them is left to who made one.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from ..errors import InvalidOption

if TYPE_CHECKING:
    from ..common.options import Options

_OWN_OPTIONS = (
    "redis_options",
    "connection_options",
    "exchange_options",
    "queue_options",
    "producer_options",
)
_KOMBU_SIGN = "exchange_options"
_SAME_AS_KOMBU = ("amqp", "amqps", "pyamqp", "librabbitmq")
"""Schemes that mean the same transport with and without ``kombu+`` before them."""


def adopt(options: Options) -> Options:
    """Turn ``client_manager`` into ``message_queue`` and ``channel``.

    :raises InvalidOption: if it cannot be turned into a queue of ours.
    """
    manager = options.client_manager
    if manager is None:
        return options
    if not hasattr(manager, "channel"):
        if hasattr(manager, "get_participants") and not hasattr(manager, "_publish"):
            return dataclasses.replace(
                options, client_manager=None
            )  # python-socketio's manager for one process
        raise _refusal(manager, "it is none of python-socketio's managers")
    given = [name for name in _OWN_OPTIONS if getattr(manager, name, None)]
    if given:
        raise _refusal(manager, f"its {' and '.join(given)} would be lost")
    return dataclasses.replace(
        options, client_manager=None, message_queue=_url_of(manager), channel=manager.channel
    )


def _url_of(manager: Any) -> str:
    hosts = getattr(manager, "kafka_urls", None)
    if hosts:
        return f"kafka://{','.join(hosts)}"
    url = getattr(manager, "redis_url", None) or getattr(manager, "url", None)
    if not isinstance(url, str) or "://" not in url:
        raise _refusal(manager, "it has no URL")
    scheme = url.partition("://")[0]
    if hasattr(manager, _KOMBU_SIGN) and not scheme.startswith("kombu+") and scheme not in _SAME_AS_KOMBU:
        return f"kombu+{url}"  # Kombu's messages, not those of the queue that claims the scheme
    return url


def _refusal(manager: Any, why: str) -> InvalidOption:
    return InvalidOption(
        f"client_manager={type(manager).__name__} cannot be turned into a message queue: {why}; "
        "pass message_queue='redis://...' (channel=, message_queue_options=) instead"
    )
