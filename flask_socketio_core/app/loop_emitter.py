"""Emitting from the event loop where there is a message queue and tasks are greenlets: by workers, in order.

Publishing may wait for the broker, whose connection belongs to the hub's thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ..common.reasons import DisconnectReason, Reason
from ..server.mailbox import Mailbox

if TYPE_CHECKING:
    from ..contracts import AsyncMode
    from ..contracts.clients import Emission
    from ..server.interface import Emitter, Group, LocalServer


class LoopEmitter:
    """Hands everything to another emitter. Its errors are logged, by the worker, instead of raised.

    :param emitter: reaches all clients.
    :param server: has those of this process, which enter and leave rooms at once unless something is to be sent before.
    :param mode: has the workers.
    """

    def __init__(self, emitter: Emitter, server: LocalServer | None, mode: AsyncMode) -> None:
        self._emitter = emitter
        self._server = server
        self._jobs = Mailbox(mode.spawn, mode.create_lock())
        self.put = self._jobs.put

    def emit(self, emission: Emission) -> None:
        """Send an event to clients soon."""
        self.put(partial(self._emitter.emit, emission))

    def enter_room(self, sid: str, room: str, namespace: str = "/") -> None:
        """Put a client into a room, or soon."""
        if (server := self._at_once(sid, namespace)) is not None:
            server.enter_room(sid, room, namespace)
            return
        self.put(partial(self._emitter.enter_room, sid, room, namespace))

    def leave_room(self, sid: str, room: str, namespace: str = "/") -> None:
        """Take a client out of a room, or soon."""
        if (server := self._at_once(sid, namespace)) is not None:
            server.leave_room(sid, room, namespace)
            return
        self.put(partial(self._emitter.leave_room, sid, room, namespace))

    def close_room(self, room: str, namespace: str = "/") -> None:
        """Take every client out of a room soon."""
        self.put(partial(self._emitter.close_room, room, namespace))

    def disconnect(self, sid: str, namespace: str = "/", reason: DisconnectReason = Reason.KICKED) -> None:
        """Disconnect a client soon."""
        self.put(partial(self._emitter.disconnect, sid, namespace, reason))

    def move(self, group: Group, enter: Sequence[Any], leave: Sequence[Any]) -> None:
        """Move clients between rooms soon."""
        self.put(partial(self._emitter.move, group, enter, leave))

    def kick(self, group: Group, reason: DisconnectReason, *, close: bool) -> None:
        """Disconnect clients soon."""
        self.put(partial(self._emitter.kick, group, reason, close=close))

    def _at_once(self, sid: str, namespace: str) -> LocalServer | None:
        server = self._server
        return (
            server
            if server is not None and not self._jobs.busy and server.is_connected(sid, namespace)
            else None
        )
