"""OS threads, and Werkzeug's server."""

from __future__ import annotations

import contextlib
import logging
import queue
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from flask_socketio_core.contracts import OK, AsyncCapabilities, AsyncMode, Verdict
from flask_socketio_core.contracts.concurrency.exit import ExitNotice, stopping_on_signals
from flask_socketio_core.contracts.concurrency.jobs import Job, report_saturation
from flask_socketio_core.contracts.concurrency.servers import (
    NOT_SERVING,
    name_server,
    warn_of_single_requests,
)
from flask_socketio_core.contracts.concurrency.threads import ThreadPool
from flask_socketio_core.contracts.process import observe

from .server import make_server, run
from .watch import Clock, Watch

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment
    from werkzeug.serving import BaseWSGIServer

    from flask_socketio_core.contracts import Event, Handle, Lock, ServeOptions, Task

STOP_DELAY_S = 0.1
"""How long a server that is stopped goes on, seconds: the request that stopped it has to be answered, and the threads
of requests end with the process."""

UWSGI_WITHOUT_GREENLETS = (
    "async_mode='threading' under uWSGI has no WebSocket, and each client on long polling keeps one of uWSGI's threads "
    "busy: with one thread, one client stops all others; start uWSGI with --gevent 100 --http-websockets and install "
    "flask-socketio-core[gevent], or give it --enable-threads and --threads 100"
)

logger = logging.getLogger("flask_socketio_core.concurrency")


class ThreadingMode(AsyncMode):
    """Run handlers in a pool of OS threads; serve with Werkzeug."""

    name: ClassVar[str] = "threading"
    capabilities: ClassVar[AsyncCapabilities] = AsyncCapabilities(
        green=False, watches=sys.platform.startswith("linux"), takes_listener=True
    )

    def __init__(self, *, max_workers: int = 1000) -> None:
        super().__init__(max_workers=max_workers)
        self._pool = ThreadPool(max_workers, partial(report_saturation, self))
        self._clock = Clock()
        self._server: BaseWSGIServer | None = None
        if observe().uwsgi:
            logger.warning("%s", UWSGI_WITHOUT_GREENLETS)

    def spawn(self, job: Job) -> None:
        self._pool.submit(job)

    def start_task(self, target: Callable[..., object], *args: Any, **kwargs: Any) -> Task:
        task = threading.Thread(target=target, args=args, kwargs=kwargs, daemon=True)
        task.start()
        return task

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def create_lock(self) -> Lock:
        return threading.Lock()

    def create_yielding_lock(self) -> Lock:
        return threading.Lock()

    def create_event(self) -> Event:
        return threading.Event()

    def create_queue(self, maxsize: int = 0) -> Any:
        return queue.Queue(maxsize)

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> Handle:
        return self._clock.call_later(delay_s, callback)

    def watch(self, fd: int, callback: Callable[[], object]) -> Handle:
        if not self.capabilities.watches:
            raise NotImplementedError("there is no epoll on this platform")
        return Watch(fd, callback, self._pool)

    def on_exit(self, callback: Callable[[], object]) -> Handle:
        return ExitNotice(self, callback)

    def check_request(self, environ: WSGIEnvironment) -> Verdict:
        patched_by = observe().patched_by
        if patched_by is None:
            warn_of_single_requests(environ)
            return OK
        server = name_server(environ) or "this server"
        return Verdict(
            usable=False,
            reason=f"async_mode='threading' cannot work behind {server}: {patched_by} has monkey-patched the process, "
            f"and a waiting thread would stop all requests; remove the patching (with gunicorn: use `-k gthread "
            f"--threads 100`), or use async_mode={patched_by!r}",
        )

    def serve(self, app: WSGIApplication, host: str, port: int, options: ServeOptions) -> None:
        server = make_server(app, host, port, options)
        self._server = server
        try:
            with contextlib.ExitStack() as signals:
                if not options.use_reloader:  # which handles them itself
                    signals.enter_context(stopping_on_signals(self._stop_soon))
                run(server, app, options)
        finally:
            self._server = None

    def stop(self) -> None:
        if self._server is None:
            raise RuntimeError(NOT_SERVING)
        self._stop_soon()

    def close(self) -> None:
        self._pool.close()
        self._clock.close()

    def _stop_soon(self) -> None:
        server = self._server
        if server is None:
            return

        def shut_down() -> None:
            time.sleep(STOP_DELAY_S)
            server.shutdown()

        # In a thread of its own, because shutdown() waits for the serving loop, which may be what called us.
        threading.Thread(target=shut_down, name="socketio-stop", daemon=True).start()
