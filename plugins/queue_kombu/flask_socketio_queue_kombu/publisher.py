"""The connection that publishes: shared by all tasks, one after the other, and replaced when it is lost."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from flask_socketio_core.errors import QueueClosed, QueueUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask_socketio_core.contracts import AsyncMode

    from .connections import Connections


class Publisher:
    """One connection, made when it is first needed.

    :param name: what the queue is called.
    :param prepare: declares on a new connection what there has to be, and returns what messages are sent on.
    :param on_drop: called when the connection is left; returns whether messages on their way were lost with it.
    """

    def __init__(
        self,
        name: str,
        mode: AsyncMode,
        connections: Connections,
        *,
        prepare: Callable[[Any], Any],
        on_drop: Callable[[], bool] = lambda: False,
    ) -> None:
        self._name = name
        self._connections = connections
        self._prepare = prepare
        self._on_drop = on_drop
        self._timeout_s = connections.timeout_s
        self.lock = mode.create_yielding_lock()
        """Held while the connection is used."""
        self.connection: Any = None
        self.sender: Any = None
        """What messages are sent on; ``None`` without a connection."""
        self.closed = False

    def check_open(self) -> None:
        """Refuse to be used after the end.

        :raises QueueClosed: after :meth:`close`.
        """
        if self.closed:
            raise QueueClosed(f"the {self._name} message queue was closed")

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Have the connection for oneself.

        :raises QueueClosed: after :meth:`close`.
        :raises QueueUnavailable: if others have it for too long.
        """
        self.check_open()
        if not self.lock.acquire(timeout=2 * self._timeout_s):
            raise QueueUnavailable("other publishers have not finished with the broker in time")
        try:
            self.check_open()
            yield
        finally:
            if self.closed:
                self.drop()
            self.lock.release()

    def connected(self) -> Any:
        """Return what messages are sent on, on a new connection if there is none."""
        if self.sender is None:
            self.connection = self._connections.open()
            self.sender = self._prepare(self.connection)
        return self.sender

    def ping(self, declare: Callable[[Any], object]) -> None:
        """Have the broker answer, in our turn but on a connection of its own.

        :param declare: declares on that connection what there has to be.
        :raises QueueClosed: after :meth:`close`.
        :raises QueueUnavailable: if the broker does not answer.
        """

        def round_trip() -> None:
            with self._connections.open() as connection:
                declare(connection)

        with self.turn():
            self.attempt(round_trip)

    def attempt(self, action: Callable[[], object]) -> None:
        """Do something on the connection, again on a new one if the old one had died unnoticed.

        Not again if messages were lost with the old one, which have to be sent first.

        :raises QueueUnavailable: if that fails.
        """
        was_open = self.connection is not None
        try:
            with self._connections.our_errors:
                action()
            return
        except QueueUnavailable as error:
            lost = self.drop()
            if lost or not was_open or isinstance(error.__cause__, socket.timeout):
                raise
        except BaseException:  # a greenlet's Timeout, Ctrl-C: half a frame may have been written
            self.drop()
            raise
        try:
            with self._connections.our_errors:
                action()
        except BaseException:
            self.drop()
            raise

    def leave(self) -> None:
        """Leave the connection, without the closing handshake, which would wait for a broker that is away."""
        connection, self.connection, self.sender = self.connection, None, None
        if connection is not None:
            connection.collect()

    def drop(self) -> bool:
        """Leave the connection; return whether messages on their way were lost with it."""
        self.leave()
        return self._on_drop()

    def close(self) -> None:
        """Leave the connection for good; a task that has it drops it when it is done."""
        if self.closed:
            return
        self.closed = True
        if self.lock.acquire(timeout=self._timeout_s):
            self.drop()
            self.lock.release()
