"""Messages on a stream: four bytes of length, big-endian, and the message. Pure: bytes in, messages out.

A length of zero is a question: whoever reads it answers with one byte, :data:`HERE`.
"""

from __future__ import annotations

QUESTION = bytes(4)
HERE = b"\x01"
HEAD = 4


class FrameTooLarge(ValueError):
    """The other end announces a message that nobody may send: it speaks another protocol."""


def frame(message: bytes) -> bytes:
    """Return a message as it travels."""
    return len(message).to_bytes(HEAD, "big") + message


class FrameReader:
    """Take a stream apart, in whatever pieces it comes.

    :param max_bytes: largest message.
    """

    __slots__ = ("_buffer", "_max_bytes", "questions")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._buffer = bytearray()
        self.questions = 0  # that nobody has answered

    def feed(self, data: bytes) -> list[bytes]:
        """Take what was received and return the messages that are complete with it.

        :raises FrameTooLarge: for a length beyond the limit, before such a message is kept.
        """
        if not self._buffer and len(data) > HEAD and int.from_bytes(data[:HEAD], "big") == len(data) - HEAD:
            return [data[HEAD:]]  # one message, and all of it
        self._buffer += data
        found, start, end = [], 0, len(self._buffer)
        while end - start >= HEAD:
            size = int.from_bytes(self._buffer[start : start + HEAD], "big")
            if size > self._max_bytes:
                raise FrameTooLarge(f"message of {size} bytes, expected at most {self._max_bytes}")
            if end - start - HEAD < size:
                break
            start += HEAD
            if size:
                found.append(bytes(self._buffer[start : start + size]))
            else:
                self.questions += 1
            start += size
        del self._buffer[:start]
        return found

    @property
    def partial(self) -> bool:
        """Whether a message has begun and is not complete."""
        return bool(self._buffer)
