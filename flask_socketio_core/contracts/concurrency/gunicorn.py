"""What is known of gunicorn's insides, all in one place; the workers of every async mode have it in common."""

from __future__ import annotations

import gc
import io
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ..websocket_provider import KeepAlive

if TYPE_CHECKING:
    import _socket

    from _typeshed.wsgi import WSGIEnvironment

__all__ = [
    "SOCKET",
    "find_closing",
    "find_keep_alive",
    "find_master",
    "find_read_ahead",
    "find_worker",
    "graceful_s",
    "still_listens",
    "uncount",
]


SOCKET = "gunicorn.socket"
"""Key of a connection's socket in the environ (not with the pywsgi worker)."""


def find_worker() -> Any:
    """Return the gunicorn worker that runs this process, or ``None``.

    It owns the handler of SIGTERM; its ``alive`` turns ``False`` when it is told to end.
    """
    owner = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    is_worker = any(kind.__module__.startswith("gunicorn.workers.") for kind in type(owner).__mro__)
    return owner if is_worker and hasattr(owner, "alive") else None


def find_master() -> tuple[int, int] | None:
    """Return the process id of gunicorn's master and how many workers it was told to have, or ``None``.

    Also in the master itself, where an application is loaded with ``--preload``. There nothing leads to the object that
    is about to start the workers, so it is looked for among all objects.
    """
    worker = find_worker()
    if worker is not None:
        return worker.ppid, worker.cfg.workers
    module = sys.modules.get("gunicorn.arbiter")
    if module is None:
        return None
    found = next((each for each in gc.get_objects() if isinstance(each, module.Arbiter)), None)
    return None if found is None else (getattr(found, "pid", os.getpid()), found.cfg.workers)


def still_listens() -> bool:
    """Return whether this process's worker was told to end and takes connections all the same.

    Those with gevent do for up to a second, in which they look at ``alive`` no more than once; a client that is refused
    then would have been served by the worker that takes their place.
    """
    worker = find_worker()
    if worker is None or worker.alive or not _is_of(worker, "ggevent") or _has_left_its_loop(worker):
        return False
    return any(listener.fileno() >= 0 for listener in worker.sockets)


def _has_left_its_loop(worker: Any) -> bool:
    """Return whether nothing accepts any more, although the listener is open: after SIGINT gunicorn exits at once."""
    try:
        worker.tmp.fileno()
    except ValueError:  # closed by the arbiter's code around the worker
        return True
    return False


def graceful_s() -> float | None:
    """Return how long this process's worker may take to end, seconds; ``None`` without one."""
    worker = find_worker()
    return None if worker is None else float(worker.cfg.graceful_timeout)


def uncount(worker: Any) -> None:
    """Let the request that is being served not count for ``--max-requests``."""
    worker.nr -= 1


def _is_of(worker: Any, module: str) -> bool:
    return any(kind.__module__ == f"gunicorn.workers.{module}" for kind in type(worker).__mro__)


def find_closing(start_response: Any) -> Callable[[], object]:
    """Return what keeps gunicorn from waiting for another request on the connection of this one.

    It would find out that none comes from the end of what stands in for a connection that was taken: by another turn
    of its loop and of a thread.
    """
    found: Callable[[], object] | None = getattr(
        getattr(start_response, "__self__", None), "force_close", None
    )
    return found if callable(found) else lambda: None


def find_keep_alive() -> KeepAlive | None:
    """Return how gunicorn's ``gthread`` worker keeps connections, and takes one back; ``None`` if it does not.

    It is given one as its listening socket gives it one, so that it counts it, and keeps or closes it as any other. To
    have that done by the worker's main thread takes the queue of calls that workers have since gunicorn 24.
    """
    worker = find_worker()
    return _keep_alive(worker) if worker is not None and _is_of(worker, "gthread") else None


@lru_cache(maxsize=1)
def _keep_alive(worker: Any) -> KeepAlive | None:
    cfg, queue = worker.cfg, getattr(worker, "method_queue", None)
    defer, accept = getattr(queue, "defer", None), getattr(worker, "accept", None)
    # The addresses that the proxy has told for the connection would be lost, and another client could tell others.
    tells_addresses = str(cfg.proxy_protocol).lower() not in ("off", "false")
    if not (callable(defer) and callable(accept)) or tells_addresses or cfg.is_ssl or not cfg.keepalive:
        return None
    listeners = worker.sockets

    def give_back(connection: _socket.socket) -> None:
        sock = socket.socket(fileno=connection.detach())
        if worker.poller.get_map() is None:  # its loop has ended: nobody is there any more
            sock.close()
            return
        try:
            accepted = _Accepted(sock, sock.getpeername(), _address(sock, listeners))
        except OSError:  # the client is gone
            sock.close()
        else:
            defer(accept, accepted)

    return KeepAlive(longest_s=cfg.keepalive, give_back=give_back)


class _Accepted:
    """A listening socket, as far as gunicorn sees, that has one connection."""

    def __init__(self, sock: socket.socket, client: Any, server: Any) -> None:
        self._sock = sock
        self._client = client
        self._server = server

    def accept(self) -> tuple[socket.socket, Any]:
        """Return the connection and its client's address."""
        return self._sock, self._client

    def getsockname(self) -> Any:
        """Return the address that is listened on."""
        return self._server


def _address(sock: socket.socket, listeners: Sequence[Any]) -> Any:
    """Return the address of the listening socket that has accepted a connection, which may stand for all addresses."""
    own = sock.getsockname()
    addresses = [listener.getsockname() for listener in listeners if listener.fileno() >= 0]
    if own in addresses or not isinstance(own, tuple):
        return own
    return next((each for each in addresses if isinstance(each, tuple) and each[1] == own[1]), own)


def find_read_ahead(environ: WSGIEnvironment) -> Callable[[], bytes] | None:
    """Return what takes the bytes that were read from the socket but not used yet, out of gunicorn's parser.

    ``None`` if the request's body has been hidden by middleware, or is chunked.
    """
    reader = getattr(environ.get("wsgi.input"), "reader", None)
    unreader: Any = getattr(reader, "unreader", None)
    if not isinstance(getattr(unreader, "buf", None), io.BytesIO):
        return None

    def take() -> bytes:
        data = unreader.buf.getvalue()
        unreader.buf = io.BytesIO()
        return bytes(data)

    return take
