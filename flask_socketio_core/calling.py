"""Ask one client of this process and wait for its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import CallTimeout, ClientGone

if TYPE_CHECKING:
    from .contracts import AsyncMode
    from .server.interface import LocalServer

FOREVER_S = 365 * 24 * 3600.0
"""What ``timeout=None`` stands for, seconds."""


def call(
    server: LocalServer,
    mode: AsyncMode,
    event: str,
    args: tuple[Any, ...],
    *,
    to: str,
    namespace: str,
    timeout_s: float,
) -> tuple[Any, ...]:
    """Send an event and return what is acknowledged first.

    :param to: a sid; with a room, the first answer counts.
    :raises CallTimeout: if nobody answers within the time-out.
    :raises ClientGone: if the client leaves before it answers, or nobody is connected under that name.
    """
    done = mode.create_event()
    answers: list[tuple[Any, ...]] = []

    def on_ack(*values: Any) -> None:
        answers.append(values)
        done.set()

    is_sid = server.is_connected(to, namespace)
    if not is_sid and not server.members(to, namespace):
        raise ClientGone(f"cannot call {event!r}: nobody is connected as {to!r} to namespace {namespace!r}")
    withdraw = server.on_client_gone(to, namespace, done.set) if is_sid else None
    try:
        server.emit(event, args, namespace=namespace, to=(to,), on_ack=on_ack)
        answered = done.wait(timeout_s)
    finally:
        if withdraw is not None:
            withdraw()
        if not answers or not is_sid:  # of a room, the others have not answered
            server.forget_acks(to, namespace, on_ack)
    if answers:
        return answers[0]
    if answered:
        raise ClientGone(f"client {to!r} left before it acknowledged {event!r}")
    raise CallTimeout(f"client {to!r} did not acknowledge {event!r} within {timeout_s:g} s")
