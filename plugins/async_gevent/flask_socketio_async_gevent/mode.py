"""gevent's hub, and its web server."""

from __future__ import annotations

import dataclasses
import gc
import logging
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, cast

import gevent
import gevent.event
import gevent.hub
import gevent.monkey
import gevent.queue

from flask_socketio_core.contracts.concurrency.exit import stopping_on_signals
from flask_socketio_core.contracts.concurrency.green import GreenMode, HubHandle
from flask_socketio_core.contracts.concurrency.reloader import run_with_reloader
from flask_socketio_core.contracts.concurrency.servers import NOT_SERVING, is_gunicorn
from flask_socketio_core.errors import ConfigurationError

from .probes import PATCH_LINE

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment
    from greenlet import greenlet

    from flask_socketio_core.contracts import AsyncCapabilities, Event, Handle, ReadWaiter, ServeOptions
    from flask_socketio_core.contracts.concurrency.jobs import Job

    from .server import Connections

logger = logging.getLogger("flask_socketio_core.concurrency")

READABLE = 1
"""libev's and libuv's EV_READ."""


class GeventMode(GreenMode):
    """Run handlers in pooled greenlets of gevent; serve with its pywsgi server."""

    name: ClassVar[str] = "gevent"
    library: ClassVar[str] = "gevent"
    patch_line: ClassVar[str] = PATCH_LINE
    capabilities: ClassVar[AsyncCapabilities] = dataclasses.replace(
        GreenMode.capabilities, takes_listener=True
    )

    def __init__(self, *, max_workers: int = 1000) -> None:
        super().__init__(max_workers=max_workers)
        self._stopping: gevent.event.Event | None = None
        self._connections: Connections | None = None

    def sleep(self, seconds: float) -> None:
        self.settle()
        gevent.sleep(seconds)

    def create_event(self) -> Event:
        return cast("Event", gevent.event.Event())

    def create_queue(self, maxsize: int = 0) -> Any:
        return gevent.queue.Queue(maxsize or None)

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> Handle:
        return HubHandle(self, partial(self._start_timer, delay_s, self._guarded(callback)))

    def watch(self, fd: int, callback: Callable[[], object]) -> Handle:
        if not self.capabilities.watches:
            raise NotImplementedError("there is no epoll on this platform")
        return HubHandle(self, partial(self._start_watch, fd, self._guarded(callback)))

    def create_read_waiter(self, fd: int) -> ReadWaiter | None:
        return HubWaiter(self, fd)

    def original(self, module: str, name: str) -> Any:
        return gevent.monkey.get_original(module, name)

    def is_patched(self, module: str) -> bool:
        return bool(gevent.monkey.is_module_patched(module))

    def drop_in_child(self, stop: Job) -> None:
        # libev's own tables are the child's alone, and its epoll set is made anew after a fork.
        if self.at_home:
            stop()

    # serving

    def serve(self, app: WSGIApplication, host: str, port: int, options: ServeOptions) -> None:
        self.refuse_unpatched_tls(options)
        self.warn_unless_patched()
        self.move_in()
        self._stopping = stopping = gevent.event.Event()  # first: a signal may come before the server is made
        serve = partial(self._serve, app, host, port, options, stopping)
        try:
            if options.use_reloader:
                self._patch_for_reloader()
                run_with_reloader(serve, options, self.interrupter())
            else:
                with stopping_on_signals(self._stop_soon):
                    serve()
        finally:
            self._stopping = None

    def stop(self) -> None:
        if self._stopping is None:
            raise RuntimeError(NOT_SERVING)
        self._stop_soon()

    def close(self) -> None:
        connections, self._connections = self._connections, None
        if connections is not None:
            connections.end()
        super().close()

    def _serve(
        self, app: WSGIApplication, host: str, port: int, options: ServeOptions, stopping: gevent.event.Event
    ) -> None:
        from .server import Connections, make_server

        connections = Connections()
        server = make_server(app, host, port, options, connections)
        self._connections = connections
        try:
            # Not serve_forever(): at its end it kills pending requests, before the engine could answer them.
            server.start()
            if options.listener is not None:
                options.listener.on_serving()
            self.look_for_signals(lambda: self._stopping is not None)
            stopping.wait()
        finally:
            server.close()

    def _patch_for_reloader(self) -> None:
        """Let the reloader sleep in one thread and serve in another, where the program has not patched.

        Patching threads once more would register gevent's hooks for a fork a second time, which then fail.
        """
        if not self.is_patched("threading"):
            gc.collect()  # patching looks at all objects, and fails on a weak proxy of one that is gone
            gevent.monkey.patch_thread()
        if not self.is_patched("time"):
            gevent.monkey.patch_time()

    def _stop_soon(self) -> None:
        if self._stopping is not None:
            self._call_from_outside(self._stopping.set)

    # what GreenMode wants to know

    def _reachable_hub(self) -> Any:
        return gevent.get_hub()

    def _hub_greenlet(self) -> greenlet:
        hub: greenlet = self.hub()
        return hub

    def _soon(self, callback: Job) -> None:
        self._hub.loop.run_callback(callback)

    def _soon_from_outside(self, callback: Job) -> None:
        self._hub.loop.run_callback_threadsafe(callback)

    def _start_greenlet(self, run: Job) -> None:
        gevent.spawn(run)

    def _is_hub(self, parent: greenlet) -> bool:
        return isinstance(parent, gevent.hub.Hub)

    def _advice(self, environ: WSGIEnvironment) -> str:
        if is_gunicorn(environ):
            return "start it with `gunicorn -k gevent -w 1`, or use async_mode='threading'"
        return f"call socketio.run(app) and begin the main module with `{PATCH_LINE}`, or use async_mode='threading'"

    def _start_timer(self, delay_s: float, callback: Job) -> Job:
        timer = self.hub().loop.timer(max(delay_s, 0))

        def fire() -> None:
            timer.close()
            callback()

        timer.start(fire, update=True)
        return partial(_end_watcher, timer)

    def _start_watch(self, fd: int, callback: Job) -> Job:
        watcher = self.hub().loop.io(fd, READABLE)
        watcher.start(callback)
        return partial(_end_watcher, watcher)


LATE_PATCH = (
    "uWSGI's option --gevent-monkey-patch patches only after it has loaded the application, too late for what that has "
    "imported: start uWSGI with --gevent-early-monkey-patch instead"
)


class UwsgiMode(GeventMode):
    """gevent inside uWSGI, which is the web server and has its own way to be stopped."""

    name: ClassVar[str] = "gevent_uwsgi"
    capabilities: ClassVar[AsyncCapabilities] = dataclasses.replace(GeventMode.capabilities, tls=False)

    def __init__(self, *, max_workers: int = 1000) -> None:
        super().__init__(max_workers=max_workers)
        uwsgi: Any = sys.modules.get("uwsgi")
        if "gevent-monkey-patch" in getattr(uwsgi, "opt", {}) and not self.is_patched("socket"):
            logger.warning("%s", LATE_PATCH)

    def serve(self, app: WSGIApplication, host: str, port: int, options: ServeOptions) -> None:
        raise ConfigurationError(
            "async_mode='gevent_uwsgi' has no server of its own, uWSGI is it: start "
            "`uwsgi --http :5000 --gevent 100 --gevent-early-monkey-patch --http-websockets --http-chunked-input "
            "--master --module module:app`"
        )

    def _advice(self, environ: WSGIEnvironment) -> str:
        return "start uWSGI with --gevent 100 --gevent-early-monkey-patch --http-websockets"


class HubWaiter:
    """Wait for a descriptor again and again, with one watcher.

    gevent's ``selectors`` make a timer and an event each time, which takes as long as all the rest.
    """

    def __init__(self, mode: GreenMode, fd: int) -> None:
        self._mode = mode
        self._hub = gevent.get_hub()
        self._watcher = self._hub.loop.io(fd, READABLE)

    def wait(self) -> None:
        """Return when there is something to read."""
        self._hub.wait(self._watcher)

    def close(self) -> None:
        """Let the descriptor go."""
        if self._mode.at_home:  # not in a child that another thread has forked, where nobody runs the hub
            _end_watcher(self._watcher)


def _end_watcher(watcher: Any) -> None:
    watcher.stop()
    watcher.close()


def forget_descriptor(fd: int) -> None:
    """Take a descriptor out of the hub's own epoll set, which does not learn that another one takes its number.

    There is nothing to do for libev's other backends, which have no such set; their loop shows no descriptor.
    """
    loop_fd = gevent.get_hub().loop.fileno()
    if loop_fd is None:
        return
    epoll = gevent.monkey.get_original("select", "epoll").fromfd(os.dup(loop_fd))
    try:
        epoll.unregister(fd)
    except OSError:
        pass  # it was not in it
    finally:
        epoll.close()
