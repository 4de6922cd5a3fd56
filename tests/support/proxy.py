"""A TCP relay between a program under test and a broker, which can cut what runs through it and let nothing through."""

from __future__ import annotations

import random
import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_SIZE = 65536


class Proxy:
    """Relay connections to a loopback port, in one thread.

    :param target: the port of loopback to connect to.
    :param port: the port to listen on; 0 for any free one.
    """

    def __init__(self, target: int, port: int = 0) -> None:
        self.target = target
        self._listener = socket.create_server(("127.0.0.1", port), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self.others: list[int] = []
        """Ports to connect to instead, one of them by chance."""
        self.connections = 0
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._forgotten: list[socket.socket] = []
        self._lock = threading.Lock()
        self._refusing = False
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._closed = False
        self._thread = threading.Thread(target=self._run, daemon=True, name="proxy")
        self._thread.start()

    def cut(self, share: float = 1.0) -> int:
        """Reset all connections, as a router that forgot them does; return how many there were.

        :param share: which part of them, by chance.
        """
        with self._lock:
            ends = [end for end in self._pairs if share == 1.0 or random.random() < share / 2]  # each has two
            before = len(self._pairs)
            for end in ends:
                self._drop(end)
            return (before - len(self._pairs)) // 2

    def forget(self) -> int:
        """Let nothing more through all connections, which stay open, as a firewall that forgot them does.

        New ones pass. Returns how many there were.
        """
        with self._lock:
            ends = list(self._pairs)
            for end in ends:
                self._selector.unregister(end)
            self._forgotten += ends
            self._pairs.clear()
        return len(ends) // 2

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Cut all connections and let none through for the length of a ``with`` block."""
        self._refusing = True
        self.cut()
        try:
            yield
        finally:
            self._refusing = False

    def close(self) -> None:
        """Cut everything and stop listening."""
        self._closed = True
        self._thread.join(5)
        self.cut()
        for end in self._forgotten:
            _reset(end)
        self._selector.close()
        self._listener.close()

    def _run(self) -> None:
        while not self._closed:
            for key, _ in self._selector.select(0.05):
                with self._lock:
                    if key.fileobj is self._listener:
                        self._accept()
                    elif isinstance(key.fileobj, socket.socket):
                        self._relay(key.fileobj)

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        self.connections += 1
        try:
            if self._refusing:
                raise ConnectionRefusedError
            far = socket.create_connection(
                ("127.0.0.1", random.choice(self.others or [self.target])), timeout=2
            )
        except OSError:
            _reset(near)
            return
        for end, other in ((near, far), (far, near)):
            end.settimeout(10)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._pairs[end] = other
            self._selector.register(end, selectors.EVENT_READ)

    def _relay(self, end: socket.socket) -> None:
        if end not in self._pairs:  # dropped since the selector saw it
            return
        try:
            data = end.recv(_SIZE)
            if data:
                self._pairs[end].sendall(data)
                return
        except OSError:
            pass
        self._drop(end)

    def _drop(self, end: socket.socket) -> None:
        other = self._pairs.pop(end, None)
        if other is None:
            return
        del self._pairs[other]
        for one in (end, other):
            self._selector.unregister(one)
            _reset(one)


def _reset(end: socket.socket) -> None:
    """Close with a reset, which also throws away what is on its way."""
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    end.close()
