"""The server's side of the Admin UI: who is let in, what they may, and what they are told first."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import flask

from flask_socketio_core.contracts.fork import ProcessFlag
from flask_socketio_core.contracts.settings import configured
from flask_socketio_core.errors import ConfigurationError, ConnectionRefusedError

from . import pages, settings
from .actions import Actions
from .login import Login
from .looking import EVENTS, FIGURES
from .telling import TOPIC, Telling

if TYPE_CHECKING:
    from flask import Flask

    from flask_socketio_core import SocketIO

logger = logging.getLogger(__name__)

REFUSED = "invalid credentials"
"""The page compares this, and asks for a password."""

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

    _telling: Telling | None = None

    def __init__(self, socketio: SocketIO, app: Flask) -> None:
        config = app.config
        self._socketio = socketio
        self._app = app
        self._login = Login(app)
        self._namespace = configured(settings.NAMESPACE, config)
        self._actions = Actions(socketio, self._namespace, readonly=configured(settings.READONLY, config))
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
        socketio, namespace, config = self._socketio, self._namespace, self._app.config
        if not self._here.is_set():
            self._here.set()
            if self._telling is not None:  # of the parent process, whose pages are not here
                self._telling.end()
            self._telling = Telling(
                socketio,
                self._app,
                namespace,
                what=EVENTS if configured(settings.MODE, config) == "development" else FIGURES,
                most=configured(settings.MAX_SOCKETS, config),
                show_admins=configured(settings.SHOW_ADMINS, config),
                on_change=self._tell_config,
            )
        socketio.reserve_namespace(namespace)
        socketio.on_event("connect", self._connect, namespace)
        for event, handler in self._actions.handlers().items():
            socketio.on_event(event, handler, namespace)
        socketio.servers.on_topic(TOPIC, self._on_topic)
        self._here_telling.begin()

    def end(self) -> None:
        """Tell nothing more."""
        self._here_telling.end()

    @property
    def _here_telling(self) -> Telling:
        assert self._telling is not None  # it is asked after begin()
        return self._telling

    def _on_topic(self, payload: Any, node: str) -> Any:
        return self._here_telling.on_topic(payload, node)

    def _connect(self, auth: Any = None) -> None:
        admitted = self._login.admit(auth) if self._app is _application() else None
        client: Any = flask.request.client  # type: ignore[attr-defined]  # a handler's request has it
        if admitted is None:
            if isinstance(auth, dict) and any(auth.values()):  # it first comes without anything
                logger.warning("somebody at %s was not let into the Admin UI", flask.request.remote_addr)
            raise ConnectionRefusedError(REFUSED)
        logger.info("admin %r (%s) looks", admitted.name, client.sid)
        client.data["admin"] = admitted.name
        client.expires_at = admitted.expires_at
        if admitted.session is not None:
            self._socketio.emit(
                "session", admitted.session, namespace=self._namespace, to=client.sid, local=True
            )
        self._tell_config(client.sid)
        self._here_telling.expect_page()

    def _tell_config(self, sid: str | None = None) -> None:
        """Tell a page, or all of this server, what there is for them."""
        features = [*self._actions.features, "AGGREGATED_EVENTS"]
        if self._here_telling.shown >= EVENTS:
            features.append("ALL_EVENTS")
        config = {"supportedFeatures": features}
        self._socketio.emit("config", config, namespace=self._namespace, to=sid, local=True)


def _application() -> Any:
    return flask.current_app._get_current_object()  # type: ignore[attr-defined]  # the proxy's
