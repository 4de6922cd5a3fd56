"""An async mode of plain OS threads that serves nothing: enough for a message queue or a cluster under test."""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from ..contracts import AsyncCapabilities, AsyncMode

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed.wsgi import WSGIApplication

    from ..contracts import Event, Handle, Lock, ServeOptions, Task


class ThreadMode(AsyncMode):
    """Run every job in a thread of its own; :meth:`serve` is not there."""

    name: ClassVar[str] = "plain-threads"
    capabilities: ClassVar[AsyncCapabilities] = AsyncCapabilities(green=False, tls=False, watches=False)

    def spawn(self, job: Callable[[], object]) -> None:
        threading.Thread(target=job, daemon=True).start()

    def start_task(self, target: Callable[..., object], *args: Any, **kwargs: Any) -> Task:
        task = threading.Thread(target=target, args=args, kwargs=kwargs, daemon=True)
        task.start()
        return task

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def create_lock(self) -> Lock:
        return threading.Lock()

    def create_event(self) -> Event:
        return threading.Event()

    def create_queue(self, maxsize: int = 0) -> Any:
        return queue.Queue(maxsize)

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> Handle:
        timer = threading.Timer(delay_s, callback)
        timer.daemon = True
        timer.start()
        return timer

    def watch(self, fd: int, callback: Callable[[], object]) -> Handle:
        raise NotImplementedError("plain threads watch no descriptor")

    def serve(self, app: WSGIApplication, host: str, port: int, options: ServeOptions) -> NoReturn:
        raise NotImplementedError("plain threads serve nothing")

    def stop(self) -> None:
        raise RuntimeError("plain threads serve nothing")
