"""What each of many clients of this process acknowledges."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..contracts.clients import AckCallback
    from .clients import Client


class EachAck:
    """Acknowledgements of one event, told with the sid of who has given them.

    :param on_ack: called with a client's sid and its answer; on the hub, must not block.
    :param on_gone: called with the sid of a client that has left without an answer; likewise.
    """

    def __init__(
        self,
        event: str,
        on_ack: Callable[[str, tuple[Any, ...]], object],
        on_gone: Callable[[str], object],
    ) -> None:
        self._event = event
        self._on_ack = on_ack
        self._on_gone = on_gone
        self._waiting: dict[str, tuple[Client, AckCallback, Callable[[], None]]] = {}

    def expect(self, client: Client) -> int | None:
        """Return the id of a client's ack packet; ``None`` if it has left, which is told."""
        answer, leave = partial(self._answer, client.sid), partial(self._leave, client.sid)
        self._waiting[client.sid] = client, answer, leave
        ack_id = client.expect_ack(answer, self._event)
        client.on_gone(leave)
        return ack_id

    def _answer(self, sid: str, *values: Any) -> None:
        found = self._waiting.pop(sid, None)
        if found is not None:
            client, _, leave = found
            client.withdraw(leave)
            self._on_ack(sid, values)

    def _leave(self, sid: str) -> None:
        if self._waiting.pop(sid, None) is not None:
            self._on_gone(sid)

    def forget(self) -> None:
        """Wait no longer; answers on their way may still be told."""
        for sid in list(self._waiting):
            found = self._waiting.pop(sid, None)
            if found is not None:
                client, answer, leave = found
                client.withdraw(leave)
                if owed := client.forget_acks(answer):
                    client.connection.tell_expired(owed, client)
