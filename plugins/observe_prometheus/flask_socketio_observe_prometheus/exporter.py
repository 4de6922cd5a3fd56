"""What one registry has, and how it is served."""

from __future__ import annotations

import logging
import os
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

from flask import request
from prometheus_client import REGISTRY, CollectorRegistry, make_wsgi_app
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from werkzeug.wrappers import Response

from flask_socketio_core.contracts.fork import ProcessFlag
from flask_socketio_core.contracts.settings import configured
from flask_socketio_core.errors import ConfigurationError

from . import settings
from .families import Families
from .recorder import Recorder
from .socket_io_names import SocketIoFamilies
from .state import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

    from flask_socketio_core import SocketIO

logger = logging.getLogger(__name__)

ENDPOINT = "socketio_prometheus"
"""Of the view, for whoever excepts it from a log-in."""

DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
"""The client library's switch: in this directory the workers of one host put their values together."""


class Exporter:
    """The metrics of one registry.

    :param registry: where they are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._families = Families(registry)
        self._socket_io: SocketIoFamilies | None = None
        self._state = State(registry)
        self._is_sampled = ProcessFlag()

    def recorder(self, max_events: int, *, socket_io_names: bool) -> Recorder:
        """Return what counts for a ``SocketIO`` object."""
        if socket_io_names and self._socket_io is None:
            self._socket_io = SocketIoFamilies(self._registry)
            self._state.add_socket_io_connected()
        return Recorder(self._families, self._socket_io if socket_io_names else None, max_events)

    def begin(self, socketio: SocketIO, app: Flask, sample_s: float) -> None:
        """Look at an application from now on; in multiprocess mode every so many seconds."""
        self._state.add(socketio, app)
        if multiprocess() and not self._is_sampled.is_set():
            self._is_sampled.set()
            socketio.start_background_task(self._sample, socketio.sleep, sample_s)

    def end(self, socketio: SocketIO, app: Flask) -> None:
        """Look at it no longer."""
        self._state.remove(socketio, app)
        if multiprocess() and self._state.is_empty:
            self._is_sampled.clear()
            mark_process_dead(os.getpid())

    def _sample(self, sleep: Callable[[float], None], sample_s: float) -> None:
        """Write down what is open and what waits: another worker answers for this one."""
        while not self._state.is_empty:
            try:
                self._state.refresh()
            except Exception:  # the next time it may work
                logger.exception("the metrics of what is open and what waits could not be read")
            sleep(sample_s)

    def view(self) -> Response:
        """Answer a scrape."""
        return Response.from_app(make_wsgi_app(self._scraped()), request.environ)

    def _scraped(self) -> CollectorRegistry:
        if not multiprocess():
            return self._registry
        self._state.refresh()
        forget_dead_processes()
        together = CollectorRegistry()
        MultiProcessCollector(together)
        return together


_exporters: weakref.WeakKeyDictionary[CollectorRegistry, Exporter] = weakref.WeakKeyDictionary()


def exporter_of(app: Flask) -> Exporter:
    """Return what has the metrics of an application, made if there is none yet."""
    registry = configured(settings.REGISTRY, app.config) or REGISTRY
    if registry not in _exporters:
        _exporters[registry] = Exporter(registry)
    return _exporters[registry]


def set_up(socketio: SocketIO, app: Flask) -> Recorder:
    """Serve the metrics of an application, and return what counts for it.

    :raises ConfigurationError: if the directory for several workers does not exist.
    """
    if multiprocess() and not Path(os.environ[DIRECTORY]).is_dir():
        raise ConfigurationError(
            f"{DIRECTORY}={os.environ[DIRECTORY]!r} is no directory: make it, empty, before the server starts"
        )
    exporter = exporter_of(app)
    exporter.begin(socketio, app, configured(settings.SAMPLE_S, app.config))
    if path := configured(settings.PATH, app.config):
        add_view(app, path, exporter)
    return exporter.recorder(
        configured(settings.MAX_EVENTS, app.config),
        socket_io_names=configured(settings.SOCKET_IO_NAMES, app.config),
    )


def tear_down(socketio: SocketIO, app: Flask) -> None:
    """Take an application, and at last this process, out of what is scraped."""
    exporter_of(app).end(socketio, app)


def add_view(app: Flask, path: str, exporter: Exporter) -> None:
    """Serve the metrics at a path, unless the application has something else there."""
    if ENDPOINT in app.view_functions:
        return  # for another SocketIO object, or set up again in a process that was forked
    taken = [rule.endpoint for rule in app.url_map.iter_rules() if rule.rule == path]
    if taken:
        logger.warning(
            "the metrics of Socket.IO are not served: the application's own view %r is at %s; "
            "set app.config[%r] to another path, or to '' for none",
            taken[0],
            path,
            settings.PATH.config_key,
        )
        return
    app.add_url_rule(path, ENDPOINT, exporter.view)


def multiprocess() -> bool:
    """Return whether several processes put their metrics together."""
    return bool(os.environ.get(DIRECTORY))


def forget_dead_processes() -> None:
    """Drop what is open and what waits of processes that were killed: those could not do it themselves."""
    pids = {path.stem.rpartition("_")[2] for path in Path(os.environ[DIRECTORY]).glob("gauge_live*_*.db")}
    for pid in pids:
        if pid.isdigit() and not is_alive(int(pid)):
            mark_process_dead(int(pid))


def is_alive(pid: int) -> bool:
    """Return whether there is a process of that id, be it another user's."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
