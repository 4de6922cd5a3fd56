"""File descriptors: as many as the process may have, and a reserve for everything that is not a WebSocket.

A WSGI server that cannot accept because descriptors ran out dies or spins. So connections are refused before that.
"""

from __future__ import annotations

import logging
import sys

if sys.platform != "win32":
    import resource

RESERVE = 64
"""Descriptors kept for the server's listening and pending sockets, log files, database connections and the like."""

logger = logging.getLogger("flask_socketio_core.server")


def raise_limit() -> None:
    """Raise the soft limit of descriptors to the hard limit, as far as the system lets us."""
    if sys.platform == "win32":
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:
        logger.info("the limit of %d descriptors cannot be raised to %d: %s", soft, hard, error)


def most_connections() -> int | None:
    """Return how many descriptors connections may take, the reserve kept; ``None`` where there is no limit."""
    if sys.platform == "win32":
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else max(soft - RESERVE, 1)
