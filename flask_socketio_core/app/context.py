"""``emit()``, ``send()``, ``join_room()`` and so on: what is not given is taken from the client being handled.

With the namespace and the recipient given they also work in a plain view. Of several ``SocketIO`` objects, the one
whose handler is running is used; in a view, the one that was initialised last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import flask

from ..common.reasons import Reason
from ..common.values import full_namespace
from .addressing import EMIT_KEYWORDS, need_context, refuse_unknown
from .dispatch import current_call, current_client
from .extension import EXTENSION
from .sending import CALL_KEYWORDS

if TYPE_CHECKING:
    from typing_extensions import Never

    from ..common.keywords import Recipients, Room
    from ..contracts.histories import Rewound
    from ..errors import CallError
    from .extension import SocketIO


class Helper(NamedTuple):
    """One of the functions here, for errors.

    :param name: how it is called.
    :param elsewhere: what does the same where no event is being handled.
    """

    name: str
    elsewhere: str


EMIT = Helper("emit()", "socketio.emit()")
SEND = Helper("send()", "socketio.send()")
CALL = Helper("call()", "socketio.call()")
JOIN_ROOM = Helper("join_room()", "socketio.server.enter_room()")
LEAVE_ROOM = Helper("leave_room()", "socketio.server.leave_room()")
CLOSE_ROOM = Helper("close_room()", "socketio.close_room()")
ROOMS = Helper("rooms()", "socketio.server.rooms()")
DISCONNECT = Helper("disconnect()", "socketio.server.disconnect()")

_UNSAID = object()
"""Stands for an offset that was not given; ``None`` is that of a client that has none yet."""


def emit(
    event: str,
    *args: Any,
    namespace: str | None = None,
    to: Recipients = None,
    room: Recipients = None,
    broadcast: bool = False,
    include_self: bool = True,
    skip_sid: str | Iterable[str] | None = None,
    exclude: Recipients = None,
    callback: Callable[..., Any] | None = None,
    timeout: float | None = None,
    on_timeout: Callable[[CallError], Any] | None = None,
    local: bool = False,
    ignore_queue: bool = False,
    volatile: bool = False,
    **unknown: Never,
) -> None:
    """Send an event to the client whose event is being handled, to everybody, or to a room::

        @socketio.on("say")
        def say(text):
            emit("said", text, to="lobby")

    :param namespace: that of the event being handled by default.
    :param to: a room or sid, or a list of them; the client itself by default.
    :param broadcast: send to everybody in the namespace.
    :raises ContextError: if something was not given and no event is being handled.

    The other parameters are those of :meth:`SocketIO.emit`.
    """
    if unknown:
        refuse_unknown(EMIT.name, unknown, (*EMIT_KEYWORDS, "broadcast"))
    extension, space = _extension(EMIT), _namespace(EMIT, namespace)
    extension.emit(
        event,
        *args,
        namespace=space,
        to=_recipient(EMIT, to, room, broadcast=broadcast),
        include_self=include_self,
        skip_sid=skip_sid,
        exclude=exclude,
        callback=callback,
        timeout=timeout,
        on_timeout=on_timeout,
        local=local or ignore_queue,
        volatile=volatile,
    )


def send(
    message: Any,
    *,
    json: bool = False,
    namespace: str | None = None,
    to: Recipients = None,
    room: Recipients = None,
    broadcast: bool = False,
    include_self: bool = True,
    skip_sid: str | Iterable[str] | None = None,
    exclude: Recipients = None,
    callback: Callable[..., Any] | None = None,
    timeout: float | None = None,
    on_timeout: Callable[[CallError], Any] | None = None,
    local: bool = False,
    ignore_queue: bool = False,
    volatile: bool = False,
    **unknown: Never,
) -> None:
    """Send a message without a name: the event ``"message"``, or with ``json=True`` the event ``"json"``.

    The other parameters are those of :func:`emit`.
    """
    if unknown:
        refuse_unknown(SEND.name, unknown, (*EMIT_KEYWORDS, "broadcast", "json"))
    extension, space = _extension(SEND), _namespace(SEND, namespace)
    extension.send(
        message,
        json=json,
        namespace=space,
        to=_recipient(SEND, to, room, broadcast=broadcast),
        include_self=include_self,
        skip_sid=skip_sid,
        exclude=exclude,
        callback=callback,
        timeout=timeout,
        on_timeout=on_timeout,
        local=local or ignore_queue,
        volatile=volatile,
    )


def call(
    event: str,
    *args: Any,
    namespace: str | None = None,
    to: str | None = None,
    room: str | None = None,
    timeout: float | None = 60,
    local: bool = False,
    ignore_queue: bool = False,
    **unknown: Never,
) -> Any:
    """Send an event to one client, by default the one whose event is being handled, and return what it acknowledges.

    The parameters are those of :meth:`SocketIO.call`.

    :raises CallTimeout: if it does not acknowledge in time.
    :raises ClientGone: as soon as it leaves without.
    :raises ContextError: if something was not given and no event is being handled.
    """
    if unknown:
        refuse_unknown(CALL.name, unknown, CALL_KEYWORDS)
    extension, space = _extension(CALL), _namespace(CALL, namespace)
    target = _recipient(CALL, to, room, broadcast=False)
    return extension.call(
        event, *args, namespace=space, to=target, timeout=timeout, local=local or ignore_queue
    )


@overload
def join_room(
    room: Room, sid: str | None = ..., namespace: str | None = ..., *, rewind: int = ...
) -> None: ...
@overload
def join_room(
    room: Room, sid: str | None = ..., namespace: str | None = ..., *, rewind: int = ..., since: object
) -> Rewound: ...
def join_room(
    room: Room,
    sid: str | None = None,
    namespace: str | None = None,
    *,
    rewind: int = 0,
    since: object = _UNSAID,
) -> Rewound | None:
    """Put a client into a room. Where clients name rooms, put something before the name: ``f"room:{name}"``.

    :param sid: the client whose event is being handled by default.
    :param namespace: that of the event being handled by default.
    :param rewind: send the client so many of the events that were sent to the room last, before those that are sent
        from now on; the room needs a :meth:`history <flask_socketio_core.SocketIO.history>`. Nothing is sent to a
        client that is in the room already. In a coroutine: ``await asyncio.to_thread(join_room, room, rewind=20)``.
    :param since: an offset that the client was told before, or a list of it and the ids of events that it has had
        since: send what has followed instead, all of it, or, if it cannot be shown that nothing of it is missing, the
        last ``rewind`` events. ``None``, or whatever else a client gives, is no offset.
    :returns: with ``since``, the client's new offset and whether it has everything now; to a client that is in the room
        already, its offset at this moment.
    :raises ValueError: if the room is another client's sid, its name is too long, or the client is in too many rooms;
        with ``rewind`` or ``since``, if the room has no history, or the client is not connected to this server.
    :raises ContextError: if something was not given and no event is being handled.
    :raises RuntimeError: with ``rewind`` or ``since``, on the event loop of coroutines.
    """
    extension, sid, namespace = _client(JOIN_ROOM, sid, namespace)
    if since is not _UNSAID:
        return extension.server._resume(sid, room, namespace, rewind, since)
    if rewind:
        extension.server._rewind(sid, room, namespace, rewind)
    else:
        extension.server.enter_room(sid, room, namespace=namespace)
    return None


def leave_room(room: Room, sid: str | None = None, namespace: str | None = None) -> None:
    """Take a client out of a room; see :func:`join_room`."""
    extension, sid, namespace = _client(LEAVE_ROOM, sid, namespace)
    extension.server.leave_room(sid, room, namespace=namespace)


def close_room(room: Room, namespace: str | None = None) -> None:
    """Take everybody out of a room.

    :param namespace: that of the event being handled by default.
    :raises ValueError: if the room is a client's sid.
    :raises ContextError: if it was not given and no event is being handled.
    """
    extension, space = _extension(CLOSE_ROOM), _namespace(CLOSE_ROOM, namespace)
    extension.close_room(room, namespace=space)


def rooms(sid: str | None = None, namespace: str | None = None) -> list[Room]:
    """Return the rooms of a client, its own sid included; see :func:`join_room`."""
    extension, sid, namespace = _client(ROOMS, sid, namespace)
    return extension.server.rooms(sid, namespace=namespace)


def disconnect(
    sid: str | None = None,
    namespace: str | None = None,
    silent: bool = False,
    *,
    reason: str = Reason.KICKED,
) -> None:
    """Disconnect a client from a namespace; see :func:`join_room`.

    :param silent: has no effect, as in Flask-SocketIO.
    :param reason: what its disconnect handler is told, as for :meth:`SocketIO.kick`.
    :raises ValueError: for another reason.
    """
    extension, sid, namespace = _client(DISCONNECT, sid, namespace)
    extension.server.disconnect(sid, namespace=namespace, reason=reason)


def _client(helper: Helper, sid: str | None, namespace: str | None) -> tuple[SocketIO, str, str]:
    extension = _extension(helper)
    if sid is None:
        client = current_client()
        if client is None:
            need_context(helper.name, "sid", "pass sid= and namespace=")
        sid = client.sid
    return extension, sid, _namespace(helper, namespace)


def _extension(helper: Helper) -> SocketIO:
    call = current_call()
    extension: SocketIO | None = None if call is None else call.owner
    if extension is None and flask.has_app_context():
        extension = flask.current_app.extensions.get(EXTENSION)
    if extension is None:
        need_context(helper.name, "application", f"use the method of the same name, {helper.elsewhere}")
    return extension


def _namespace(helper: Helper, namespace: str | None) -> str:
    if namespace is not None:
        return full_namespace(namespace)
    client = current_client()
    if client is None:
        need_context(helper.name, "namespace", "pass namespace= (and the recipient)")
    return client.namespace


def _recipient(helper: Helper, to: Recipients, room: Recipients, *, broadcast: bool) -> Any:
    chosen = room if to is None else to
    if chosen is not None or broadcast:
        return chosen
    client = current_client()
    if client is None:
        need_context(helper.name, "recipient", f"pass to= or broadcast=True, or use {helper.elsewhere}")
    return client.sid
