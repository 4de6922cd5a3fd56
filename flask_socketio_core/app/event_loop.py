"""The event loop of this process, on which ``async def`` handlers run: one asyncio loop in an OS thread of its own.

It is started by the first coroutine and ends when the last ``SocketIO`` object that used it shuts down. What a handler
leaves behind, tasks and pooled connections, lives until then. asyncio is not imported before.

In a mode of greenlets the thread is an OS thread all the same, so the selector is made of the *unpatched* ``epoll``,
and the loop is made and closed at the hub's thread, because its self-pipe consists of the library's sockets there.
``run_in_executor(None, ...)``, which is also ``asyncio.to_thread()`` and the resolver, runs in a worker of the mode:
there patched libraries yield, and what they have open belongs to the same hub as elsewhere.
"""

from __future__ import annotations

import asyncio
import inspect
import selectors
import sys
import threading
import weakref
from collections.abc import Callable, Coroutine, Mapping
from contextvars import Context
from functools import partial
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from ..contracts.fork import register_at_fork
from ..server.watchdog import Watchdog

if TYPE_CHECKING:
    import logging
    from types import FrameType

    from ..contracts import AsyncMode, Event

Done = Callable[[Any, "BaseException | None"], object]
"""Called in a worker with what a coroutine returned, or with what it raised."""

CANCEL_S = 1.0
"""How long coroutines that are cancelled at the end of the process may take to end, seconds."""


class EpollSelector(selectors.BaseSelector):
    """As the standard library's, whose ``epoll`` a green library may have replaced.

    :param poller: an object of ``select.epoll``'s interface.
    """

    def __init__(self, poller: Any) -> None:
        self._poller = poller
        self._keys: dict[int, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Watch a file."""
        fd = _descriptor(fileobj)
        if fd in self._keys:
            raise KeyError(f"{fileobj!r} is registered already")
        self._poller.register(fd, _mask(events))
        key = self._keys[fd] = selectors.SelectorKey(fileobj, fd, events, data)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """Watch it no longer."""
        key = self._keys.pop(self.get_key(fileobj).fd)
        try:
            self._poller.unregister(key.fd)
        except OSError:
            pass  # it was closed before
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Watch it for something else."""
        fd = self.get_key(fileobj).fd
        self._poller.modify(fd, _mask(events))
        key = self._keys[fd] = selectors.SelectorKey(fileobj, fd, events, data)
        return key

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        """Return what was registered."""
        try:
            return self._keys[_descriptor(fileobj)]
        except (KeyError, ValueError):
            for key in self._keys.values():
                if key.fileobj is fileobj:
                    return key
            raise KeyError(f"{fileobj!r} is not registered") from None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for events, at most so many seconds."""
        try:
            found = self._poller.poll(-1 if timeout is None else max(timeout, 0))
        except InterruptedError:
            return []
        ready = []
        for fd, mask in found:
            key = self._keys.get(fd)
            if key is not None:
                events = (selectors.EVENT_READ if mask & ~EPOLLOUT else 0) | (
                    selectors.EVENT_WRITE if mask & ~EPOLLIN else 0
                )
                ready.append((key, events & key.events))
        return ready

    def close(self) -> None:
        """Give the descriptor back."""
        self._keys.clear()
        self._poller.close()

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """Return what is registered, by descriptor."""
        return self._keys


EPOLLIN, EPOLLOUT = 1, 4
"""Linux's constants, which a green library may have taken out of ``select``."""


def _mask(events: int) -> int:
    return (EPOLLIN if events & selectors.EVENT_READ else 0) | (
        EPOLLOUT if events & selectors.EVENT_WRITE else 0
    )


def _descriptor(fileobj: Any) -> int:
    return fileobj if isinstance(fileobj, int) else int(fileobj.fileno())


class Loop(asyncio.SelectorEventLoop):
    """The loop, whose executor is the workers of a mode."""

    def __init__(self, mode: AsyncMode) -> None:
        self._mode = mode
        if mode.capabilities.green and sys.platform.startswith("linux"):
            self.selector: selectors.BaseSelector = EpollSelector(mode.original("select", "epoll")())
        else:
            self.selector = selectors.DefaultSelector()
        super().__init__(self.selector)

    def drop(self) -> None:
        """Give back what a forked child has of it, without touching what the parent goes on using."""
        self.selector.close()
        close = self._mode.original("os", "close")  # gevent's own closes later, on the hub
        for pipe in (self._ssock, self._csock):  # type: ignore[attr-defined]  # there is no other way to them
            close(pipe.fileno())

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]  # wider
        """Run a function in an executor, or with ``None`` in a worker."""
        if executor is not None:
            return super().run_in_executor(executor, func, *args)
        future = self.create_future()
        self._mode.spawn(partial(self._run_for, future, partial(func, *args)))
        return future

    def _run_for(self, future: asyncio.Future[Any], call: Callable[[], Any]) -> None:
        try:
            answer = call()
        except StopIteration as error:  # a future takes none
            replaced = RuntimeError("a function in a worker raised StopIteration")
            replaced.__cause__ = error
            self._settle_soon(future, None, replaced)
        except BaseException as error:  # noqa: BLE001  # it is raised where the future is awaited
            self._settle_soon(future, None, error)
        else:
            self._settle_soon(future, answer, None)

    def _settle_soon(self, future: asyncio.Future[Any], answer: Any, error: BaseException | None) -> None:
        try:
            self.call_soon_threadsafe(_settle, future, answer, error)
        except RuntimeError:
            pass  # it was closed: nobody awaits anything there


def _settle(future: asyncio.Future[Any], answer: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(answer)


class LoopThread:
    """The loop of this process and its thread, shared by what has coroutines to run."""

    def __init__(self) -> None:
        self._loop: Loop | None = None
        self._ended: Event | None = None
        self._users: weakref.WeakSet[object] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._inherited: list[Loop] = []
        register_at_fork(after_in_child=self.forget)

    def join(self, mode: AsyncMode, user: object) -> Loop:
        """Return the loop, started if need be, for a user that is going to :meth:`leave`.

        Called at the hub's thread in a mode of greenlets.
        """
        with self._lock:
            self._users.add(user)
            loop = self._loop
            if loop is None:
                loop = Loop(mode)
                ended = mode.create_event()
                mode.original("_thread", "start_new_thread")(_serve, (loop, ended))
                self._loop, self._ended = loop, ended
            return loop

    @property
    def is_here(self) -> bool:
        """Whether this is called on the loop."""
        return self._loop is not None and asyncio._get_running_loop() is self._loop

    def call_soon(self, call: Callable[[], object]) -> None:
        """Have the loop call a function, from any thread; does nothing without a loop."""
        loop = self._loop
        if loop is not None:
            try:
                loop.call_soon_threadsafe(call)
            except RuntimeError:
                pass  # it was closed meanwhile

    def handler_in(self, find: Callable[[FrameType], str | None], frame: FrameType) -> str | None:
        """Return which handler a frame of the thread runs, or the loop if a green library has left that frame."""
        found = find(frame)
        loop = self._loop
        if found is None and frame.f_back is None and loop is not None:
            task = asyncio.current_task(loop)
            coroutine = None if task is None else task.get_coro()
            if isinstance(coroutine, CoroutineType) and coroutine.cr_frame is not None:
                return find(coroutine.cr_frame)
        return found

    def cancel(self, tasks: set[asyncio.Task[Any]]) -> None:
        """Cancel tasks of the loop."""
        with self._lock:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(_cancel, tasks)

    def leave(self, user: object, timeout_s: float) -> None:
        """End the loop and its thread, unless others use it.

        :param timeout_s: how long to wait, seconds; a loop that is blocked then goes on, and is not closed.
        """
        with self._lock:
            self._users.discard(user)
            loop, ended = self._loop, self._ended
            if self._users or loop is None or ended is None:
                return
            self._loop = self._ended = None
        loop.call_soon_threadsafe(_wind_up, loop)
        if ended.wait(timeout_s):
            loop.close()

    def forget(self) -> None:
        """Have no loop in a forked child, where its thread is not.

        The object is kept: what its coroutines would do when they are closed is the parent's business.
        """
        self._lock = threading.Lock()  # another thread may have held it
        loop, self._loop, self._ended = self._loop, None, None
        self._users.clear()
        if loop is not None:
            self._inherited.append(loop)
            loop.drop()


def _serve(loop: Loop, ended: Event) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        asyncio.set_event_loop(None)
        ended.set()


def _cancel(tasks: set[asyncio.Task[Any]]) -> None:
    for task in list(tasks):
        task.cancel()


def _wind_up(loop: Loop) -> None:
    loop.create_task(_end(loop))


async def _end(loop: Loop) -> None:
    try:
        tasks = asyncio.all_tasks(loop) - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CANCEL_S)
        await loop.shutdown_asyncgens()
    finally:
        loop.stop()


THREAD = LoopThread()


class Coroutines:
    """The coroutines of one user of the loop.

    :param mode: its workers take what coroutines come to.
    :param bound_s: how long one of them may block the loop before that is logged, seconds; 0 for never.
    :param logger: gets that warning.
    :param handler_in: says which handler a frame runs.
    """

    def __init__(
        self,
        mode: AsyncMode,
        bound_s: float,
        logger: logging.Logger,
        handler_in: Callable[[FrameType], str | None],
    ) -> None:
        self._mode = mode
        self._watchdog: Watchdog | None = None
        if bound_s:
            self._watchdog = Watchdog(
                mode,
                bound_s,
                logger,
                call_soon=THREAD.call_soon,
                handler_in=partial(THREAD.handler_in, handler_in),
                stops="every coroutine",
            )
        self._tasks: set[asyncio.Task[Any]] = set()
        self._idle: Event | None = None

    def start(self, coroutine: Coroutine[Any, Any, Any], context: Context, done: Done) -> None:
        """Run a coroutine on the loop, in a copy of a context."""
        self._start(coroutine, context, partial(self._hand_over, done))

    def _hand_over(self, done: Done, answer: Any, error: BaseException | None) -> None:
        self._mode.spawn(partial(done, answer, error))

    def _start(self, coroutine: Coroutine[Any, Any, Any], context: Context, done: Done) -> None:
        loop = THREAD.join(self._mode, self)
        loop.call_soon_threadsafe(self._begin, loop, coroutine, done, context=context.copy())

    def _begin(self, loop: Loop, coroutine: Coroutine[Any, Any, Any], done: Done) -> None:
        if self._watchdog is not None:
            self._watchdog.start()
        task = loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(partial(self._finish, done))

    def _finish(self, done: Done, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        idle = self._idle
        if idle is not None and not self._tasks:
            idle.set()
        if task.cancelled():
            error: BaseException | None = asyncio.CancelledError()
        else:
            error = task.exception()
        done(None if error is not None else task.result(), error)

    def wait(self, coroutine: Coroutine[Any, Any, Any], context: Context) -> Any:
        """Run a coroutine on the loop and return what it does, for who cannot do without.

        :raises RuntimeError: on the loop itself, which would wait for itself.
        """
        if self.is_here:
            coroutine.close()
            raise RuntimeError("this would block the event loop that it waits for: await it instead")
        over = self._mode.create_event()
        found: list[tuple[Any, BaseException | None]] = []

        # On the loop: no worker may be left, if all of them wait here.
        def done(answer: Any, error: BaseException | None) -> None:
            found.append((answer, error))
            over.set()

        self._start(coroutine, context, done)
        over.wait()
        answer, error = found[0]
        if error is not None:
            raise error
        return answer

    @property
    def is_here(self) -> bool:
        """Whether this is called on the loop."""
        return THREAD.is_here

    def close(self, timeout_s: float) -> None:
        """Wait for what runs, cancel what does not end, and end the loop unless others use it.

        :param timeout_s: how long to wait, seconds.
        """
        idle = self._idle = self._mode.create_event()
        if self._tasks and not idle.wait(timeout_s):
            THREAD.cancel(self._tasks)
        self._idle = None
        if self._watchdog is not None:
            self._watchdog.stop()
        THREAD.leave(self, 2 * CANCEL_S)


async def call_either(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function of the application from a coroutine: a plain one in a worker, in a copy of this context."""
    if inspect.iscoroutinefunction(function):
        return await function(*args)
    answer = await asyncio.to_thread(function, *args)
    return await answer if inspect.iscoroutine(answer) else answer
