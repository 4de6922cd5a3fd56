"""All that we use of py-amqp besides its documented methods, in one place; ``tests/test_pyamqp.py`` holds it to that.

py-amqp's sockets wait for ever; its own options for that have no effect on green ones. It asks the socket for 7 bytes,
for a payload and for 1 byte, for each of the three frames of a message: nine system calls, where one can bring several
messages. And it looks for news from the broker before each message that it sends.
"""

from __future__ import annotations

from ssl import SSLWantReadError
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

#: What Kombu calls this library.
DRIVER = "py-amqp"
#: Bytes asked for at once.
CHUNK = 65_536
#: AMQP's class and method of a message that is sent, and py-amqp's names for the types of its arguments.
BASIC_PUBLISH = (60, 40)
PUBLISH_TYPES = "Bssbb"


def limit_waiting(connection: Any, timeout_s: float) -> None:
    """Limit what one of Kombu's connections waits for its broker, if it is one of py-amqp."""
    if connection.transport.driver_name == DRIVER:
        limit_waiting_of(connection.connection, timeout_s)


def limit_waiting_of(amqp: Any, timeout_s: float) -> None:
    """Limit what a connection of py-amqp waits for its broker, without its doing so before and after each frame."""
    amqp.transport.sock.settimeout(timeout_s)


def publish(channel: Any, exchange: str, message: Any) -> None:
    """Send a prepared message as ``basic_publish`` does, without looking for news from the broker before it."""
    channel.send_method(BASIC_PUBLISH, PUBLISH_TYPES, (0, exchange, "", False, False), message)


class ReadAhead:
    """What py-amqp reads from, in place of the socket's ``recv``.

    :param receive: the socket's.
    """

    def __init__(self, receive: Callable[[int], bytes]) -> None:
        self._receive = receive
        self._data = b""
        self._at = 0

    def __call__(self, size: int) -> bytes:
        """Return at most so many bytes; none at the end of the connection.

        :raises TimeoutError: if nothing is there in time, with a socket that does not wait, too: py-amqp would ask
            again without a pause in the middle of a frame, and keep what it has of it after a time-out.
        """
        if self._at == len(self._data):
            try:
                self._data, self._at = self._receive(max(size, CHUNK)), 0
            except (BlockingIOError, SSLWantReadError) as error:
                raise TimeoutError(str(error)) from None
        start = self._at
        self._at = min(start + size, len(self._data))
        return self._data[start : self._at]

    @property
    def waiting(self) -> bool:
        """Whether something was read that py-amqp has not asked for yet."""
        return self._at < len(self._data)


def read_ahead(amqp: Any) -> ReadAhead:
    """Let a connection of py-amqp read in large pieces."""
    transport = amqp.transport
    transport._quick_recv = reader = ReadAhead(transport._quick_recv)  # has no public name
    return reader
