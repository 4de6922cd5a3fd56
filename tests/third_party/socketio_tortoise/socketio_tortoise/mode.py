"""Threads, and the standard library's own web server."""

from __future__ import annotations

import queue
import signal
import socketserver
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar
from wsgiref import simple_server

from flask_socketio_core.contracts import AsyncCapabilities, AsyncMode
from flask_socketio_core.contracts.concurrency.jobs import report_saturation, run_job
from flask_socketio_core.contracts.concurrency.threads import ThreadPool

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed.wsgi import WSGIApplication

    from flask_socketio_core.contracts import Event, Handle, Lock, ServeOptions, Task


class TortoiseMode(AsyncMode):
    """One thread per request, the core's pool for handlers, one thread per timer."""

    name: ClassVar[str] = "tortoise"
    capabilities: ClassVar[AsyncCapabilities] = AsyncCapabilities(green=False, tls=False, watches=False)

    def __init__(self, *, max_workers: int = 1000) -> None:
        super().__init__(max_workers=max_workers)
        self._pool = ThreadPool(max_workers, partial(report_saturation, self))
        self._server: _Server | None = None

    def spawn(self, job: Callable[[], object]) -> None:
        self._pool.submit(job)

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
        timer = threading.Timer(delay_s, run_job, (callback,))
        timer.daemon = True
        timer.start()
        return timer

    def watch(self, fd: int, callback: Callable[[], object]) -> Handle:
        raise NotImplementedError("a tortoise looks at one thing at a time")

    def serve(self, app: WSGIApplication, host: str, port: int, options: ServeOptions) -> None:
        for name in {**options.server, **options.tls}:
            raise TypeError(f"the tortoise's server has no option {name!r}")
        try:
            server = simple_server.make_server(host, port, app, _Server, _Handler)
        except OSError as exc:
            raise OSError(exc.errno, f"cannot serve on {host} port {port}: {exc.strerror}") from exc
        self._server = server
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, lambda number, frame: self.stop())
        try:
            server.serve_forever()
        finally:
            self._server = None
            server.server_close()

    def stop(self) -> None:
        if self._server is None:
            raise RuntimeError("there is nothing to stop: this process serves nothing")
        # shutdown() waits for the serving loop, which may be what called us.
        threading.Thread(target=self._server.shutdown, daemon=True).start()

    def close(self) -> None:
        self._pool.close()


class _Server(socketserver.ThreadingMixIn, simple_server.WSGIServer):
    daemon_threads = True


class _Handler(simple_server.WSGIRequestHandler):
    def get_environ(self) -> dict[str, Any]:
        return {**super().get_environ(), "tortoise.socket": self.connection, "tortoise.input": self.rfile}

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""
