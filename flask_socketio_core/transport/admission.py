"""Whether a connection may come in: there is room in the process, and its address has not had its share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .addresses import TooMany
from .wsgi import BAD_REQUEST, Refusal

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from .addresses import Place
    from .server import EngineIOServer


def check_capacity(server: EngineIOServer, connections: int) -> None:
    """Refuse a new connection when the server is full or ending.

    :param connections: how many there are of the kind that is asked for: sessions, or WebSockets for an upgrade.
    :raises Refusal: with status 503.
    """
    if not server.accepting:
        raise Refusal(BAD_REQUEST, "the server is shutting down", status=503)
    limit = server.most_connections
    if limit is not None and connections >= limit:
        server.log_full(limit)
        raise Refusal(BAD_REQUEST, f"the server has its {limit} connections", status=503)


def check_descriptors(server: EngineIOServer, descriptors: int) -> None:
    """Refuse a connection for which there is no descriptor besides the server's own.

    :param descriptors: how many are taken, by WebSockets and by polls that wait.
    :raises Refusal: with status 503.
    """
    limit = server.most_descriptors
    if limit is not None and descriptors >= limit:
        server.log_full(limit)
        raise Refusal(BAD_REQUEST, f"the server has its {limit} connections", status=503)


def check_handshake(server: EngineIOServer, environ: WSGIEnvironment) -> None:
    """Refuse a handshake of an address that has had too many.

    :raises Refusal: with status 429 and ``Retry-After``.
    """
    with refusing(server, environ):
        server.addresses.check_handshake(environ)


@contextmanager
def placed(server: EngineIOServer, environ: WSGIEnvironment) -> Iterator[Place | None]:
    """Count a connection of an address, for good unless the block raises: who ends the session leaves its place.

    :raises Refusal: with status 429 and ``Retry-After`` if the address has too many.
    """
    with refusing(server, environ):
        place = server.addresses.enter(environ)
    try:
        yield place
    except BaseException:
        if place is not None:
            place.leave()
        raise


@contextmanager
def refusing(server: EngineIOServer, environ: WSGIEnvironment) -> Iterator[None]:
    """Answer and log that an address has what it may have."""
    try:
        yield
    except TooMany as error:
        server.log_too_many(str(environ.get("REMOTE_ADDR")), error)
        headers = [("Retry-After", str(error.retry_s))]
        raise Refusal(BAD_REQUEST, str(error), status=429, headers=headers) from None
