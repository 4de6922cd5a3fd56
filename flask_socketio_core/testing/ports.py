"""Ports of loopback for servers that tests start."""

from __future__ import annotations

import atexit
import socket
from collections import deque
from typing import Final

#: A server that is started with a port listens on it long before so many more ports were asked for.
RESERVATIONS = 64
_reserved: Final[deque[socket.socket]] = deque()


def free_port(port: int = 0) -> int:
    """Return a TCP port of loopback that nobody listens on, and that nobody else is given for now.

    Between the choice of a port and the server's ``listen()`` another process that looks for a port, or connects
    to somewhere, could get the same one. A socket of this process stays bound to it, therefore, without listening,
    until 64 more ports have been asked for. A server can listen on it all the same if it sets ``SO_REUSEADDR``,
    as servers do, and connections to it are refused until then.

    :param port: the port that it has to be; 0 for any.
    :raises OSError: if that one is taken.
    """
    holder = socket.socket()
    try:
        holder.bind(("127.0.0.1", port))
    except OSError:
        holder.close()
        raise
    # Behind bind(): with this option, bind() would share a port that somebody else has reserved.
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found: int = holder.getsockname()[1]
    _reserved.append(holder)
    if len(_reserved) > RESERVATIONS:
        _reserved.popleft().close()
    return found


@atexit.register
def _release_all() -> None:
    while _reserved:
        _reserved.popleft().close()
