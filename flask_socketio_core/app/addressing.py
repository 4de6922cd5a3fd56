"""From what users write to what the engine takes: arguments, recipients, and who is left out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NoReturn

import flask

from ..common.options import unknown_keyword
from ..errors import ContextError
from .dispatch import current_client

if TYPE_CHECKING:
    from ..common.keywords import Recipients

EMIT_KEYWORDS = (
    "namespace",
    "to",
    "room",
    "include_self",
    "skip_sid",
    "exclude",
    "callback",
    "timeout",
    "on_timeout",
    "local",
    "ignore_queue",
    "volatile",
)


def payload(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return an event's arguments: one tuple stands for several, ``None`` for none, as in python-socketio."""
    if len(args) != 1:
        return args
    data = args[0]
    if isinstance(data, tuple):
        return data
    return () if data is None else (data,)


def recipients(to: Recipients, room: Recipients = None) -> tuple[Any, ...] | None:
    """Return rooms and sids, or ``None`` for everybody.

    :param room: the older name of ``to``, used if that is ``None``. An empty list is nobody: Flask-SocketIO sends to
        everybody then.
    """
    chosen = room if to is None else to
    if chosen is None:
        return None
    if isinstance(chosen, Iterable) and not isinstance(chosen, (str, bytes)):
        return tuple(chosen)
    return (chosen,)


def excluded(exclude: Recipients) -> frozenset[Any]:
    """Return the rooms and sids that do not receive a message."""
    return frozenset(recipients(exclude) or ())


def skipped(skip_sid: str | Iterable[str] | None, *, include_self: bool, function: str) -> frozenset[str]:
    """Return the sids that do not receive a message.

    :param function: who asks, for the error.
    :raises ContextError: if the sender is to be left out, but there is none.
    """
    if skip_sid:
        return frozenset((skip_sid,) if isinstance(skip_sid, str) else skip_sid)
    return frozenset() if include_self else frozenset((sender(function, "include_self=False"),))


def sender(function: str, what: str) -> str:
    """Return the sid of the client whose event is being handled.

    :raises ContextError: if there is none.
    """
    client = current_client()
    if client is None:
        raise ContextError(
            f"{function} with {what} needs to know the sender, so it can only be used in a Socket.IO handler; "
            "elsewhere pass skip_sid= with the sid that is to be left out"
        )
    return client.sid


def refuse_unknown(function: str, unknown: dict[str, Any], known: Iterable[str] = EMIT_KEYWORDS) -> None:
    """Refuse keyword arguments that do not exist.

    :raises TypeError: with the nearest match.
    """
    for name in unknown:
        raise TypeError(unknown_keyword(function, name, known))


def need_context(function: str, missing: str, instead: str) -> NoReturn:
    """Say that a function needs a handler's context.

    :param missing: what could not be found out.
    :param instead: what to write elsewhere.
    :raises ContextError: always.
    """
    where = "in a view" if flask.has_request_context() else "outside of a request"
    raise ContextError(
        f"{function} was called {where}, where there is no Socket.IO client to take the {missing} from; "
        f"call it in a Socket.IO handler, or {instead}"
    )
