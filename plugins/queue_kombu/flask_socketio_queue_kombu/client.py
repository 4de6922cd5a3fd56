"""Kombu's classes, untyped: Kombu says that it is typed, but most of its signatures are not."""

from __future__ import annotations

from typing import Any

import kombu.connection
import kombu.entity
import kombu.exceptions
import kombu.transport

Connection: Any = kombu.connection.Connection
Exchange: Any = kombu.entity.Exchange
Queue: Any = kombu.entity.Queue


def foreign_errors(transport: str) -> tuple[type[BaseException], ...]:
    """Return what a transport raises when its broker is away or refuses something.

    :raises ImportError: if the transport's own client library is not installed.
    """
    implementation: Any = kombu.transport.get_transport_cls(transport)
    errors = (*implementation.connection_errors, *implementation.channel_errors)
    return (*errors, kombu.exceptions.OperationalError, OSError)
