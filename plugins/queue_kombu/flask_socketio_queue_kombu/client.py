"""Kombu's classes, untyped: Kombu says that it is typed, but most of its signatures are not."""

from __future__ import annotations

from typing import Any

import amqp.exceptions
import kombu.connection
import kombu.entity
import kombu.exceptions
import kombu.transport

Connection: Any = kombu.connection.Connection
Exchange: Any = kombu.entity.Exchange
Queue: Any = kombu.entity.Queue

REDIS = frozenset({"redis", "rediss", "sentinel"})
"""Transports of redis-py."""

TICK_S = 0.5
"""Seconds between two ``b""`` of a quiet channel."""

CONTENT_TYPE = "application/json"
CONTENT_ENCODING = "utf-8"
"""What python-socketio's managers take for JSON."""


def shared_exchange(channel: str) -> Any:
    """Return python-socketio's exchange: transient, because another declaration of the name would be refused."""
    return Exchange(channel, type="fanout", durable=False)


def hear(connection: Any, timeout_s: float) -> bool:
    """Let what arrives next be handled; ``False`` if nothing does in time."""
    try:
        connection.drain_events(timeout=timeout_s)
    except TimeoutError:
        return False
    return True


def body_of(message: Any) -> bytes:
    """Return a received message's bytes."""
    body = message.body
    return body.encode() if isinstance(body, str) else bytes(body)


def foreign_errors(transport: str) -> tuple[type[BaseException], ...]:
    """Return what a transport raises when its broker is away or refuses something.

    :raises ImportError: if the transport's own client library is not installed.
    """
    implementation: Any = kombu.transport.get_transport_cls(transport)
    errors = (*implementation.connection_errors, *implementation.channel_errors)
    return (*errors, kombu.exceptions.OperationalError, OSError)


def refusals(transport: str) -> tuple[type[BaseException], ...]:
    """Return what a transport raises for a wrong password, a missing right, or a virtual host that is not there."""
    found: tuple[type[BaseException], ...] = (amqp.exceptions.AccessRefused, amqp.exceptions.NotAllowed)
    if transport in REDIS:
        from redis import exceptions

        found += (
            exceptions.AuthenticationError,
            exceptions.AuthorizationError,
            exceptions.NoPermissionError,
        )
    return found
