"""Ports of loopback for servers that tests start."""

from __future__ import annotations

import socket
from collections import deque
from typing import Final

#: A server that is started with a port listens on it long before so many more ports were asked for.
_RESERVED: Final[deque[socket.socket]] = deque(maxlen=64)


def free_port(port: int = 0) -> int:
    """Return a TCP port of loopback that nobody listens on, and that nobody else is given for now.

    Between the choice of a port and the server's ``listen()`` another process that looks for a port, or connects
    to somewhere, could get the same one. A socket of this process stays bound to it, therefore, without listening,
    until 64 more ports have been asked for. A server can listen on it all the same if it sets ``SO_REUSEADDR``,
    as servers do, and connections to it are refused until then.

    :param port: the port that it has to be; 0 for any.
    :raises OSError: if that one is taken.
    """
    reserved = socket.socket()
    try:
        reserved.bind(("127.0.0.1", port))
    except OSError:
        reserved.close()
        raise
    # Behind bind(): with this option, bind() would share a port that somebody else has reserved.
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    _RESERVED.append(reserved)
    found: int = reserved.getsockname()[1]
    return found
