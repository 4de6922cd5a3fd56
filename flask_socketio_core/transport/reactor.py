"""The reactor: every connection that is ours alone in one epoll set, such as detached WebSockets.

An async mode answers one question only: "call me when this set is readable". No greenlet, thread, timer or queue per
client. Three rules:

- nothing that happens to one connection reaches another, or the loop: errors end that connection only;
- the loop never blocks: no contended lock, no log handler, no user code;
- only the loop closes descriptors. Another task shuts a connection down, the loop sees its end and closes it. So a
  descriptor number cannot be used again while somebody still reads from the old connection; writers are kept out by
  the session's lock.

After a fork the child drops its copies without shutting anything down: the connections are the parent's.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from ..contracts.fork import register_at_fork

if TYPE_CHECKING:
    from ..contracts import AsyncMode, Handle

EPOLLIN = 0x001
EPOLLOUT = 0x004
MAX_EVENTS = 512
"""Most connections served before the loop's other work gets its turn."""


class Watched(Protocol):
    """What is in the set. All but :attr:`fd` is for the loop's task only."""

    what: str
    """What it is, for a message."""

    fd: int
    """Its descriptor; -1 when it was closed."""

    def on_readable(self) -> None:
        """Read once, or find out that the other end is gone."""

    def on_writable(self) -> None:
        """Write what waits."""

    def on_more(self) -> None:
        """Do what :meth:`Reactor.come_again` was called for."""

    def end(self) -> None:
        """End, because of an error or with the server, and close the descriptor."""

    def forget(self) -> None:
        """Close the descriptor and nothing else; in a forked child, what it leads to is the parent's."""


class Reactor:
    """The one epoll set of a server; made at the first connection, and anew after a fork.

    :param mode: tells when the set is readable.
    :param report: logs an unexpected error without blocking.
    """

    def __init__(self, mode: AsyncMode, report: Callable[[BaseException, str], None]) -> None:
        self._mode = mode
        self.report = report
        self._lock = mode.create_lock()
        self._poll: Any = None  # select.epoll, as the mode has it before patching
        self._bell = -1  # a descriptor in it that can always be written to, which wakes the loop
        self._again: deque[Watched] = deque()
        self._watch: Handle | None = None
        self._watched = False
        self._connections: dict[int, Watched] = {}
        self._others: set[int] = set()  # descriptors of what is no WebSocket
        register_at_fork(after_in_child=self.forget)

    def __len__(self) -> int:
        """Return how many WebSockets there are."""
        return len(self._connections) - len(self._others)

    @property
    def descriptors(self) -> int:
        """How many descriptors there are, whatever they are."""
        return len(self._connections)

    def add(self, connection: Watched, events: int, *, websocket: bool = False) -> None:
        """Serve a connection from now on; its lock is held if it has one. Call :meth:`watch` afterwards, without it.

        :param events: what to be told of, see :meth:`wait_for`.
        :param websocket: whether it counts as one.
        :raises OSError: if there is no descriptor left for the set.
        """
        with self._lock:
            if self._poll is None:
                self._open_poll()
            fd = connection.fd
            if fd < 0:
                return
            self._poll.register(fd, events)
            if not websocket:
                self._others.add(fd)
            self._connections[fd] = connection

    def _open_poll(self) -> None:
        bell = os.eventfd(0)
        try:
            poll = self._mode.original("select", "epoll")()
        except BaseException:
            os.close(bell)
            raise
        poll.register(bell, 0)
        self._bell, self._poll = bell, poll

    def watch(self) -> None:
        """Begin to serve, unless that was begun; no lock is held.

        :raises OSError: if that cannot be. All connections are closed then, for nobody would ever read from them.
        """
        with self._lock:
            poll = self._poll
            if self._watched or poll is None:
                return
            self._watched = True
        try:
            watch = self._mode.watch(poll.fileno(), self._drain)
        except BaseException:
            self.close()
            raise
        self._watch = watch
        if self._poll is not poll:  # the server has ended meanwhile
            watch.cancel()

    def wait_for(self, fd: int, events: int) -> None:
        """Be told of readability, of writability, or of both; the connection's lock is held.

        :param events: EPOLLIN, EPOLLOUT, both, or 0 for neither; the end of the connection is told in any case.
        """
        if self._poll is not None and fd in self._connections:
            self._poll.modify(fd, events)

    def come_again(self, connection: Watched) -> bool:
        """Have the loop take what it has read of a connection, whose lock is held; ``False`` if it does not know it."""
        if self._poll is None or connection.fd not in self._connections:
            return False
        self._again.append(connection)
        self._poll.modify(self._bell, EPOLLOUT)
        return True

    def remove(self, fd: int) -> None:
        """Forget a connection; its lock is held and its descriptor still open."""
        if self._connections.pop(fd, None) is not None:
            self._others.discard(fd)
            if self._poll is not None:
                self._poll.unregister(fd)

    def _drain(self) -> None:
        poll, connections = self._poll, self._connections
        if poll is None:
            return  # the server has ended as this turn began
        for fd, events in poll.poll(0, MAX_EVENTS):
            connection = connections.get(fd)
            if connection is None:
                if fd == self._bell:
                    self._take_more()
                continue
            try:
                if events & EPOLLOUT:
                    connection.on_writable()
                if events & ~EPOLLOUT:
                    connection.on_readable()
            except Exception as error:  # noqa: BLE001  # one connection's fault must not deafen the others
                self._fail(connection, error)

    def _take_more(self) -> None:
        with self._lock:
            if self._poll is None:
                return  # the server has ended meanwhile
            # Before anything is taken: what is added meanwhile sets it again.
            self._poll.modify(self._bell, 0)
        for _ in range(len(self._again)):
            try:
                connection = self._again.popleft()
            except IndexError:
                return  # likewise
            try:
                connection.on_more()
            except Exception as error:  # noqa: BLE001  # as above
                self._fail(connection, error)

    def _fail(self, connection: Watched, error: Exception) -> None:
        self.report(error, connection.what)
        connection.end()

    def close(self) -> None:
        """Close every connection and the set."""
        with self._lock:
            watch, self._watch = self._watch, None
            self._watched = False
        if watch is not None:
            watch.cancel()
        for connection in list(self._connections.values()):
            connection.end()
        with self._lock:
            poll, self._poll = self._poll, None
        self._close_poll(poll)

    def _close_poll(self, poll: Any) -> None:
        self._again.clear()
        if poll is not None:
            poll.close()
            os.close(self._bell)

    def forget(self) -> None:
        """Drop everything in a forked child: neither read, nor unregister, nor shut down (the parent does)."""
        connections, self._connections, self._others = self._connections, {}, set()
        poll, self._poll = self._poll, None
        watch, self._watch = self._watch, None
        self._watched = False
        self._lock = self._mode.create_lock()
        self._close_poll(poll)
        for connection in connections.values():
            connection.forget()
        if watch is not None:
            watch.cancel()
