"""``emit()``, ``send()``, ``join_room()`` and so on: what is not given is taken from the client being handled.

With the namespace and the recipient given they also work in a plain view. Of several ``SocketIO`` objects, the one
whose handler is running is used; in a view, the one that was initialised last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import flask

from ..common.reasons import DisconnectReason, Reason
from ..common.values import full_namespace
from .addressing import EMIT_KEYWORDS, need_context, refuse_unknown
from .dispatch import current_call, current_client
from .extension import EXTENSION

if TYPE_CHECKING:
    from typing_extensions import Never

    from ..common.keywords import Recipients, Room
    from .extension import SocketIO


def emit(
    event: str,
    *args: Any,
    namespace: str | None = None,
    to: Recipients = None,
    room: Recipients = None,
    broadcast: bool = False,
    include_self: bool = True,
    skip_sid: str | Iterable[str] | None = None,
    callback: Callable[..., Any] | None = None,
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
        refuse_unknown("emit()", unknown, (*EMIT_KEYWORDS, "broadcast"))
    extension, space = _extension("emit()"), _namespace("emit()", namespace)
    extension.emit(
        event,
        *args,
        namespace=space,
        to=_recipient("emit()", to, room, broadcast=broadcast),
        include_self=include_self,
        skip_sid=skip_sid,
        callback=callback,
        ignore_queue=ignore_queue,
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
    callback: Callable[..., Any] | None = None,
    ignore_queue: bool = False,
    volatile: bool = False,
    **unknown: Never,
) -> None:
    """Send a message without a name: the event ``"message"``, or with ``json=True`` the event ``"json"``.

    The other parameters are those of :func:`emit`.
    """
    if unknown:
        refuse_unknown("send()", unknown, (*EMIT_KEYWORDS, "broadcast", "json"))
    extension, space = _extension("send()"), _namespace("send()", namespace)
    extension.send(
        message,
        json=json,
        namespace=space,
        to=_recipient("send()", to, room, broadcast=broadcast),
        include_self=include_self,
        skip_sid=skip_sid,
        callback=callback,
        ignore_queue=ignore_queue,
        volatile=volatile,
    )


def call(
    event: str,
    *args: Any,
    namespace: str | None = None,
    to: str | None = None,
    room: str | None = None,
    timeout: float | None = 60,
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
        refuse_unknown("call()", unknown, ("namespace", "to", "room", "timeout", "ignore_queue"))
    extension, space = _extension("call()"), _namespace("call()", namespace)
    target = _recipient("call()", to, room, broadcast=False)
    return extension.call(
        event, *args, namespace=space, to=target, timeout=timeout, ignore_queue=ignore_queue
    )


def join_room(room: Room, sid: str | None = None, namespace: str | None = None) -> None:
    """Put a client into a room. Where clients name rooms, put something before the name: ``f"room:{name}"``.

    :param sid: the client whose event is being handled by default.
    :param namespace: that of the event being handled by default.
    :raises ValueError: if the room is another client's sid, its name is too long, or the client is in too many rooms.
    :raises ContextError: if something was not given and no event is being handled.
    """
    extension, sid, namespace = _client("join_room()", sid, namespace)
    extension.server.enter_room(sid, room, namespace=namespace)


def leave_room(room: Room, sid: str | None = None, namespace: str | None = None) -> None:
    """Take a client out of a room; see :func:`join_room`."""
    extension, sid, namespace = _client("leave_room()", sid, namespace)
    extension.server.leave_room(sid, room, namespace=namespace)


def close_room(room: Room, namespace: str | None = None) -> None:
    """Take everybody out of a room.

    :param namespace: that of the event being handled by default.
    :raises ValueError: if the room is a client's sid.
    :raises ContextError: if it was not given and no event is being handled.
    """
    extension, space = _extension("close_room()"), _namespace("close_room()", namespace)
    extension.close_room(room, namespace=space)


def rooms(sid: str | None = None, namespace: str | None = None) -> list[Room]:
    """Return the rooms of a client, its own sid included; see :func:`join_room`."""
    extension, sid, namespace = _client("rooms()", sid, namespace)
    return extension.server.rooms(sid, namespace=namespace)


def disconnect(
    sid: str | None = None,
    namespace: str | None = None,
    silent: bool = False,
    *,
    reason: DisconnectReason = Reason.KICKED,
) -> None:
    """Disconnect a client from a namespace; see :func:`join_room`.

    :param silent: has no effect, as in Flask-SocketIO.
    :param reason: what its disconnect handler is told: ``SocketIO.reason.KICKED``, ``REPLACED`` or ``EXPIRED``.
    :raises ValueError: for another reason.
    """
    extension, sid, namespace = _client("disconnect()", sid, namespace)
    extension.server.disconnect(sid, namespace=namespace, reason=reason)


def _client(function: str, sid: str | None, namespace: str | None) -> tuple[SocketIO, str, str]:
    extension = _extension(function)
    if sid is None:
        client = current_client()
        if client is None:
            need_context(function, "sid", "pass sid= and namespace=")
        sid = client.sid
    return extension, sid, _namespace(function, namespace)


def _extension(function: str) -> SocketIO:
    call = current_call()
    extension: SocketIO | None = None if call is None else call.owner
    if extension is None and flask.has_app_context():
        extension = flask.current_app.extensions.get(EXTENSION)
    if extension is None:
        need_context(
            function, "application", f"use the method of the same name, socketio.{_method(function)}"
        )
    return extension


def _method(function: str) -> str:
    name = {
        "join_room()": "server.enter_room",
        "leave_room()": "server.leave_room",
        "rooms()": "server.rooms",
    }
    name["disconnect()"] = "server.disconnect"
    return name.get(function, function.removesuffix("()")) + "()"


def _namespace(function: str, namespace: str | None) -> str:
    if namespace is not None:
        return full_namespace(namespace)
    client = current_client()
    if client is None:
        need_context(function, "namespace", "pass namespace= (and the recipient)")
    return client.namespace


def _recipient(function: str, to: Recipients, room: Recipients, *, broadcast: bool) -> Any:
    chosen = room if to is None else to
    if chosen is not None or broadcast:
        return chosen
    client = current_client()
    if client is None:
        need_context(
            function, "recipient", f"pass to= or broadcast=True, or use socketio.{_method(function)}"
        )
    return client.sid
