"""Take an accepted connection away from the WSGI server, so that its thread or greenlet is free at once.

::

    ours = dup(fd)                the connection, under a descriptor of ours
    dup2(dummy, fd)               one end of a socket pair takes over the server's number: whatever the server still
                                  writes, shuts down or closes (a status line, an error page) goes there
    peer.shutdown(SHUT_WR)        the server reads end-of-file from the dummy, at once
    read_buffered()               what the server had already read belongs to us: the client's first frames, or a
                                  pipelined request that the server would otherwise execute
    body.close()                  the server is done with the request: the other end of the pair is closed

Nothing here knows a server: where it keeps the connection is said by a provider's
:class:`~flask_socketio_core.contracts.SocketLocation`.
"""

from __future__ import annotations

import _socket
import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

    from .websocket_provider import SocketLocation

__all__ = ["send_at_once"]


class DetachedBody:
    """The empty WSGI response of a detached request; its ``close`` ends what the server still holds."""

    def __init__(self, peer: _socket.socket) -> None:
        self._peer = peer

    def __iter__(self) -> Iterator[bytes]:
        return iter(())

    def close(self) -> None:
        """Close the other end of the dummy; the server calls this when it is done with the request."""
        self._peer.close()


@dataclass(frozen=True, slots=True)
class Detached:
    """A connection that belongs to us alone.

    :param sock: the raw, non-blocking, never monkey-patched socket.
    :param first_bytes: what the client sent behind the handshake and the server had already read.
    :param body: the response to return to the WSGI server, after ``start_response``; see :meth:`respond`.
    """

    sock: _socket.socket
    first_bytes: bytes
    body: DetachedBody

    def respond(self, start_response: StartResponse, status: str = "101 Switching Protocols") -> DetachedBody:
        """Tell the server a status for its access log, and return the body to return to it."""
        start_response(status, [])
        return self.body


def detach(location: SocketLocation) -> Detached:
    """Take a connection over; afterwards the server's descriptor leads nowhere.

    Call it once per request, in the WSGI call. Not for TLS: the bytes would go out unencrypted.

    :raises OSError: if there is no descriptor left or the connection is gone; the server then still has it.
    """
    with contextlib.ExitStack() as undo:
        ours = _socket.socket(fileno=os.dup(location.fd))
        undo.callback(ours.close)
        dummy, peer = _socket.socketpair()
        undo.callback(peer.close)
        with contextlib.closing(dummy):
            # A blocking dummy would freeze every greenlet of a server that relies on O_NONBLOCK.
            dummy.setblocking(os.get_blocking(location.fd))
            peer.shutdown(_socket.SHUT_WR)
            location.forget()
            os.dup2(dummy.fileno(), location.fd, inheritable=False)
        undo.callback(os.dup2, ours.fileno(), location.fd, inheritable=False)
        first_bytes = location.read_buffered()
        send_at_once(ours)
        ours.setblocking(False)
        undo.pop_all()
    return Detached(ours, first_bytes, DetachedBody(peer))


def send_at_once(sock: Any) -> None:
    """Have small frames sent without waiting for the acknowledgement of those before, which takes up to 40 ms.

    :param sock: a raw, green or TLS socket.
    """
    if sock.family != getattr(_socket, "AF_UNIX", None):
        with contextlib.suppress(OSError):
            sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
