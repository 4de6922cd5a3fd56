"""Class-based namespaces."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from ..common.reasons import Reason
from ..common.values import full_namespace
from ..errors import EventRejected, refusals
from .dispatch import current_client, invoke
from .handlers import ANY, RESERVED, NamespaceBase, ReservedCall

if TYPE_CHECKING:
    from ..common.keywords import Recipients, Room
    from ..errors import CallError
    from .extension import SocketIO
    from .facade import ServerFacade


_reserved_call = functools.lru_cache(maxsize=1024)(ReservedCall)


class Namespace(NamespaceBase):
    """Handlers of one namespace as methods::

        class Chat(Namespace):
            def on_connect(self, auth):
                ...

            def on_say(self, text):
                self.emit("said", text)

        socketio.on_namespace(Chat("/chat"))

    An event goes to the method that is called like it, with ``on_`` before. An event without a method is ignored. A
    method ``error(exception)``, if there is one, handles what the other methods raise and no ``on_error`` handler
    takes; its result is the acknowledgement.

    :param namespace: the namespace; ``"*"`` for all that nothing else handles.
    """

    socketio: SocketIO
    """The object it was registered with."""

    def __init__(self, namespace: str | None = None) -> None:
        self.namespace = full_namespace(namespace)

    def _set_socketio(self, socketio: SocketIO) -> None:
        """Learn with which object it was registered; some applications override it."""
        self.socketio = socketio

    @property
    def server(self) -> ServerFacade:
        """The same as ``socketio.server``."""
        return self.socketio.server

    def trigger_event(self, event: str, *args: Any) -> Any:
        """Hand an event to its method. Override it for a dispatch of your own.

        Runs in the client's Flask context.

        :param args: the client's sid, then the event's arguments; a class for ``"*"`` gets the namespace before both.
            For ``connect`` these are the environ and the auth, for ``disconnect`` it is the reason.
        """
        method = getattr(self, f"on_{event or ''}", None)
        if method is None:
            return None
        given = args[2 if self.namespace == ANY else 1 :]
        if event == "connect":
            given = given[1:]
        if event in RESERVED:
            method = _reserved_call(method)
        try:
            answer = invoke(method, given)
        except EventRejected:
            raise
        except refusals():
            raise
        except Exception as error:
            handle = getattr(self, "error", None)
            if handle is None:
                raise
            return handle(error)
        if answer.__class__ is CoroutineType and hasattr(self, "error"):
            return self._await(answer)
        return answer

    async def _await(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Await a method; what it raises goes to ``error``."""
        from .event_loop import call_either

        try:
            return await coroutine
        except EventRejected:
            raise
        except refusals():
            raise
        except Exception as error:  # noqa: BLE001  # as above
            return await call_either(self.error, error)  # type: ignore[attr-defined]  # an application's class has it

    def emit(
        self,
        event: str,
        data: Any = None,
        room: Recipients = None,
        include_self: bool = True,
        namespace: str | None = None,
        callback: Callable[..., Any] | None = None,
        *,
        to: Recipients = None,
        skip_sid: str | list[str] | None = None,
        exclude: Recipients = None,
        timeout: float | None = None,
        on_timeout: Callable[[CallError], Any] | None = None,
        local: bool = False,
        ignore_queue: bool = False,
        volatile: bool = False,
    ) -> None:
        """Send an event to everybody in this namespace, or in a room; see :meth:`SocketIO.emit`."""
        self.socketio.emit(
            event,
            data,
            namespace=self._or_mine(namespace),
            to=to,
            room=room,
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
        self,
        data: Any,
        room: Recipients = None,
        include_self: bool = True,
        namespace: str | None = None,
        callback: Callable[..., Any] | None = None,
        *,
        to: Recipients = None,
        skip_sid: str | list[str] | None = None,
        json: bool = False,
        exclude: Recipients = None,
        timeout: float | None = None,
        on_timeout: Callable[[CallError], Any] | None = None,
        local: bool = False,
        ignore_queue: bool = False,
        volatile: bool = False,
    ) -> None:
        """Send a message to everybody in this namespace, or in a room; see :meth:`SocketIO.send`."""
        self.socketio.send(
            data,
            json=json,
            namespace=self._or_mine(namespace),
            to=to,
            room=room,
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
        self,
        event: str,
        data: Any = None,
        to: str | None = None,
        sid: str | None = None,
        namespace: str | None = None,
        timeout: float | None = 60,
        ignore_queue: bool = False,
    ) -> Any:
        """Send an event to one client and return what it acknowledges; see :meth:`SocketIO.call`."""
        return self.server.call(
            event,
            data,
            to=to,
            sid=sid,
            namespace=self._or_mine(namespace),
            timeout=timeout,
            ignore_queue=ignore_queue,
        )

    async def call_async(
        self,
        event: str,
        data: Any = None,
        to: str | None = None,
        sid: str | None = None,
        namespace: str | None = None,
        timeout: float | None = 60,
        ignore_queue: bool = False,
    ) -> Any:
        """As :meth:`call`, in a coroutine; see :meth:`SocketIO.call_async`."""
        return await self.socketio.call_async(
            event,
            data,
            namespace=self._or_mine(namespace),
            to=to if to is not None else sid,
            timeout=timeout,
            ignore_queue=ignore_queue,
        )

    def close_room(self, room: Room, namespace: str | None = None) -> None:
        """Take everybody out of a room."""
        self.socketio.close_room(room, namespace=self._or_mine(namespace))

    def enter_room(self, sid: str, room: Room, namespace: str | None = None) -> None:
        """Put a client into a room."""
        self.server.enter_room(sid, room, namespace=self._or_mine(namespace))

    def leave_room(self, sid: str, room: Room, namespace: str | None = None) -> None:
        """Take a client out of a room."""
        self.server.leave_room(sid, room, namespace=self._or_mine(namespace))

    def rooms(self, sid: str, namespace: str | None = None) -> list[Room]:
        """Return the rooms of a client, its own sid included."""
        return self.server.rooms(sid, namespace=self._or_mine(namespace))

    def get_session(self, sid: str, namespace: str | None = None) -> dict[str, Any]:
        """Return python-socketio's session of a client, which is not Flask's."""
        return self.server.get_session(sid, namespace=self._or_mine(namespace))

    def save_session(self, sid: str, session: dict[str, Any], namespace: str | None = None) -> None:
        """Replace python-socketio's session of a client."""
        self.server.save_session(sid, session, namespace=self._or_mine(namespace))

    def session(self, sid: str, namespace: str | None = None) -> AbstractContextManager[dict[str, Any]]:
        """Return python-socketio's session of a client as a context manager that saves it."""
        return self.server.session(sid, namespace=self._or_mine(namespace))

    def disconnect(self, sid: str, namespace: str | None = None, *, reason: str = Reason.KICKED) -> None:
        """Disconnect a client from this namespace; see :func:`~flask_socketio_core.disconnect`."""
        self.server.disconnect(sid, namespace=self._or_mine(namespace), reason=reason)

    def _or_mine(self, namespace: str | None) -> str:
        if namespace:
            return namespace
        if self.namespace != ANY:
            return self.namespace
        client = current_client()
        return client.namespace if client is not None else "/"
