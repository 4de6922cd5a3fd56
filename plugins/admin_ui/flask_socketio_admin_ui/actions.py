"""What a page may have done to clients, on all servers."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import flask

from flask_socketio_core.errors import EventRejected

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask_socketio_core import SocketIO

logger = logging.getLogger(__name__)

FEATURES = ("EMIT", "JOIN", "LEAVE", "DISCONNECT", "MJOIN", "MLEAVE", "MDISCONNECT")
"""As the page calls them; those with an M are for many at once."""

RESERVED = frozenset(
    {"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"}
)
"""Events that clients have of their own."""


class Actions:
    """The events of the page.

    :param namespace: of the page, in which nothing is done.
    :param readonly: refuse all.
    """

    def __init__(self, socketio: SocketIO, namespace: str, *, readonly: bool) -> None:
        self._socketio = socketio
        self._own = namespace
        self._readonly = readonly

    @property
    def features(self) -> list[str]:
        """What the page is told that it may."""
        return [] if self._readonly else list(FEATURES)

    def handlers(self) -> dict[str, Callable[..., None]]:
        """Return the handlers by event."""
        return {"emit": self.emit, "join": self.join, "leave": self.leave, "_disconnect": self.disconnect}

    def emit(self, namespace: Any, room: Any, event: Any, *args: Any) -> None:
        """Send an event to the clients of a room, of a sid, or of the namespace."""
        to = self._checked(namespace, room)
        if not isinstance(event, str) or event in RESERVED:
            raise EventRejected(ack={"error": f"{event!r:.80} is no event that can be emitted"})
        self._note("emits %r to %s", event, _whom(namespace, to))
        self._socketio.emit(event, *args, namespace=namespace, to=to)

    def join(self, namespace: Any, room: Any, who: Any = None) -> None:
        """Put clients into a room."""
        to = self._checked(namespace, who)
        self._note("puts %s into room %r", _whom(namespace, to), room)
        self._move(namespace, to, enter=_room(room))

    def leave(self, namespace: Any, room: Any, who: Any = None) -> None:
        """Take clients out of a room."""
        to = self._checked(namespace, who)
        self._note("takes %s out of room %r", _whom(namespace, to), room)
        self._move(namespace, to, leave=_room(room))

    def disconnect(self, namespace: Any, close: Any = False, who: Any = None) -> None:
        """Disconnect clients, or end their connections."""
        to = self._checked(namespace, who)
        self._note("disconnects %s", _whom(namespace, to))
        self._socketio.kick(to=to, namespace=namespace, close=close is True)

    def _move(self, namespace: str, to: str | None, **rooms: str) -> None:
        try:
            self._socketio.move(to=to, namespace=namespace, **rooms)  # type: ignore[arg-type]  # rooms alone
        except ValueError as error:  # of the room that was asked for
            raise EventRejected(ack={"error": str(error)}) from error

    def _checked(self, namespace: Any, room: Any) -> str | None:
        """Return whom a page means: a room or sid, or ``None`` for the whole namespace.

        :raises EventRejected: if it may not, or cannot mean that.
        """
        if self._readonly:
            raise EventRejected(ack={"error": "read-only"})
        if not isinstance(namespace, str) or not namespace.startswith("/") or namespace == self._own:
            raise EventRejected(ack={"error": f"nothing can be done in the namespace {namespace!r:.80}"})
        if room is not None and not isinstance(room, str):
            raise EventRejected(ack={"error": f"{room!r:.80} is no room"})
        return room or None

    def _note(self, text: str, *values: object) -> None:
        client = flask.request.client  # type: ignore[attr-defined]  # a handler's request has it
        logger.info(f"admin %r (%s) {text}", client.data.get("admin"), client.sid, *values)


def _room(room: Any) -> str:
    if not isinstance(room, str) or not room:
        raise EventRejected(ack={"error": f"{room!r:.80} is no room"})
    return room


def _whom(namespace: str, to: str | None) -> str:
    return f"everybody in {namespace}" if to is None else f"{to!r} in {namespace}"
