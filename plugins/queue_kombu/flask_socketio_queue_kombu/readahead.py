"""Read from a connection of py-amqp in large pieces.

py-amqp asks the socket for 7 bytes, for a payload and for 1 byte, for each of the three frames of a message: nine
system calls, where one can bring several messages.
"""

from __future__ import annotations

from ssl import SSLWantReadError
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

#: Bytes asked for at once.
CHUNK = 65_536


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


def read_ahead(connection: Any) -> ReadAhead:
    """Let a connection of py-amqp read ahead."""
    transport = connection.transport
    transport._quick_recv = reader = ReadAhead(transport._quick_recv)  # has no public name
    return reader
