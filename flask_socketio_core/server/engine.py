"""The engine as one thing: a Socket.IO server with its WSGI end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from ..contracts.fork import register_at_fork
from ..transport.http import Endpoint
from ..transport.parking import Parking
from ..transport.requests import Requests
from ..transport.server import new_engine_sid
from ..transport.websocket import WebSocketEntrance
from .jobs import handler_in
from .server import Server
from .watchdog import Watchdog

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from ..common.options import Options
    from ..contracts import AsyncMode, WebSocketProvider
    from ..transport.handover.workers import Workers
    from .interface import Application


ANSWERED_S = 1.0
"""How long a worker that ends waits for other workers' answers to what its clients have asked, seconds."""


class Engine:
    """Serve Socket.IO on one WSGI path.

    Nothing is started before the first connection.

    :param application: what clients do is told to it.
    :param options: the checked options.
    :param mode: the selected async mode.
    :param providers: usable WebSocket providers, the best first.
    :param clock: monotonic clock, seconds.
    """

    def __init__(
        self,
        application: Application,
        options: Options,
        mode: AsyncMode,
        providers: Sequence[WebSocketProvider] = (),
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.server = server_class(options)(application, options, mode, clock=clock)
        self._entrance = WebSocketEntrance(self.server.eio, providers)
        self._requests = Requests(self.server.eio)
        self._parking = Parking(self.server.eio, self._entrance.reactor, self._requests)
        self._endpoint = Endpoint(
            self.server.eio, self._entrance, application.host_refusal, self._requests, self._parking
        )
        register_at_fork(after_in_child=self._be_no_worker)
        self._watchdog: Watchdog | None = None
        if mode.capabilities.green and options.max_loop_block:
            self._watchdog = Watchdog(
                mode,
                options.max_loop_block,
                self.server.logger,
                call_soon=partial(mode.call_later, 0),
                handler_in=handler_in,
                stops="every client",
            )

    def handle(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request to the server's path (WSGI)."""
        if self._watchdog is not None:
            self._watchdog.start()
        return self._endpoint(environ, start_response)

    def join_workers(self, group: str, queue_of: Callable[[str], str]) -> Workers:
        """Serve the sessions of a web server's other workers, and have them serve those of this one.

        :param group: name of those who belong together.
        :param queue_of: returns the URL by which an application's workers are joined; ``""`` if it is not this one.
        :raises OSError: if there is no place to meet in.
        """
        from ..transport.handover.passing import Passing

        passing = Passing(group, self.server.eio, self._entrance, self._requests, self._parking, queue_of)
        passing.start()
        self.server.eio.new_sid = passing.workers.new_sid
        self._endpoint.passing = passing
        return passing.workers

    def _be_no_worker(self) -> None:
        """Have nothing to do with other workers, in a forked child."""
        passing, self._endpoint.passing = self._endpoint.passing, None
        self.server.eio.new_sid = new_engine_sid
        if passing is not None:
            passing.close()

    def shutdown(self, timeout_s: float = 3.0, listens: Callable[[], bool] = lambda: False) -> int:
        """Close every session, wait for the disconnect handlers, close every descriptor.

        :param timeout_s: how long to wait for the handlers, seconds.
        :param listens: see :meth:`Server.shutdown`.
        :returns: how many handlers are still running.
        """
        if self._watchdog is not None:
            self._watchdog.stop()
        passing = self._endpoint.passing
        self.server.eio.new_sid = new_engine_sid
        if passing is not None:
            passing.leave()
        running = self.server.shutdown(timeout_s, listens)
        if passing is not None:
            passing.finish(ANSWERED_S)
        self._endpoint.passing = None
        self._entrance.reactor.close()
        if passing is not None:
            passing.close()
        return running


def server_class(options: Options) -> type[Server]:
    """Return the kind of server that tells what the options ask for."""
    if options.logger is False and options.engineio_logger is False:
        return Server
    from .logged import LoggedServer

    return LoggedServer
