"""eventlet's hub, and its web server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import eventlet
import eventlet.hubs
import eventlet.patcher
import eventlet.queue

from flask_socketio_core.contracts.concurrency.exit import stopping_on_signals
from flask_socketio_core.contracts.concurrency.green import GreenMode, HubHandle
from flask_socketio_core.contracts.concurrency.reloader import run_with_reloader
from flask_socketio_core.contracts.concurrency.servers import NOT_SERVING, is_gunicorn
from flask_socketio_core.contracts.fork import register_at_fork

from .hub import GreenEvent, WakeUp, start_watch
from .patching import PATCH_LINE

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment
    from greenlet import greenlet

    from flask_socketio_core.contracts import AsyncCapabilities, Event, Handle, ServeOptions
    from flask_socketio_core.contracts.concurrency.jobs import Job

PATCH_GROUPS = {"threading": "thread", "_thread": "thread", "queue": "thread", "ssl": "socket"}
"""The name under which eventlet patches a module together with others."""


class EventletMode(GreenMode):
    """Run handlers in pooled greenlets on eventlet's hub; serve with its WSGI server."""

    name: ClassVar[str] = "eventlet"
    library: ClassVar[str] = "eventlet"
    patch_line: ClassVar[str] = PATCH_LINE
    capabilities: ClassVar[AsyncCapabilities] = replace(GreenMode.capabilities, takes_listener=True)

    def __init__(self, *, max_workers: int = 1000) -> None:
        super().__init__(max_workers=max_workers)
        self._wake_up: WakeUp | None = None
        self._serving: Any = None  # the greenthread that accepts connections
        self._stop_asked = False
        register_at_fork(after_in_child=self._leave_parent)

    def sleep(self, seconds: float) -> None:
        self.settle()
        eventlet.sleep(seconds)

    def create_event(self) -> Event:
        return GreenEvent(self)

    def create_queue(self, maxsize: int = 0) -> Any:
        return eventlet.queue.Queue(maxsize or None)

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> Handle:
        return HubHandle(self, partial(self._start_timer, delay_s, self._guarded(callback)))

    def watch(self, fd: int, callback: Callable[[], object]) -> Handle:
        if not self.capabilities.watches:
            raise NotImplementedError("there is no epoll on this platform")
        return HubHandle(self, lambda: start_watch(self.hub(), fd, self._guarded(callback)))

    def original(self, module: str, name: str) -> Any:
        return getattr(eventlet.patcher.original(module), name)

    def is_patched(self, module: str) -> bool:
        return bool(eventlet.patcher.is_monkey_patched(PATCH_GROUPS.get(module, module)))

    def drop_in_child(self, stop: Job) -> None:
        """Do nothing: the child has a hub of its own by then, and the old one is the parent's."""

    def close(self) -> None:
        super().close()
        if self._wake_up is not None and self.at_home:
            self._wake_up.stop()
            self._wake_up = None
            self._hub = None

    def _leave_parent(self) -> None:
        """Begin again in a forked child, with a hub of its own, if the parent has used one.

        Parent and child share the old hub's epoll set: taking something out of it here would take it from the parent,
        and what the parent's sockets do would be told to the child.
        """
        if self._wake_up is None:
            return
        eventlet.hubs.use_hub()
        self._hub = None
        self._wake_up.close()
        self._wake_up = None
        self._pool = self._make_pool()

    # serving

    def serve(self, app: WSGIApplication, host: str, port: int, options: ServeOptions) -> None:
        self.refuse_unpatched_tls(options)
        self.warn_unless_patched()
        self._stop_asked = False  # first: a signal may come before the server is made
        if options.use_reloader:
            run_with_reloader(partial(self._serve, app, host, port, options), options, self.interrupter())
        else:
            with stopping_on_signals(self._stop_soon):
                self._serve(app, host, port, options)

    def stop(self) -> None:
        if self._serving is None:
            raise RuntimeError(NOT_SERVING)
        self._stop_soon()

    def _serve(self, app: WSGIApplication, host: str, port: int, options: ServeOptions) -> None:
        from .server import listen, serve

        self.move_in()
        listener, given = listen(host, port, options)
        self._serving = eventlet.spawn(serve, listener, app, given)
        if options.listener is not None:
            options.listener.on_serving()
        if self._stop_asked:
            self._stop_soon()
        self.look_for_signals(lambda: self._serving is not None)
        try:
            self._serving.wait()
        finally:
            self._serving = None

    def _stop_soon(self) -> None:
        self._stop_asked = True
        serving = self._serving
        if serving is not None:
            # eventlet's accept loop ends at this exception, as Ctrl-C would end it.
            self._call_from_outside(lambda: None if serving.dead else serving.throw(SystemExit))

    # what GreenMode wants to know

    def _reachable_hub(self) -> Any:
        hub = eventlet.hubs.get_hub()
        if self._wake_up is None or self._wake_up.hub is not hub:
            self._wake_up = WakeUp(hub)
        return hub

    def _hub_greenlet(self) -> greenlet:
        hub = self.hub()
        hub.ensure_greenlet()  # it ended if an exception went through it
        parent: greenlet = hub.greenlet
        return parent

    def _soon(self, callback: Job) -> None:
        self._hub.schedule_call_global(0, callback)

    def _soon_from_outside(self, callback: Job) -> None:
        if self._wake_up is not None:
            self._wake_up.call(callback)

    def _start_greenlet(self, run: Job) -> None:
        eventlet.spawn_n(run)

    def _is_hub(self, parent: greenlet) -> bool:
        return parent is eventlet.hubs.get_hub().greenlet

    def _advice(self, environ: WSGIEnvironment) -> str:
        if is_gunicorn(environ):
            return "start the program with socketio.run(app), or use async_mode='gevent' and `gunicorn -k gevent -w 1`"
        return f"call socketio.run(app) and begin the main module with `{PATCH_LINE}`, or use async_mode='threading'"

    def _start_timer(self, delay_s: float, callback: Job) -> Job:
        timer = self.hub().schedule_call_global(max(delay_s, 0), callback)
        stop: Job = timer.cancel
        return stop
