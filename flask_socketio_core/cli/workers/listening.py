"""The listening socket of several workers."""

from __future__ import annotations

import socket

import click

from ...app.running import EVERY_HOST, UNIX
from ...contracts.concurrency.servers import explain_bind_error

BACKLOG = 1024
"""Connections that wait to be accepted; as in our green servers."""


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens and does not block.

    Of a name's addresses the first one of IPv4 counts, and the first one of IPv6 if there is none. Source: Werkzeug and
    gunicorn, for which a name is one of IPv4.

    :raises click.ClickException: if that cannot be had, with the reason.
    """
    if host.startswith(UNIX):
        raise click.ClickException(
            f"--host {host}: several workers share a port; a path is for one, --workers 1"
        )
    host = host or EVERY_HOST
    listener: socket.socket | None = None
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = next(
            (one for one in found if one[0] == socket.AF_INET), found[0]
        )
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections inherit it: a response that is written in two parts does not wait 40 ms for a delayed ACK.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except (OSError, UnicodeError) as error:
        if listener is not None:
            listener.close()
        raise click.ClickException(str(explain_bind_error(error, host, port))) from error
    listener.setblocking(False)
    return listener
