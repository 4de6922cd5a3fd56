"""Users: all clients of one person or account, over all servers, as one room of each namespace.

A client enters the room of its user, and leaves it, with :attr:`Client.user
<flask_socketio_core.contracts.clients.Client.user>` and in no other way, so that nobody gets into it by naming a room.
It is a room like any other for what is sent: python-socketio's processes reach it, too.
"""

from __future__ import annotations

from typing import Any

from .sids import refuse_sid

PREFIX = "@user:"
"""What the names of these rooms begin with."""


def user(user_id: str | int) -> str:
    """Return the room of all clients of a user, for ``to=`` and ``exclude=``::

        socketio.emit("paid", invoice.number, to=user(invoice.owner_id))

    :param user_id: what the user loader returned, or ``client.user`` was set to: text, or a number, which is taken
        for its text.
    :raises TypeError: if it is neither.
    :raises ValueError: if it is empty.
    """
    return f"{PREFIX}{checked_id(user_id)}"


def checked_id(user_id: Any) -> str:
    """Return what identifies a user, as text.

    :raises TypeError: if it is neither text nor a whole number.
    :raises ValueError: if it is empty.
    """
    if isinstance(user_id, bool) or not isinstance(user_id, (str, int)):
        raise TypeError(
            f"a user is told by text or a whole number, such as a primary key, not by {type(user_id).__name__}; an "
            "object can be kept in client.app_data"
        )
    text = str(user_id)
    if not text:
        raise ValueError("a user is told by text that is not empty; None stands for nobody")
    return text


def is_users_room(room: Any) -> bool:
    """Return whether a room is that of a user."""
    return isinstance(room, str) and room.startswith(PREFIX)


def refuse_reserved(action: str, room: Any) -> None:
    """Refuse a sid, or the room of a user, where a room that clients are put into is expected.

    :param action: what was to be done, for the error: ``"enter"`` or ``"close"``.
    :raises ValueError: if it is one; says what to do.
    """
    refuse_sid(action, room)
    if is_users_room(room):
        raise ValueError(
            f"cannot {action} room {room!r}: only the clients of that user are in it, by request.client.user; where "
            f"clients name rooms, put something before it, as in f'room:{room}'"
        )
