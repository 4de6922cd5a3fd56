"""Label values: as many as an application has, however many clients make up."""

from __future__ import annotations

from flask_socketio_core import SocketIO

OTHER = "other"
"""Whatever is not told apart."""

CATCH_ALL = "*"

DETAILS = {detail for reason in vars(SocketIO.reason).values() if (detail := getattr(reason, "detail", ""))}
"""What reasons of the library have as detail."""


class EventNames:
    """Names of events: so many are told apart, those that come first.

    :param most: how many.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()

    def label(self, event: str) -> str:
        """Return the name, or ``"other"``, as for what a catch-all handles."""
        if event in self._known:
            return event
        if event == CATCH_ALL or len(self._known) >= self._most:
            return OTHER
        self._known.add(event)
        return event


def namespace_label(socketio: SocketIO, namespace: str) -> str:
    """Return the name of a namespace that the application knows, ``"other"`` for one that a client made up."""
    server = socketio.server
    known = namespace == "/" or namespace in server.handlers or namespace in server.namespace_handlers
    return namespace if known or namespace in server.namespaces else OTHER


def reason_label(reason: str) -> str:
    """Return why a client left: the detail, where there is one.

    An application's own texts are as many as it likes, and count as what they are: it has kicked the client.
    """
    detail = getattr(reason, "detail", "")
    return (detail if detail in DETAILS else SocketIO.reason.KICKED.detail) if detail else str(reason)
