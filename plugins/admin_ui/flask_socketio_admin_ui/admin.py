"""The server's side of the Admin UI: who is let in, what they are told, and by which server."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import flask

from flask_socketio_core.contracts.fork import ProcessFlag
from flask_socketio_core.contracts.settings import configured
from flask_socketio_core.errors import ConfigurationError, ConnectionRefusedError

from . import counting, pages, settings
from .actions import Actions
from .login import Login
from .looking import Looking
from .stats import Stats

if TYPE_CHECKING:
    from flask import Flask

    from flask_socketio_core import SocketIO

logger = logging.getLogger(__name__)

TOPIC = "flask-socketio-admin-ui"
TICK_S = 0.1
"""Seconds between two times that pages are told what has happened."""
STATS_S = 2.0
"""Seconds between two times that a server tells its figures; the page takes one that is silent for 10 for unhealthy."""
REFUSED = "invalid credentials"
"""The page compares this, and asks for a password."""

Told = list[list[Any]]
"""Events for pages, each with its arguments."""

_made: WeakSet[AdminUI] = WeakSet()


def set_up(socketio: SocketIO, app: Flask) -> None:
    """Begin for an application; anew in a child that was forked.

    :raises ConfigurationError: if it cannot be as it is configured.
    """
    found = _of(socketio)
    if found is None:
        found = AdminUI(socketio, app)
        _made.add(found)
    elif not found.is_for(app):
        raise ConfigurationError(
            "the Admin UI is for one application of a SocketIO object: make another object for the other application"
        )
    found.begin()


def tear_down(socketio: SocketIO) -> None:
    """Tell nothing more."""
    if (found := _of(socketio)) is not None:
        found.end()


def _of(socketio: SocketIO) -> AdminUI | None:
    return next((made for made in list(_made) if made.is_of(socketio)), None)


class AdminUI:
    """The Admin UI of one application, in this process."""

    def __init__(self, socketio: SocketIO, app: Flask) -> None:
        config = app.config
        self._socketio = socketio
        self._app = app
        self._login = Login(app)
        self._namespace = configured(settings.NAMESPACE, config)
        self._actions = Actions(socketio, self._namespace, readonly=configured(settings.READONLY, config))
        self._show_admins = configured(settings.SHOW_ADMINS, config)
        self._here = ProcessFlag()
        if configured(settings.PAGE, config):
            pages.serve(socketio, app, configured(settings.URL, config), self._namespace)
        if configured(settings.AUTH, config) is False:
            logger.warning("whoever connects to the namespace %s may administrate", self._namespace)

    def is_of(self, socketio: SocketIO) -> bool:
        """Return whether it is that of an extension object."""
        return self._socketio is socketio

    def is_for(self, app: Flask) -> bool:
        """Return whether it is that of an application."""
        return self._app is app

    def begin(self) -> None:
        """Take pages, in this process."""
        if not self._here.is_set():
            self._here.set()
            self._lock = threading.Lock()
            self._looking = Looking()
            self._runs = False
            self._stats = Stats(self._socketio, self._namespace, show_admins=self._show_admins)
            self._observers = counting.observers(self._socketio, self._namespace, self._stats.happened)
        self._ended = False
        socketio, namespace = self._socketio, self._namespace
        socketio.reserve_namespace(namespace)
        socketio.on_event("connect", self._connect, namespace)
        for event, handler in self._actions.handlers().items():
            socketio.on_event(event, handler, namespace)
        socketio.servers.on_topic(TOPIC, self._on_topic)

    def end(self) -> None:
        """Tell nothing more: the other servers see that this one has left."""
        self._ended = True

    # ---------------------------------------------------------------------------------------------- pages

    def _connect(self, auth: Any = None) -> None:
        admitted = self._login.admit(auth) if self._app is _application() else None
        client: Any = flask.request.client  # type: ignore[attr-defined]  # a handler's request has it
        if admitted is None:
            logger.warning("somebody at %s was not let into the Admin UI", flask.request.remote_addr)
            raise ConnectionRefusedError(REFUSED)
        logger.info("admin %s (%s) looks", admitted.name, client.sid)
        client.data["admin"] = admitted.name
        client.expires_at = admitted.expires_at
        if admitted.session is not None:
            self._tell_one(client.sid, "session", admitted.session)
        self._tell_one(
            client.sid, "config", {"supportedFeatures": [*self._actions.features, "AGGREGATED_EVENTS"]}
        )
        with self._lock:
            self._looking.here(time.monotonic())
        self._work()

    def _tell_one(self, sid: str, event: str, *args: Any) -> None:
        self._socketio.emit(event, *args, namespace=self._namespace, to=sid, local=True)

    def _tell(self, told: Told) -> None:
        """Tell the pages of this server."""
        for event, *args in told:
            self._socketio.emit(event, *args, namespace=self._namespace, local=True)

    def _has_pages(self) -> bool:
        return any(True for _ in self._socketio.server.manager.get_participants(self._namespace, None))

    # ---------------------------------------------------------------------------------------------- telling

    def _on_topic(self, payload: Any, node: str) -> None:
        """Hear that another server has a page, or what one has to tell to the pages of this one."""
        if told := payload.get("told"):
            self._tell(told)
        if payload.get("looks"):
            with self._lock:
                self._looking.elsewhere(node, time.monotonic())
            self._work()

    def _work(self) -> None:
        """Tell what happens, in a task, for as long as somebody looks."""
        with self._lock:
            if self._runs or self._ended:
                return
            self._runs = True
        for observer in self._observers:
            self._socketio.observe(observer)
        self._socketio.start_background_task(self._run)

    def _run(self) -> None:
        stats_at_s = 0.0
        try:
            while not self._ended and self._is_looked_at():
                now_s = time.monotonic()
                due = now_s >= stats_at_s
                if due:
                    stats_at_s = now_s + STATS_S
                try:
                    with self._app.app_context():
                        self._tick(now_s, due)
                except Exception:  # the next time it may work
                    logger.exception("the pages of the Admin UI could not be told what happens")
                self._socketio.sleep(TICK_S)
        finally:
            for observer in self._observers:
                self._socketio.unobserve(observer)
            with self._lock:
                self._runs = False
        if self._is_looked_at():  # somebody has come meanwhile
            self._work()

    def _is_looked_at(self) -> bool:
        now_s = time.monotonic()
        with self._lock:
            noted = self._looking.is_here(now_s) or self._looking.is_elsewhere(now_s)
        return noted or self._has_pages()

    def _tick(self, now_s: float, due: bool) -> None:
        told: Told = []
        if due:
            told.append(["server_stats", self._stats.read()])
            if self._has_pages():
                self._socketio.servers.tell(TOPIC, {"looks": True})
        if not told:
            return
        with self._lock:
            is_elsewhere = self._looking.is_elsewhere(now_s)
        self._tell(told)
        if is_elsewhere:
            self._socketio.servers.tell(TOPIC, {"told": told})


def _application() -> Any:
    return flask.current_app._get_current_object()  # type: ignore[attr-defined]  # the proxy's
