"""Look from outside which workers there are: for commands, which are processes of their own and may wait."""

from __future__ import annotations

import socket

from .messages import QUEUE, BrokenMessage, MessageReader, Request, encode
from .workers import all_groups

PATIENCE_S = 2.0
"""How long a worker may take to answer, seconds."""
MOST_URL_BYTES = 10_000


def queues_of(application: str) -> list[str]:
    """Return by which message queues the workers of an application are joined, one for each web server that runs it.

    :param application: its identity, as :func:`~flask_socketio_core.app.worker_queue.identity` returns it.
    :raises NoDirectory: if there is no place in which they could meet.
    """
    found = (_ask_any(sockets, Request(kind=QUEUE, sid=application)) for sockets in all_groups())
    return [url for url in found if url]


def _ask_any(sockets: list[str], request: Request) -> str:
    """Return the first answer of several workers that is not empty; two applications of a process answer each."""
    for path in sockets:
        try:
            answer = _ask(path, request)
        except (OSError, BrokenMessage):
            continue  # it has just left, or hangs: another one knows as well
        if answer:
            return answer
    return ""


def _ask(path: str, request: Request) -> str:
    reader = MessageReader(MOST_URL_BYTES)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE_S)
        sock.connect(path)
        sock.sendall(encode(request))
        while data := sock.recv(65_536):
            found = reader.feed(data)
            if found is not None:
                return found[1].decode()
    return ""
