"""The messages that RabbitMQ has not confirmed yet, by delivery tag. Pure: no I/O, a clock reading is passed in."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that was written to the connection.

    :param at: monotonic clock reading, seconds.
    """

    message: bytes
    key: str
    at: float


class Unconfirmed:
    """Keep what was sent on one channel until it is confirmed, oldest first.

    Delivery tags count the messages of a channel from 1; a new channel begins with :meth:`take_all`.
    """

    def __init__(self) -> None:
        self._sent: OrderedDict[int, Sent] = OrderedDict()
        self._last_tag = 0
        self._progress_at = 0.0
        self.bytes = 0

    def add(self, message: bytes, key: str, now_s: float) -> None:
        """Note a message that was sent."""
        self._last_tag += 1
        self._sent[self._last_tag] = Sent(message, key, now_s)
        self.bytes += len(message)

    def confirm(self, tag: int, multiple: bool, now_s: float) -> None:
        """Forget a message that the broker has, or all up to it."""
        self._progress_at = now_s
        if not multiple:
            self._forget(self._sent.pop(tag, None))
            return
        while self._sent and next(iter(self._sent)) <= tag:
            self._forget(self._sent.popitem(last=False)[1])

    def _forget(self, sent: Sent | None) -> None:
        if sent is not None:
            self.bytes -= len(sent.message)

    def take_all(self) -> list[Sent]:
        """Return what was not confirmed, oldest first, and begin anew."""
        sent = list(self._sent.values())
        self._sent.clear()
        self._last_tag = self.bytes = 0
        return sent

    def waiting_s(self, now_s: float) -> float:
        """Return how long the oldest has waited since the broker last confirmed anything, seconds; 0 without any.

        Under load a broker takes its time: as long as it goes on, to send everything again would only add to that.
        """
        return now_s - max(next(iter(self._sent.values())).at, self._progress_at) if self._sent else 0.0

    def __len__(self) -> int:
        return len(self._sent)
