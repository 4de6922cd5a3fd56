"""The queue: SUB, PUB and PING in lines of text, as NATS speaks. ``pigeon://:password@host:4222``."""

from __future__ import annotations

import socket
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from flask_socketio_core import queues
from flask_socketio_core.contracts import MessageQueue, QueueCapabilities
from flask_socketio_core.errors import QueueClosed
from flask_socketio_core.queues import Setting

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flask_socketio_core.contracts import AsyncMode

MAX_BYTES = 4 * 1024 * 1024
TICK_S = 0.5
SETTINGS = (
    Setting("timeout_s", float, 2.0, "seconds the broker may take to answer", above=0),
    Setting("password", str, None, "password, when it is not in the URL"),
)


class PigeonQueue(MessageQueue):
    """One connection publishes, each listener has another one."""

    # The library blocks in `socket`: under a green mode that has to be patched, which is the default of needs_patched.
    capabilities: ClassVar[QueueCapabilities] = QueueCapabilities(ordered=True, max_message_bytes=MAX_BYTES)

    def __init__(self, url: str, channel: str, *, mode: AsyncMode, options: Mapping[str, Any]) -> None:
        super().__init__(url, channel, mode=mode, options=options)
        parsed = queues.parse(url)
        settings = queues.read(SETTINGS, options, parsed.query, where="pigeon")
        self._address = parsed.host(("localhost", 4222))
        self._password = settings["password"] or parsed.password
        self._timeout_s: float = settings["timeout_s"]
        self._closed = False
        self._listening: set[_Connection] = set()
        self._publisher: _Connection | None = None
        self._turn = mode.create_yielding_lock()  # for as long as the broker takes

    def publish(self, message: bytes, *, key: str = "") -> None:
        queues.check_size(message, MAX_BYTES, "pigeon")
        self._ask(b"PUB %s %d\r\n%s\r\n" % (self.channel.encode(), len(message), message))

    def ping(self) -> None:
        self._ask(b"")

    def listen(self) -> Iterator[bytes]:
        with self._errors(), closing(self._connect()) as connection, self._listed(connection):
            connection.ask(b"SUB %s\r\n" % self.channel.encode())
            yield b""
            silent_since_s = time.monotonic()
            while not self._closed:
                line = connection.line(TICK_S)
                if line is not None:
                    silent_since_s = time.monotonic()
                if line is not None and line.startswith(b"MSG "):
                    yield connection.take(int(line.split()[2]))
                elif line is None:
                    if time.monotonic() - silent_since_s > self._timeout_s + TICK_S:
                        raise TimeoutError("the broker is silent")
                    connection.send(b"PING\r\n")
                    yield b""

    def close(self) -> None:
        self._closed = True
        for connection in tuple(self._listening):
            connection.wake()  # its listener closes it
        if self._publisher is not None:
            self._publisher.close()

    def _ask(self, command: bytes) -> None:
        """Send a command; the PONG that follows says that the broker has it."""
        with self._turn, self._errors():
            # A broker that was restarted shows only when something is sent: once more, on a new connection.
            for last in (self._publisher is None, True):
                try:
                    self._publisher = self._publisher or self._connect()
                    self._publisher.ask(command)
                    return
                except OSError:
                    if self._publisher is not None:
                        self._publisher.close()
                    self._publisher = None
                    if last:
                        raise

    def _connect(self) -> _Connection:
        if self._closed:
            raise QueueClosed("the pigeon queue was closed")
        connection = _Connection(self._address, self._timeout_s)
        try:
            if self._password:
                connection.ask(b"PASS %s\r\n" % self._password.encode())
        except OSError:
            connection.close()
            raise
        return connection

    @contextmanager
    def _listed(self, connection: _Connection) -> Iterator[None]:
        self._listening.add(connection)
        try:
            yield
        finally:
            self._listening.discard(connection)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Raise what the contract has in place of what sockets have, without the password."""
        if self._closed:
            raise QueueClosed("the pigeon queue was closed")
        try:
            yield
        except OSError as exc:
            if self._closed:
                raise QueueClosed("the pigeon queue was closed") from exc
            refused = isinstance(exc, PermissionError)
            raise queues.unavailable("pigeon post", self.url, exc, refused=refused) from exc


class _Connection:
    def __init__(self, address: tuple[str, int], timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._sock = socket.create_connection(address, timeout_s)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""

    def wake(self) -> None:
        """Make whoever waits for the broker see an end."""
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the broker was faster

    def close(self) -> None:
        self.wake()
        self._sock.close()

    def send(self, data: bytes) -> None:
        self._sock.settimeout(self._timeout_s)
        self._sock.sendall(data)

    def ask(self, command: bytes) -> None:
        self.send(command + b"PING\r\n")
        answer = self.line(self._timeout_s)
        if answer is None:
            raise TimeoutError("the broker does not answer")
        if answer.startswith(b"-ERR"):
            raise PermissionError("the broker does not let us")
        if answer != b"PONG":
            raise ConnectionError(f"expected PONG, got {answer[:80]!r}")

    def line(self, timeout_s: float) -> bytes | None:
        """Return the next line; ``None`` if none is complete by then."""
        while b"\r\n" not in self._buffer:
            try:
                self._fill(timeout_s)
            except TimeoutError:
                return None
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line

    def take(self, size: int) -> bytes:
        """Return a message; the end of line behind it is dropped."""
        while len(self._buffer) < size + 2:
            self._fill(self._timeout_s)
        message, self._buffer = self._buffer[:size], self._buffer[size + 2 :]
        return message

    def _fill(self, timeout_s: float) -> None:
        self._sock.settimeout(timeout_s)
        data = self._sock.recv(65_536)
        if not data:
            raise ConnectionResetError("the broker closed the connection")
        self._buffer += data
