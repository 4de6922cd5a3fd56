"""Ask one client and wait for its answer, or have it call back."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..common.sids import is_sid
from ..errors import CallTimeout, ClientGone

if TYPE_CHECKING:
    from ..contracts import AsyncMode, Handle
    from ..contracts.clients import AckCallback, Emission
    from ..errors import CallError
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
    """Do as :func:`wait` does, in a coroutine; what may block is done by the executor of its loop.

    One that is cancelled while it asks does not wait for that; what was asked is forgotten as soon as it can be.
    """
    import asyncio

    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    answers: list[tuple[Any, ...]] = []
    asked: list[Callable[[], object]] = []
    over = False

    def run() -> None:
        asked.append(ask(on_ack, on_gone))
        if over:
            forget()

    def forget() -> None:
        try:
            withdraw = asked.pop()
        except IndexError:
            return  # not asked yet, or the other thread forgets it
        withdraw()

    def on_ack(*values: Any) -> None:
        answers.append(values)
        on_gone()

    def on_gone() -> None:
        try:
            loop.call_soon_threadsafe(done.set)
        except RuntimeError:
            pass  # the loop was closed: nobody waits there

    in_time = False
    try:
        await asyncio.to_thread(run)
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(done.wait(), timeout_s)
            in_time = True
    finally:
        over = True
        forget()
    return _outcome(answers, in_time, event, to, timeout_s)


def unpacked(values: tuple[Any, ...]) -> Any:
    """Return acknowledged values as an application gets them: one by itself, ``None`` for none."""
    if len(values) > 1:
        return values
    return values[0] if values else None


def _outcome(
    answers: list[tuple[Any, ...]], in_time: bool, event: str, to: str, timeout_s: float
) -> tuple[Any, ...]:
    if answers:
        return answers[0]
    if in_time:
        raise _gone(event, to)
    raise _late(event, to, timeout_s)


def _gone(event: str, to: str) -> ClientGone:
    """Return the error for a client that has left."""
    return ClientGone(f"client {to!r} left before it acknowledged {event!r}")


def _late(event: str, to: str, timeout_s: float) -> CallTimeout:
    """Return the error for one that took too long."""
    return CallTimeout(f"client {to!r} did not acknowledge {event!r} within {timeout_s:g} s")


class Expectation:
    """An acknowledgement that calls back, or the lack of it, where no task waits.

    :param to: the sid or room that is asked. The members of a room may each answer, until the time is over.
    :param timeout_s: seconds.
    :param on_ack: called with each answer; must not block.
    :param on_failure: called with the error that :func:`wait` would raise; likewise.
    """

    def __init__(
        self,
        mode: AsyncMode,
        event: str,
        to: str,
        timeout_s: float,
        *,
        on_ack: AckCallback,
        on_failure: Callable[[CallError], object],
    ) -> None:
        self._mode = mode
        self._lock = mode.create_lock()
        self._event = event
        self._to = to
        self._timeout_s = timeout_s
        self._on_ack = on_ack
        self._on_failure = on_failure
        self._answered = self._over = False
        self._timer: Handle | None = None
        self._forget: Callable[[], object] | None = None

    def begin(self, ask: Ask) -> None:
        """Ask; raises what that raises."""
        self._timer = self._mode.call_later(self._timeout_s, self._expire)
        try:
            forget = ask(self._answer, self._leave)
        except BaseException:
            self._end()
            raise
        with self._lock:
            self._forget = forget
            over = self._over
        if over:  # before ask() had returned
            forget()

    def _answer(self, *values: Any) -> None:
        with self._lock:
            if self._over:
                return
            self._answered = True
        self._on_ack(*values)
        if is_sid(self._to):  # nobody else will answer
            self._end()

    def _leave(self) -> None:
        if self._end() and not self._answered:
            self._on_failure(_gone(self._event, self._to))

    def _expire(self) -> None:
        self._mode.spawn(self._give_up)  # a room may have many members that are not asked any more

    def _give_up(self) -> None:
        if self._end() and not self._answered:
            self._on_failure(_late(self._event, self._to, self._timeout_s))

    def _end(self) -> bool:
        """Wait no longer; ``False`` if that was over before."""
        with self._lock:
            if self._over:
                return False
            self._over = True
            timer, forget = self._timer, self._forget
        if timer is not None:
            timer.cancel()
        if forget is not None:
            forget()
        return True
