"""Events that are handled once, however often a client sends them: ``@socketio.on("order", once=...)``.

On a method of a class it is ``@once(...)``.

A client that retries (JavaScript's ``retries`` with ``ackTimeout``) sends an event again until it is acknowledged, and
adds nothing by which it could be known again. What the application finds in its arguments does: under it a store has

=============  =====================================================================================================
``p`` + token  it is being handled, by whoever knows the token; for :data:`LEASE_S`, which is renewed meanwhile
``d`` + JSON   it was handled, and this was its answer; for the option ``once_ttl``
=============  =====================================================================================================

Whoever puts the first one handles the event. Others look again until there is an answer, or nobody handles it any more.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import time
import uuid
from collections import Counter
from collections.abc import Callable
from functools import partial
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Protocol

from ..common.quoting import printable
from ..common.repeats import Repeats, kind_of
from ..contracts.fork import register_at_fork
from ..contracts.histories import OnceLoad
from ..errors import EventRejected, StoreError
from .dispatch import current_call
from .handlers import ANY, ONCE, may_await

if TYPE_CHECKING:
    from ..contracts import AsyncMode, Handle
    from ..contracts.clients import Client
    from ..store.current import CurrentStore
    from .handlers import HandlerCall
    from .packing import Packing

Function = Callable[..., Any]

VERSION = 1
"""Of the form of what is kept, and of the names under which."""
LEASE_S = 30.0
"""Seconds after which an event counts as not handled whose server was killed meanwhile. Long enough for a process that
stands still for a while; official clients with ``retries`` wait for that, and try again."""
PENDING, DONE = b"p", b"d"
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.02, 0.5
"""Between two looks at whether an event has been handled that is being handled elsewhere, seconds."""
METHOD = "on_"
"""What the names of a class's methods for events begin with."""
WAIT_S = 60.0
"""How long a repetition waits for that, seconds; then it is not acknowledged, and may come again."""

logger = logging.getLogger(__name__)


class OnceCall:
    """Call a handler, unless what it is called with was handled before: then return the answer of that time.

    :param key: finds in an event's arguments by what it is known again; ``None`` if by nothing.
    :param event: as it is registered.
    """

    __slots__ = ("_event", "_function", "_key", "_may_await")

    def __init__(self, key: Function, event: str, function: Function) -> None:
        self._key = key
        self._event = event
        self._function = function
        self._may_await = may_await(function)

    def __call__(self, *args: Any) -> Any:
        """Return what the handler returns, or has returned; a coroutine if it is a coroutine function."""
        return self.call(self._function, args)

    def call(self, function: Function, args: tuple[Any, ...]) -> Any:
        """Do so with another function in the place of the handler, such as a method of an object."""
        call = current_call()
        key = None if call is None else self._key(*args)
        if call is None or key is None:
            return function(*args)
        attempt: Attempt = call.owner._binding().once.attempt(call, self._event, key, args)
        if self._may_await:
            return self._await(attempt, partial(function, *args))
        found = attempt.begin()
        if found is not None:
            return found[0]
        try:
            answer = function(*args)
            if answer.__class__ is CoroutineType:
                return _await_begun(attempt, lambda: answer)
        except BaseException:
            attempt.fail()
            raise
        attempt.succeed(answer)
        return answer

    async def _await(self, attempt: Attempt, begin: Callable[[], Any]) -> Any:
        found = await attempt.begin_later()
        if found is not None:
            return found[0]
        return await _await_begun(attempt, begin)


def handled_once(key: Function, method: Function) -> Function:
    """Return what is called instead of a method of a class-based namespace."""
    once = OnceCall(key, method.__name__.removeprefix(METHOD), method)

    @functools.wraps(method)
    def call(self: Any, *args: Any) -> Any:
        return once.call(partial(method, self), args)

    vars(call)[ONCE] = True
    return call


async def _await_begun(attempt: Attempt, begin: Callable[[], Any]) -> Any:
    """Return what a handler returns that may be a coroutine function, in a coroutine."""
    from .event_loop import call_either

    try:
        answer = begin()
        if answer.__class__ is CoroutineType:
            answer = await answer
    except GeneratorExit:
        raise  # nobody goes on with it, as in a forked child
    except BaseException:
        await call_either(attempt.fail)
        raise
    await call_either(attempt.succeed, answer)
    return answer


class Observers(Protocol):
    """Whom to tell of repetitions."""

    def event_repeated(self, *, sid: str, namespace: str, event: str) -> None:
        """Tell of one."""


class Once:
    """What one application remembers of the events that it handles once.

    :param ttl_s: how long an answer is remembered, seconds.
    """

    def __init__(
        self, store: CurrentStore, mode: AsyncMode, ttl_s: float, packing: Packing, observers: Observers
    ) -> None:
        self.store = store
        self.mode = mode
        self.ttl_s = ttl_s
        self._packing = packing
        self._observers = observers
        self._repeats = Repeats(time.monotonic)
        self._begin()
        register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        """Have counted nothing, as at first; in a forked child, where another thread may have held a lock, too."""
        self._counts: Counter[str] = Counter()
        self._lock = self.mode.create_lock()

    def count(self, what: str) -> None:
        """Count something that :class:`OnceLoad` has."""
        with self._lock:
            self._counts[what] += 1

    def load(self) -> OnceLoad:
        """Return what has come of it."""
        with self._lock:
            counts = self._counts.copy()
        return OnceLoad(
            handled=counts["handled"],
            repeated=counts["repeated"],
            failed=counts["failed"],
            unanswered=counts["unanswered"],
            store_errors=counts["store_errors"],
        )

    def tell_repeated(self, client: Client, event: str) -> None:
        """Count and tell a repetition."""
        self.count("repeated")
        self._observers.event_repeated(sid=client.sid, namespace=client.namespace, event=event)

    def attempt(self, call: HandlerCall, event: str, key: Any, args: tuple[Any, ...]) -> Attempt:
        """Return what handles an event, or finds that it was handled.

        :raises TypeError: if ``key`` is nothing by which it can be known again.
        """
        if not isinstance(key, (str, int, float, list, tuple)):
            raise TypeError(
                f"once= of event {printable(event)!r} returned a {type(key).__name__}, expected text or a number, a "
                "list of them, or None for an event that is handled each time"
            )
        # Without a user nobody is known again who comes back: who sends the same arguments has them.
        user = call.client.user
        owner = ["args", self._digest(*args)] if user is None else ["user", user]
        name = args[0] if event == ANY else event
        digest = self._digest(VERSION, call.client.namespace, name, owner, key)
        return Attempt(self, f"once:{digest}", call.client, name)

    def _digest(self, *values: Any) -> str:
        return hashlib.sha256(self._packing.dump(*values)).hexdigest()

    def encode(self, answer: Any) -> bytes:
        """Return what is kept of an answer.

        :raises TypeError: if it is nothing that can be sent; ``ValueError`` likewise.
        """
        several = isinstance(answer, tuple)
        return DONE + self._packing.dump(several, *(answer if several else (answer,)))

    def decode(self, kept: bytes) -> Any:
        """Return the answer of which this was kept."""
        several, *values = self._packing.load(kept[len(DONE) :])
        return tuple(values) if several else values[0]

    def log(self, what: str, error: Exception) -> None:
        """Tell that something could not be remembered; not each time."""
        self.count("store_errors")
        more = self._repeats.take((what, kind_of(error)))
        if more is not None:
            logger.error("%s: %s: %s%s", what, type(error).__name__, error, more)


class Attempt:
    """One call of a handler, or a repetition of one. Its methods ask the store, and block so long."""

    __slots__ = ("_client", "_event", "_lock", "_name", "_once", "_over", "_timer", "_token")

    def __init__(self, once: Once, name: str, client: Client, event: str) -> None:
        self._once = once
        self._name = name
        self._client = client
        self._event = event
        self._token = PENDING + uuid.uuid4().bytes
        self._over = False
        self._timer: Handle | None = None
        self._lock = once.mode.create_yielding_lock()

    def begin(self) -> tuple[Any] | None:
        """Return the answer of an earlier call, or ``None`` if this is the one that handles the event.

        :raises EventRejected: if another one takes too long.
        """
        pauses = Pauses()
        while (found := self._look()) is not None:
            if found[:1] == DONE:
                return self._repeat(found)
            self._once.mode.sleep(self._pause_s(pauses))
        return None

    async def begin_later(self) -> tuple[Any] | None:
        """Do as :meth:`begin` does, in a coroutine."""
        import asyncio

        pauses = Pauses()
        while (found := await asyncio.to_thread(self._look)) is not None:
            if found[:1] == DONE:
                return self._repeat(found)
            await asyncio.sleep(self._pause_s(pauses))
        return None

    def _repeat(self, found: bytes) -> tuple[Any]:
        self._once.tell_repeated(self._client, self._event)
        return (self._once.decode(found),)

    def _pause_s(self, pauses: Pauses) -> float:
        """Return how long to wait; raise if that was long enough."""
        try:
            return pauses.take_s()
        except EventRejected:
            self._once.count("unanswered")
            raise

    def succeed(self, answer: Any) -> None:
        """Remember what the event was answered with."""
        with self._lock:
            self._end()
            try:
                kept = self._once.encode(answer)
            except (TypeError, ValueError, OverflowError, RecursionError):
                self._forget()  # it cannot be sent either, and the client is not told that it was handled
                return
            self._once.count("handled")
            try:
                self._once.store.put(self._name, kept, ttl_s=self._once.ttl_s)
            except StoreError as error:
                self._once.log("an event was handled, and is handled again if it is sent again", error)

    def fail(self) -> None:
        """Remember nothing: the event is handled when it comes again."""
        with self._lock:
            self._end()
            self._once.count("failed")
            self._forget()

    def _look(self) -> bytes | None:
        try:
            found = self._once.store.add(self._name, self._token, ttl_s=LEASE_S)
        except StoreError:
            self._once.count("store_errors")
            raise
        if found is None:
            self._timer = self._once.mode.call_later(LEASE_S / 3, self._renew_soon)
        return found

    def _renew_soon(self) -> None:
        self._once.mode.spawn(self._renew)

    def _renew(self) -> None:
        with self._lock:
            if self._over:
                return
            try:
                self._once.store.put(self._name, self._token, ttl_s=LEASE_S)
            except StoreError as error:
                self._once.log(
                    "an event may be handled twice that takes longer than the store is away", error
                )
            self._timer = self._once.mode.call_later(LEASE_S / 3, self._renew_soon)

    def _end(self) -> None:
        self._over = True
        if self._timer is not None:
            self._timer.cancel()

    def _forget(self) -> None:
        store = self._once.store
        try:
            found = store.take(self._name)
            if found is not None and found != self._token:  # somebody else's, since this one's time was over
                store.add(self._name, found, ttl_s=self._once.ttl_s)
        except StoreError as error:
            self._once.log(f"an event that failed is not handled again for {LEASE_S:g} s", error)


class Pauses:
    """How long to wait between two looks, and for how long in all."""

    def __init__(self) -> None:
        self._next_s = FIRST_PAUSE_S
        self._ends_s = time.monotonic() + WAIT_S

    def take_s(self) -> float:
        """Return the next pause, seconds.

        :raises EventRejected: if there is none.
        """
        if time.monotonic() > self._ends_s:
            raise EventRejected(f"its first copy has been handled for more than {WAIT_S:g} s")
        pause_s, self._next_s = self._next_s, min(self._next_s * 2, LONGEST_PAUSE_S)
        return pause_s
