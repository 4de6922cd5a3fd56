"""Ask one client and wait for its answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..errors import CallTimeout, ClientGone

if TYPE_CHECKING:
    from ..contracts import AsyncMode
    from ..contracts.clients import AckCallback, Emission
    from .interface import LocalServer

FOREVER_S = 365 * 24 * 3600.0
"""What ``timeout=None`` stands for, seconds."""

Ask = Callable[["AckCallback", Callable[[], None]], Callable[[], object]]
"""Sends a question. Called with what to call with the answer, and what to call when the client has left; returns what
to call when nobody waits for either any more."""


def call(
    server: LocalServer, mode: AsyncMode, emission: Emission, to: str, timeout_s: float
) -> tuple[Any, ...]:
    """Send an event to a client of this process and return what is acknowledged first.

    :param emission: what is asked; its addressees and its ``on_ack`` are set here.
    :param to: a sid; with a room, the first answer counts.
    :raises CallTimeout: if nobody answers within the time-out.
    :raises ClientGone: if the client leaves before it answers, or nobody is connected under that name.
    """
    return wait(mode, question(server, emission, to), emission.event, to=to, timeout_s=timeout_s)


def question(server: LocalServer, emission: Emission, to: str) -> Ask:
    """Return what :func:`call` asks.

    :raises ClientGone: if nobody is connected under that name.
    """
    event, namespace = emission.event, emission.namespace
    is_sid = server.is_connected(to, namespace)
    if not is_sid and not server.members(to, namespace):
        raise ClientGone(f"cannot call {event!r}: nobody is connected as {to!r} to namespace {namespace!r}")

    def ask(on_ack: AckCallback, on_gone: Callable[[], None]) -> Callable[[], object]:
        withdraw = server.on_client_gone(to, namespace, on_gone) if is_sid else None

        def forget() -> None:
            if withdraw is not None:
                withdraw()
            server.forget_acks(to, namespace, on_ack)  # of a room, the others have not answered

        try:
            server.emit(emission._replace(to=(to,), on_ack=on_ack))
        except BaseException:
            forget()
            raise
        return forget

    return ask


def wait(mode: AsyncMode, ask: Ask, event: str, *, to: str, timeout_s: float) -> tuple[Any, ...]:
    """Ask, and return what is acknowledged.

    :raises CallTimeout: if nobody answers within the time-out.
    :raises ClientGone: if the client leaves before it answers.
    """
    done = mode.create_event()
    answers: list[tuple[Any, ...]] = []

    def on_ack(*values: Any) -> None:
        answers.append(values)
        done.set()

    forget = ask(on_ack, done.set)
    try:
        in_time = done.wait(timeout_s)
    finally:
        forget()
    return _outcome(answers, in_time, event, to, timeout_s)


async def wait_async(ask: Ask, event: str, *, to: str, timeout_s: float) -> tuple[Any, ...]:
    """Do as :func:`wait` does, in a coroutine; what may block is done by the executor of its loop."""
    import asyncio

    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    answers: list[tuple[Any, ...]] = []

    def on_ack(*values: Any) -> None:
        answers.append(values)
        on_gone()

    def on_gone() -> None:
        try:
            loop.call_soon_threadsafe(done.set)
        except RuntimeError:
            pass  # the loop was closed: nobody waits there

    forget = await asyncio.to_thread(ask, on_ack, on_gone)
    try:
        await asyncio.wait_for(done.wait(), timeout_s)
        in_time = True
    except asyncio.TimeoutError:
        in_time = False
    finally:
        forget()
    return _outcome(answers, in_time, event, to, timeout_s)


def _outcome(
    answers: list[tuple[Any, ...]], in_time: bool, event: str, to: str, timeout_s: float
) -> tuple[Any, ...]:
    if answers:
        return answers[0]
    if in_time:
        raise ClientGone(f"client {to!r} left before it acknowledged {event!r}")
    raise CallTimeout(f"client {to!r} did not acknowledge {event!r} within {timeout_s:g} s")
