"""What is counted while somebody looks; while nobody does nothing is observed, and costs nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from .stats import Happened


def observers(own: str, happened: Happened) -> list[Callable[..., None]]:
    """Return the functions that are told.

    :param own: the pages' namespace, of which nothing is counted.
    """

    def socketio_session_opened() -> None:
        happened.note("rawConnection")

    def socketio_session_closed(reason: str) -> None:
        happened.note("rawDisconnection", str(reason))

    def socketio_event_before(namespace: str, event: str) -> None:
        if namespace != own and event not in ("connect", "disconnect"):
            happened.note("packetsIn")

    def socketio_delivered(namespace: str, recipients: int, size_bytes: int) -> None:
        if namespace != own and recipients:
            happened.note("packetsOut", count=recipients)
            happened.note("bytesOut", count=recipients * size_bytes)

    return [socketio_session_opened, socketio_session_closed, socketio_event_before, socketio_delivered]
