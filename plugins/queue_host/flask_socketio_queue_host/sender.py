"""What a process sends to all who listen: who they are, and the task that writes what they did not take at once."""

from __future__ import annotations

import _socket
import logging
import os
import selectors
import time
from collections.abc import Collection
from typing import TYPE_CHECKING

from flask_socketio_core import queues
from flask_socketio_core.contracts.fork import register_at_fork
from flask_socketio_core.contracts.host.directory import Listing, remove_socket
from flask_socketio_core.contracts.host.unix import close_copy, shut_down
from flask_socketio_core.errors import QueueClosed

from .peer import Peer

if TYPE_CHECKING:
    from flask_socketio_core.contracts import AsyncMode
    from flask_socketio_core.contracts.host.directory import SocketDirectory

_logger = logging.getLogger(__name__)

#: Seconds without progress after which a peer that has much to read is not waited for any more.
STALLED_S = 1.0
#: Seconds for which such a wait looks away.
LOOK_S = 0.05
#: Seconds for which the writing task stays when there is nothing to write.
LINGER_S = 1.0
#: Seconds between two attempts to connect to a peer whose backlog is full.
CONNECT_S = 0.05


class Sender:
    """Send messages to all listeners of a directory, in order; thread-safe.

    A message goes to whoever was listening when :meth:`send` began: the directory is looked at before each message,
    which takes one ``stat``, and read when it has changed.

    :param limit_bytes: most bytes that wait for one peer.
    :param timeout_s: seconds that one message may wait for peers that are slow and not stalled.
    """

    def __init__(
        self, directory: SocketDirectory, mode: AsyncMode, *, limit_bytes: int, timeout_s: float
    ) -> None:
        self._listing = Listing(directory)
        self._mode = mode
        self._limit_bytes = limit_bytes
        self._timeout_s = timeout_s
        self._lock = mode.create_lock()
        self._peers: dict[str, Peer] = {}
        self._addressed: dict[str, dict[str, Peer]] = {}  # the same by their addresses
        self._refused: set[str] = set()  # paths of sockets that are not ours to send to
        self._said: list[tuple[int, str]] = []  # is logged when the lock is free: a handler may wait
        self._progress = mode.create_event()
        self._writing = False  # there is a task that writes
        self._to_close: list[_socket.socket] = []  # closed by that task, which may be looking at them
        self._wake: tuple[_socket.socket, _socket.socket] | None = None
        self._selector: selectors.BaseSelector | None = None
        self._watched: set[_socket.socket] = set()
        self._idle = False
        self._closed = False
        register_at_fork(after_in_child=self._drop)

    def send(self, frame: bytes, skip: Collection[str] = (), address: str = "") -> None:
        """Send a message to everyone; wait for a moment if there is much that somebody has not read yet.

        :param skip: paths of the sockets of those who do not get it.
        :param address: of the only ones who get it, if anybody is known to have it; empty for all.
        :raises QueueClosed: after :meth:`close`.
        :raises OSError: if there is no directory that can be used.
        """
        with self._lock:
            self._check_open()
            self._look()
            waiting = self._send_to_each(frame, skip, address)
            starts = bool(waiting) and not self._have_written(waiting)
            crowded = bool(waiting) and any(self._is_crowded(peer) for peer in waiting)
        if self._said:
            self._say()
        if starts:
            self._start_writing()
        if crowded:
            self._wait_for_room()

    def knows(self, address: str) -> bool:
        """Return whether somebody with an address was there when a message was sent last."""
        return address in self._addressed

    def look(self) -> None:
        """Find the directory and who is in it; raises what :meth:`send` raises."""
        with self._lock:
            self._check_open()
            self._look()
        self._say()

    def flush(self, timeout_s: float) -> int:
        """Wait until the peers have taken what waits for them, those that are stalled excepted.

        :returns: messages that somebody has not taken.
        """
        until = time.monotonic() + timeout_s
        while True:
            with self._lock:
                waiting = self._drain(self._waiting())
                left = max((len(peer.pending) for peer in waiting), default=0)
                since = max((peer.progress_at for peer in waiting), default=0.0)
            self._say()
            now = time.monotonic()
            if not left or now >= until or now - since > STALLED_S:
                return left
            self._progress.clear()
            self._progress.wait(min(LOOK_S, until - now))

    def close(self) -> None:
        """Leave all peers; what waits for them is lost."""
        with self._lock:
            self._closed = True
            for peer in self._peers.values():
                peer.close()
            self._peers.clear()
            self._addressed.clear()
            self._wake_up()
        self._progress.set()

    # --------------------------------------------------------------------------------------- who listens

    def _check_open(self) -> None:
        if self._closed:
            raise QueueClosed("the host's message queue was closed")

    def _look(self) -> list[Peer]:
        """Take note of who has come since the last time, and return these.

        Those who leave are noticed by their sockets: a directory that was cleared has not ended anybody.
        """
        names = self._listing.look()
        if not names:
            return []
        paths = [os.path.join(self._listing.path, name) for name in names]
        try:
            return [peer for path in paths for peer in self._meet(path)]
        except BaseException:
            self._listing.forget()  # those who were not met are, before the next message
            raise

    def _meet(self, path: str) -> list[Peer]:
        """Return the listener of a socket, if it is a new one; remove a socket that a dead one has left."""
        if path in self._peers or path in self._refused:
            return []
        peer = Peer(path, self._limit_bytes, close_later=self._close_later, tell=self._tell)
        try:
            peer.connect()
        except ConnectionRefusedError:
            remove_socket(path)
            return []
        except PermissionError as error:
            self._refused.add(path)
            self._tell(logging.ERROR, f"not sent to: {error}")
            return []
        except FileNotFoundError:
            return []  # it has just left
        self._peers[path] = peer
        self._addressed.setdefault(_address_of(path), {})[path] = peer
        return [peer]

    def _forget(self, path: str) -> None:
        self._peers.pop(path).close()
        same = self._addressed[_address_of(path)]
        del same[path]
        if not same:
            del self._addressed[_address_of(path)]
        self._listing.forget()

    # ------------------------------------------------------------------------------------------- sending

    def _send_to_each(self, frame: bytes, skip: Collection[str], address: str) -> list[Peer]:
        """Send to each peer, or to those with an address if any is left; return those that have something waiting."""
        some = self._addressed.get(address)
        peers, waiting, is_gone = list((some or self._peers).items()), [], False
        for path, peer in peers:
            if path in skip:
                continue
            try:
                peer.send(frame)
            except OSError:
                self._forget(path)
                is_gone = True
            if peer.pending:
                waiting.append(peer)
        if is_gone:
            for peer in self._look():  # who has turned a connection away may listen on another one
                if some is None or _address_of(peer.path) == address:
                    try:
                        peer.send(frame)
                    except OSError:
                        self._listing.forget()  # found again, and asked, before the next message
                if peer.pending:
                    waiting.append(peer)
            if some is not None and address not in self._addressed:
                return self._send_to_each(frame, skip, "")
        return waiting

    def _is_crowded(self, peer: Peer) -> bool:
        return 2 * peer.pending_bytes > self._limit_bytes and not peer.stalled

    def _wait_for_room(self) -> None:
        """Wait for peers that have much to read, as long as they read."""
        until = time.monotonic() + self._timeout_s
        while True:
            self._progress.clear()
            with self._lock:
                crowded = [peer for peer in self._peers.values() if self._is_crowded(peer)]
            if not crowded or time.monotonic() >= until:
                return
            self._progress.wait(LOOK_S)
            now = time.monotonic()
            for peer in crowded:  # after they had a moment: here, it may be we who gave them none
                peer.stalled = now - peer.progress_at > STALLED_S

    def _waiting(self) -> list[Peer]:
        return [peer for peer in self._peers.values() if peer.pending]

    def _drain(self, peers: list[Peer]) -> list[Peer]:
        """Write to peers, and return those for whom something is left."""
        gone = []
        for peer in peers:
            try:
                peer.drain()
            except OSError:
                gone += [path for path, other in self._peers.items() if other is peer]
        for path in gone:
            self._forget(path)
        return [peer for peer in peers if peer.pending]

    # ------------------------------------------------------------------------------------- the task that writes

    def _have_written(self, waiting: list[Peer]) -> bool:
        """Tell the task that writes of peers that it does not look at; return whether there is such a task."""
        if self._writing:
            if any(peer.sock not in self._watched for peer in waiting):
                self._wake_up()
            return True
        self._writing = True
        self._wake = _socketpair()
        return False

    def _start_writing(self) -> None:
        try:
            self._mode.start_task(self._write)
        except RuntimeError:  # no thread can be started at an interpreter's very end: flush() writes
            with self._lock:
                self._end_writing()

    def _wake_up(self) -> None:
        if self._wake is not None:
            try:
                self._wake[1].send(b"\0")
            except BlockingIOError:
                pass  # it has not woken up since

    def _write(self) -> None:
        """Write what waits, until there has been nothing for a while."""
        try:
            with self._lock:
                if self._wake is not None:  # a green selector belongs to the thread that makes it: this one
                    self._selector = selectors.DefaultSelector()
                    self._selector.register(self._wake[0], selectors.EVENT_READ)
            while self._write_once():
                pass
        except BaseException:
            with self._lock:
                self._end_writing()
            raise

    def _write_once(self) -> bool:
        """Write what can be written, and wait until more can; return whether to go on."""
        with self._lock:
            waiting = self._drain(self._waiting())
            over = self._closed or (self._idle and not waiting)
            self._watch(set() if over else {peer.sock for peer in waiting if peer.sock is not None})
            if over:
                self._end_writing()
            watched = len(self._watched)
        self._progress.set()
        self._say()
        if over:
            return False
        self._idle = not self._ready(LINGER_S if watched == len(waiting) else CONNECT_S) and not waiting
        return True

    def _watch(self, wanted: set[_socket.socket]) -> None:
        """Look at these sockets from now on, and close those that are to be closed."""
        selector = self._selector
        if selector is None:
            return
        for sock in self._watched - wanted:
            selector.unregister(sock)
        for sock in wanted - self._watched:
            selector.register(sock, selectors.EVENT_WRITE)
        self._watched = wanted
        for sock in self._to_close:
            sock.close()
        self._to_close.clear()

    def _ready(self, timeout_s: float) -> bool:
        """Wait until there is something to do; return whether there is."""
        selector, wake = self._selector, self._wake
        if selector is None or wake is None:
            return True
        if not self._mode.is_patched("select"):  # in a process that only sends: let the others run
            self._mode.sleep(LOOK_S)
            timeout_s = 0
        found = bool(selector.select(timeout_s))
        try:
            wake[0].recv(4096)
        except BlockingIOError:
            pass
        return found

    def _end_writing(self) -> None:
        self._writing = self._idle = False
        selector, self._selector = self._selector, None
        wake, self._wake = self._wake, None
        if selector is not None:
            selector.close()
        for sock in (*self._to_close, *(wake or ())):
            sock.close()
        self._watched = set()
        self._to_close.clear()

    def _close_later(self, sock: _socket.socket) -> None:
        """Close a socket; the other end sees that now, also if the task that writes has to do it."""
        shut_down(sock)
        if self._writing:
            self._to_close.append(sock)
        else:
            sock.close()

    # -------------------------------------------------------------------------------------------------------

    def _tell(self, level: int, text: str) -> None:
        self._said.append((level, text))

    def _say(self) -> None:
        if self._said:
            with self._lock:
                said, self._said = self._said, []
            for level, text in said:
                _logger.log(level, "%s", text)

    def _drop(self) -> None:
        """Close the copies of a forked child, which would keep others from seeing the end of this process."""
        self._closed = True
        for sock in (*(peer.sock for peer in self._peers.values()), *self._to_close, *(self._wake or ())):
            if sock is not None:
                sock.close()
        close_copy(self._selector)


def _address_of(path: str) -> str:
    return os.path.basename(path)[: queues.ADDRESS_DIGITS]


def _socketpair() -> tuple[_socket.socket, _socket.socket]:
    pair = _socket.socketpair()
    for sock in pair:
        sock.setblocking(False)
    return pair
